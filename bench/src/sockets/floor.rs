//! What this machine can do at all: a bare loop that writes an already framed message to sockets, one thread, one write a
//! delivery. No tokens, no positions, no history, no limits: nothing but the write. Whoever is near it wastes little.
//!
//! It speaks just enough of the protocol for the same clients and publisher to drive it.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha1::{Digest, Sha1};

use super::wire;
use crate::console;

/// Where to listen.
#[derive(Args, Clone, Debug)]
pub struct Floor {
    /// Address of the WebSocket and of POST /api/publish
    #[arg(long, default_value = "127.0.0.1:8009")]
    pub listen: String,
}

#[derive(Deserialize)]
struct Publish<'a> {
    channel: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Who hears a channel.
#[derive(Default)]
struct Sockets {
    open: Vec<Arc<TcpStream>>,
    offset: u64,
}

/// One lock for all: one writer at a time.
type Channels = Mutex<HashMap<String, Sockets>>;

/// A command of a client, as far as it matters here.
#[derive(Deserialize)]
struct Asked {
    subscribe: Option<Subscribe>,
}

#[derive(Deserialize)]
struct Subscribe {
    channel: String,
}

impl Floor {
    /// Serves until the process ends.
    pub fn serve(&self) -> anyhow::Result<()> {
        let listener = TcpListener::bind(&self.listen).with_context(|| format!("listening on {}", self.listen))?;
        console::result(format_args!("The floor is ready at http://{}", listener.local_addr()?));
        let channels = Channels::default();
        std::thread::scope(|scope| {
            for stream in listener.incoming() {
                let (stream, channels) = (stream?, &channels);
                // A client that hangs up in the middle is no reason to end.
                scope.spawn(move || serve(stream, channels).unwrap_or_else(|error| console::error(&error)));
            }
            Ok(())
        })
    }
}

/// The first request decides: a WebSocket to keep, or a publisher to serve until it leaves.
fn serve(stream: TcpStream, channels: &Channels) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(head) = head(&mut reader)? {
        if let Some(key) = header(&head, "sec-websocket-key") {
            return subscribe(reader, stream, key, channels);
        }
        let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        deliver(channels, &serde_json::from_slice(&body)?);
        (&stream).write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"result\":{}}",
        )?;
    }
    Ok(())
}

/// The loop that is measured.
fn deliver(channels: &Channels, publish: &Publish<'_>) {
    let mut channels = channels.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(sockets) = channels.get_mut(publish.channel) else { return };
    sockets.offset += 1;
    let frame = framed(publish, sockets.offset);
    sockets.open.retain(|socket| write(socket, &frame).is_ok());
}

fn write(mut socket: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn head(reader: &mut impl BufRead) -> anyhow::Result<Option<Vec<String>>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => return Ok(Some(lines)),
            line => lines.push(line.to_owned()),
        }
    }
}

fn header<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    head.iter().find_map(|line| {
        let (this, value) = line.split_once(':')?;
        this.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// Answers the upgrade and every command of the first frame with an empty success.
fn subscribe(
    mut reader: BufReader<TcpStream>,
    mut stream: TcpStream,
    key: &str,
    channels: &Channels,
) -> anyhow::Result<()> {
    let accept = STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    let mut received = Vec::new();
    let commands = loop {
        let read = reader.fill_buf()?;
        anyhow::ensure!(!read.is_empty(), "a client hung up");
        received.extend(read);
        let count = read.len();
        reader.consume(count);
        if let Some(text) = unmasked(&received) {
            break text.lines().map(serde_json::from_str).collect::<Result<Vec<Asked>, _>>()?;
        }
    };
    let replies = commands.iter().zip(1..).map(|(command, id)| {
        let kind = if command.subscribe.is_some() { "subscribe" } else { "connect" };
        format!("{{\"id\":{id},\"{kind}\":{{}}}}")
    });
    stream.write_all(&text_frame(&replies.collect::<Vec<_>>().join("\n")))?;
    stream.set_nonblocking(true)?;
    let stream = Arc::new(stream);
    let mut channels = channels.lock().unwrap_or_else(PoisonError::into_inner);
    for Subscribe { channel } in commands.into_iter().filter_map(|command| command.subscribe) {
        channels.entry(channel).or_default().open.push(Arc::clone(&stream));
    }
    Ok(())
}

/// The text of a whole frame whose mask is a key of zeros, as our clients send it.
fn unmasked(bytes: &[u8]) -> Option<&str> {
    let key = 4;
    let header = if bytes.get(1)? & 0x7f == 126 { 4 } else { 2 };
    let length = match header {
        2 => usize::from(bytes[1] & 0x7f),
        _ => usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
    };
    std::str::from_utf8(bytes.get(header + key..header + key + length)?).ok()
}

fn framed(publish: &Publish<'_>, offset: u64) -> Vec<u8> {
    let Publish { channel, data } = publish;
    text_frame(&format!("{{\"push\":{{\"channel\":\"{channel}\",\"pub\":{{\"data\":{data},\"offset\":{offset}}}}}}}"))
}

fn text_frame(text: &str) -> Vec<u8> {
    // The same head as a client's, without the mask.
    let mut frame = wire::masked(text);
    frame[1] &= 0x7f;
    let key = if frame[1] == 126 { 4 } else { 2 };
    frame.drain(key..key + 4);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_masks_is_what_the_floor_reads() {
        for text in ["{}".to_owned(), "x".repeat(300)] {
            let frame = wire::masked(&text);
            assert_eq!(unmasked(&frame), Some(text.as_str()));
            assert_eq!(unmasked(&frame[..frame.len() - 1]), None);
            let (kind, payload) = wire::frame(&text_frame(&text)).unwrap();
            assert_eq!((kind, &text_frame(&text)[payload]), (wire::Kind::Text, text.as_bytes()));
        }
    }
}

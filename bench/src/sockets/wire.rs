//! The client's side of the wire, on bytes: a library's buffers and allocations for each frame would be measured instead of
//! the server. It reads what servers send (no masks) and writes what they accept.

use std::{
    io::{Read, Write},
    net::TcpStream,
    ops::Range,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use socket2::SockRef;

/// How long a server may take for an answer during the handshake.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Lines of JSON.
    Text,
    /// The last one.
    Close,
    /// WebSocket's own ping, pong, or anything else.
    Other,
}

/// The first frame in `bytes`: what it is, where its payload is, where the next begins. None: it is not complete.
pub(crate) fn frame(bytes: &[u8]) -> Option<(Kind, Range<usize>)> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
    let (header, length) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let kind = match first & 0x0f {
        0 | 1 => Kind::Text,
        8 => Kind::Close,
        _ => Kind::Other,
    };
    (bytes.len() >= header + length).then_some((kind, header..header + length))
}

/// A text frame as a client sends it: masked, with a key of zeros.
pub(crate) fn masked(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x81];
    match text.len() {
        length @ 0..126 => bytes.push(0x80 | u8::try_from(length).unwrap_or(0)),
        length => {
            bytes.push(0x80 | 0x7e);
            bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(text.as_bytes());
    bytes
}

/// Opens a WebSocket, sends the commands in one frame, and waits until each is answered without an error.
pub(super) fn open(address: &str, path: &str, commands: &[String]) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    // Thousands that leave at once would use up the ports of this machine for a minute.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cm9vbWNhc3QtYmVuY2gtMQ==\r\n\r\n"
    )?;
    let mut received = Vec::new();
    let body = loop {
        if let Some(end) = memchr::memmem::find(&received, b"\r\n\r\n") {
            break end + 4;
        }
        receive(&mut stream, &mut received)?;
    };
    let status = String::from_utf8_lossy(&received[..body]).lines().next().unwrap_or_default().to_owned();
    ensure!(status.contains(" 101 "), "the server does not upgrade: {status}");
    received.drain(..body);
    stream.write_all(&masked(&commands.join("\n")))?;
    let mut answered = 0;
    while answered < commands.len() {
        let Some((kind, payload)) = frame(&received) else {
            receive(&mut stream, &mut received)?;
            continue;
        };
        let text = String::from_utf8_lossy(&received[payload.clone()]).into_owned();
        match kind {
            Kind::Close => bail!("the server closed the connection: {}", text.get(2..).unwrap_or_default()),
            Kind::Text => answered += replies(&text)?,
            Kind::Other => {}
        }
        received.drain(..payload.end);
    }
    Ok(stream)
}

fn receive(stream: &mut TcpStream, into: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut buffer = [0; 4096];
    let read = stream.read(&mut buffer).context("no answer during the handshake")?;
    ensure!(read > 0, "the server hung up during the handshake");
    into.extend(&buffer[..read]);
    Ok(())
}

/// How many lines are replies to commands. One with an error is an error.
fn replies(text: &str) -> anyhow::Result<usize> {
    let mut count = 0;
    for line in text.lines().filter(|line| line.starts_with("{\"id\":")) {
        ensure!(!line.contains("\"error\":"), "the server refused a command: {line}");
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_when_it_is_complete() {
        for length in [0, 5, 125, 126, 300, 70_000] {
            let mut bytes = vec![0x81];
            match length {
                0..126 => bytes.push(u8::try_from(length).unwrap()),
                126..65_536 => bytes.extend([&[126][..], &u16::try_from(length).unwrap().to_be_bytes()].concat()),
                _ => bytes.extend([&[127][..], &u64::try_from(length).unwrap().to_be_bytes()].concat()),
            }
            bytes.extend(vec![b'x'; length]);
            assert_eq!(frame(&bytes[..bytes.len() - 1]), None, "{length}");
            bytes.extend(b"next");
            let (kind, payload) = frame(&bytes).unwrap();
            assert_eq!((kind, payload.len(), &bytes[payload.end..]), (Kind::Text, length, &b"next"[..]));
        }
        assert_eq!(frame(&[0x88, 0]), Some((Kind::Close, 2..2)));
        assert_eq!(frame(&[]), None);
    }

    #[test]
    fn a_masked_frame_has_the_text_as_it_is() {
        assert_eq!(masked("{}"), [0x81, 0x82, 0, 0, 0, 0, b'{', b'}']);
        assert_eq!(masked(&"x".repeat(200))[..4], [0x81, 0xfe, 0, 200]);
    }

    #[test]
    fn a_refused_command_is_an_error_and_a_push_is_no_reply() {
        let pushes = "{\"push\":{\"channel\":\"a\",\"pub\":{}}}\n{}\n";
        assert_eq!(replies(&format!("{pushes}{{\"id\":1,\"connect\":{{}}}}")).unwrap(), 1);
        assert!(replies("{\"id\":1,\"error\":{\"code\":109}}").is_err());
    }
}

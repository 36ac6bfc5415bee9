//! permessage-deflate: only when the hub is set to it and the client asks, and what then crosses the socket.

use miniz_oxide::{
    deflate::core::{CompressorOxide, TDEFLFlush, compress_to_output, create_comp_flags_from_zip_params},
    inflate::decompress_to_vec,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, timeout},
};

use crate::{TestHub, command, http, token};

/// RSV1: the message is compressed.
const DEFLATED: u8 = 0x40;
const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// A socket of which every frame is seen as it is.
struct Bare(TcpStream);

impl Bare {
    /// What the hub answers to the offer, too.
    async fn open(hub: &TestHub, offer: &str) -> (Self, Option<String>) {
        let mut stream = TcpStream::connect(hub.address).await.unwrap();
        let request = format!(
            "GET /connection/websocket HTTP/1.1\r\nhost: hub\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-extensions: {offer}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let answer = head.lines().find_map(|line| line.strip_prefix("sec-websocket-extensions: ")).map(str::to_owned);
        (Self(stream), answer)
    }

    /// A connected client that hears a channel.
    async fn subscribed(hub: &TestHub, offer: &str, channel: &str) -> Self {
        let (mut bare, _) = Self::open(hub, offer).await;
        let connect = json!({"id": 1, "connect": {"token": token("7")}}).to_string();
        let subscribe = json!({"id": 2, "subscribe": {"channel": channel}}).to_string();
        bare.send(0x81, format!("{connect}\n{subscribe}").as_bytes()).await;
        assert_eq!(bare.next().await.2["id"], 1);
        assert_eq!(bare.next().await.2["id"], 2);
        bare
    }

    async fn send(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match u16::try_from(payload.len()).unwrap() {
            short @ ..126 => frame.push(0x80 | short as u8),
            long => frame.extend([&[0xfe], &long.to_be_bytes()[..]].concat()),
        }
        frame.extend([0; 4]); // a mask that changes nothing
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// Opcode with its bits, and payload.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let read = async {
            let first = self.0.read_u8().await.unwrap();
            let length = match self.0.read_u8().await.unwrap() {
                126 => self.0.read_u16().await.unwrap().into(),
                127 => self.0.read_u64().await.unwrap() as usize,
                short => short.into(),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.unwrap();
            (first, payload)
        };
        timeout(Duration::from_secs(10), read).await.expect("nothing came")
    }

    /// The next message: whether it was compressed, its bytes on the wire, and what it says.
    async fn next(&mut self) -> (bool, usize, Value) {
        let (first, payload) = self.frame().await;
        assert!([0x81, 0x81 | DEFLATED].contains(&first), "{first:#x}");
        if first & DEFLATED == 0 {
            return (false, payload.len(), serde_json::from_slice(&payload).unwrap());
        }
        let whole = [&payload[..], &[0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff]].concat();
        let text = decompress_to_vec(&whole).unwrap();
        (true, payload.len(), serde_json::from_slice(&text).unwrap())
    }

    async fn closed(&mut self) -> u16 {
        loop {
            let (first, payload) = self.frame().await;
            if first == 0x88 {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }
}

/// As a client compresses a message.
fn compressed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut compressor = CompressorOxide::new(create_comp_flags_from_zip_params(6, -15, 0));
    compress_to_output(&mut compressor, text, TDEFLFlush::Sync, |bytes| {
        out.extend_from_slice(bytes);
        true
    });
    out.truncate(out.len() - 4);
    out
}

async fn compressing(least: usize) -> TestHub {
    TestHub::start_with(|config| {
        TestHub::with_chat(config, |_| {});
        config.compression = true;
        config.compression_min_size = least;
    })
    .await
}

fn publish(text: &str) -> protocol::Command {
    command("publish", json!({"channel": "chat:1", "data": {"text": text}}))
}

#[tokio::test]
async fn compression_is_agreed_upon_only_if_both_sides_want_it() {
    let (off, on) = (TestHub::alone(|_| {}).await, compressing(0).await);
    let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(Bare::open(&on, OFFER).await.1.as_deref(), Some(agreed));
    assert_eq!(Bare::open(&on, "permessage-deflate; server_max_window_bits=9").await.1, None);
    assert_eq!(Bare::open(&on, "x-other").await.1, None);
    assert_eq!(Bare::open(&off, OFFER).await.1, None);
}

#[tokio::test]
async fn a_publication_is_compressed_for_those_who_agreed_if_it_is_large_enough() {
    let hub = compressing(300).await;
    let mut agreed = Bare::subscribed(&hub, OFFER, "chat:1").await;
    let mut plain = Bare::subscribed(&hub, "x-other", "chat:1").await;
    let long = "a word that comes again, ".repeat(40);
    for (text, compressed) in [("short", false), (&*long, true), ("short again", false), (&*long, true)] {
        hub.execute(publish(text)).await;
        let (deflated, bytes, push) = agreed.next().await;
        assert_eq!((deflated, &push["push"]["pub"]["data"]["text"]), (compressed, &json!(text)));
        assert!(!compressed || bytes < 200, "{bytes}");
        let (deflated, _, same) = plain.next().await;
        assert_eq!((deflated, same), (false, push));
    }
}

#[tokio::test]
async fn a_response_that_goes_on_is_never_compressed_by_this() {
    let hub = compressing(0).await;
    let url = format!("http://{}/connection/http_stream", hub.address);
    let connect = json!({"id": 1, "connect": {"token": token("7")}}).to_string();
    let subscribe = json!({"id": 2, "subscribe": {"channel": "chat:1"}}).to_string();
    let request = http().post(url).header("sec-websocket-extensions", OFFER).body(format!("{connect}\n{subscribe}"));
    let mut response = request.send().await.unwrap();
    let mut body = String::new();
    let mut published = false;
    while !body.contains("a word that comes again, a word") {
        let chunk = timeout(Duration::from_secs(10), response.chunk()).await.expect("nothing came").unwrap().unwrap();
        body.push_str(std::str::from_utf8(&chunk).unwrap());
        if body.contains("\"id\":2") && !published {
            published = true;
            hub.execute(publish(&"a word that comes again, ".repeat(40))).await;
        }
    }
}

#[tokio::test]
async fn what_a_client_says_may_be_compressed_and_grows_no_larger_than_a_message_may_be() {
    let hub = compressing(0).await;
    let mut client = Bare::subscribed(&hub, OFFER, "chat:1").await;
    let rpc = json!({"id": 3, "rpc": {"data": "x".repeat(60_000)}}).to_string();
    client.send(0x81 | DEFLATED, &compressed(rpc.as_bytes())).await;
    assert_eq!(client.next().await.2["id"], 3);
    client.send(0x81, br#"{"id":4,"rpc":{}}"#).await;
    assert_eq!(client.next().await.2["id"], 4);
    client.send(0x81 | DEFLATED, &compressed(&vec![b' '; 2 << 20])).await;
    assert_eq!(client.closed().await, 1009);
}

#[tokio::test]
async fn a_compressed_message_that_was_not_agreed_upon_or_is_damaged_ends_the_connection() {
    let hub = compressing(0).await;
    let message = compressed(br#"{"id":3,"rpc":{}}"#);
    let mut plain = Bare::subscribed(&hub, "x-other", "chat:1").await;
    plain.send(0x81 | DEFLATED, &message).await;
    assert_eq!(plain.closed().await, 1002);
    let mut agreed = Bare::subscribed(&hub, OFFER, "chat:1").await;
    agreed.send(0x81 | DEFLATED, &message[..message.len() / 2]).await;
    assert_eq!(agreed.closed().await, 1002);
    let mut agreed = Bare::subscribed(&hub, OFFER, "chat:1").await;
    agreed.send(0x89 | DEFLATED, b"").await;
    assert_eq!(agreed.closed().await, 1002);
}

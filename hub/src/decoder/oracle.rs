//! What our decoder and tungstenite make of the same bytes. For the tests and for fuzzing.

use std::io::{self, Read, Write};

use tungstenite::{
    Error, Message,
    protocol::{Role, WebSocket, WebSocketConfig},
};

use super::{Broken, Decoder, Event};

/// An event without the bytes' place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
}

/// How a stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// More could come.
    Open,
    Closed(Vec<u8>),
    Broken(Broken),
}

/// What our decoder makes of bytes that come in `pieces`.
pub(crate) fn ours(pieces: &[&[u8]], most: usize) -> (Vec<Heard>, End) {
    heard_by(Decoder::new(most), pieces)
}

/// What this decoder makes of bytes that come in `pieces`.
pub(crate) fn heard_by(mut decoder: Decoder, pieces: &[&[u8]]) -> (Vec<Heard>, End) {
    let (mut rest, mut heard) = (Vec::new(), Vec::new());
    for piece in pieces {
        rest.extend_from_slice(piece);
        let mut used = 0;
        loop {
            let before = rest.clone();
            match decoder.step(&mut rest[used..]) {
                Ok(Some((length, event))) => {
                    used += length;
                    match event {
                        Event::Message(message) => heard.push(Heard::Message(message.into_owned())),
                        Event::Ping(payload) => heard.push(Heard::Ping(payload.to_vec())),
                        Event::Pong => heard.push(Heard::Pong),
                        Event::Fragment => {}
                        Event::Close(payload) => return (heard, End::Closed(payload.to_vec())),
                    }
                }
                Ok(None) => {
                    assert_eq!(rest, before, "a frame that is not all there must stay as it is");
                    break;
                }
                Err(broken) => return (heard, End::Broken(broken)),
            }
        }
        rest.drain(..used);
    }
    (heard, End::Open)
}

/// A socket on which these bytes come, and into which anything may be said.
struct Bytes<'a>(&'a [u8]);

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Bytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite makes of the same bytes.
pub(crate) fn theirs(bytes: &[u8], most: usize) -> (Vec<Heard>, End) {
    let config = WebSocketConfig::default().max_message_size(Some(most)).max_frame_size(Some(most));
    let mut socket = WebSocket::from_raw_socket(Bytes(bytes), Role::Server, Some(config));
    let mut heard = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => heard.push(Heard::Message(text.as_bytes().to_vec())),
            Ok(Message::Binary(bytes)) => heard.push(Heard::Message(bytes.to_vec())),
            Ok(Message::Ping(payload)) => heard.push(Heard::Ping(payload.to_vec())),
            Ok(Message::Pong(_)) => heard.push(Heard::Pong),
            // It answers a code that may not be sent with one that may.
            Ok(Message::Close(Some(close))) if close.reason == "Protocol violation" => {
                return (heard, End::Broken(Broken::Rule));
            }
            Ok(Message::Close(close)) => {
                let payload = close.map(|close| {
                    let code: u16 = close.code.into();
                    [&code.to_be_bytes()[..], close.reason.as_bytes()].concat()
                });
                return (heard, End::Closed(payload.unwrap_or_default()));
            }
            Ok(Message::Frame(_)) => unreachable!("frames are not handed out one by one"),
            Err(Error::Capacity(_)) => return (heard, End::Broken(Broken::TooBig)),
            Err(Error::Utf8(_)) => return (heard, End::Broken(Broken::NotText)),
            Err(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
                return (heard, End::Open);
            }
            Err(Error::Protocol(_)) => return (heard, End::Broken(Broken::Rule)),
            Err(error) => unreachable!("{error}"),
        }
    }
}

/// Fails unless both make the same of `bytes`.
pub(crate) fn agree(bytes: &[u8], most: usize) {
    // A frame that is cut off is judged by its header here, and by all of its bytes there: so it gets all of them.
    let bytes = [bytes, &vec![0; most + 16]].concat();
    let ((heard, end), (their, their_end)) = (ours(&[&bytes], most), theirs(&bytes, most));
    match end {
        End::Broken(Broken::Length) => assert!(their.starts_with(&heard), "{heard:?} {their:?}"),
        End::Broken(_) => {
            assert_eq!(heard, their);
            // Which rule is broken first depends on who looks.
            assert!(matches!(their_end, End::Broken(_)), "{end:?} {their_end:?}");
        }
        End::Closed(_) | End::Open => assert_eq!((heard, end), (their, their_end)),
    }
}

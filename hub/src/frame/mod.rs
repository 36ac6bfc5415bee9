//! What crosses the socket towards a client: JSON replies and pushes, each in one unmasked WebSocket frame.
//!
//! Zero values are omitted, as SDKs expect, and a line break never leaves inside a payload: it would end the message.

mod object;
mod publication;
mod subscribed;

use std::{io::Write, sync::Arc};

use bytes::{Buf, Bytes};
use protocol::Channel;
use serde::Serialize;
use serde_json::value::RawValue;

use self::object::write_json;
pub(crate) use self::{
    object::Object,
    publication::{Kind, Publication, Push, Said, client_info},
    subscribed::{Subscribed, write_expiry},
};
use crate::{
    codes::{Disconnect, ErrorCode, Unsubscribed},
    deflate,
};

/// A server's ping.
pub(crate) const PING: Bytes = Bytes::from_static(&[0x81, 2, b'{', b'}']);

const TEXT: u8 = 0x81;
/// The payload is compressed (RSV1).
const DEFLATED: u8 = TEXT | 0x40;
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8a;
/// Joining more than this saves nothing: the copy then costs what the call would.
const LARGEST_WRITE: usize = 64 << 10;
/// The longest header of an unmasked frame: opcode, 127, and a 64-bit length.
const HEADER: usize = 10;

/// JSON without line breaks. One can only stand between tokens, so leaving it out changes nothing.
pub(crate) fn one_line(json: &RawValue) -> Arc<str> {
    if json.get().contains('\n') { json.get().replace('\n', "").into() } else { json.get().into() }
}

/// `{"id":…,"<kind>":<body>}`.
pub(crate) fn reply(id: u32, kind: &str, body: &[u8]) -> Bytes {
    let mut frame = FrameWriter::with_capacity(body.len() + 40);
    frame.number(b"{\"id\":", u64::from(id));
    frame.raw(b",");
    frame.json(kind);
    frame.raw(b":");
    frame.raw(body);
    frame.raw(b"}");
    frame.finish().0
}

/// `{"id":…,"error":{…}}`.
pub(crate) fn error(id: u32, error: ErrorCode) -> Bytes {
    let mut body = Object::with_capacity(64);
    body.field("code", &error.code);
    body.field("message", &error.message);
    if error.temporary {
        body.field("temporary", &true);
    }
    reply(id, "error", &body.finish())
}

/// `{"push":{"channel":…,"<kind>":<body>}}`.
fn push(channel: &Channel, kind: &str, body: &[u8]) -> Bytes {
    let mut frame = FrameWriter::with_capacity(body.len() + 64);
    frame.raw(b"{\"push\":{\"channel\":");
    frame.json(channel.as_str());
    frame.raw(b",");
    frame.json(kind);
    frame.raw(b":");
    frame.raw(body);
    frame.raw(b"}}");
    frame.finish().0
}

/// The server has added a channel.
pub(crate) fn subscribe_push(channel: &Channel, subscribed: &Subscribed) -> Bytes {
    push(channel, "subscribe", &subscribed.encode())
}

/// The server has taken a channel away.
pub(crate) fn unsubscribe_push(channel: &Channel, why: Unsubscribed) -> Bytes {
    let mut body = Object::with_capacity(64);
    body.field("code", &why.code);
    body.field("reason", &why.reason);
    push(channel, "unsubscribe", &body.finish())
}

/// The connection's life has been changed by the server.
pub(crate) fn refresh_push(expires: Option<u64>) -> Bytes {
    let mut body = Object::with_capacity(32);
    write_expiry(&mut body, expires);
    let mut frame = FrameWriter::with_capacity(64);
    frame.raw(b"{\"push\":{\"refresh\":");
    frame.raw(&body.finish());
    frame.raw(b"}}");
    frame.finish().0
}

/// A Close frame.
pub(crate) fn close(why: &Disconnect) -> Bytes {
    let mut frame = FrameWriter::with_capacity(why.reason.len() + 2);
    frame.raw(&why.code.to_be_bytes());
    frame.raw(why.reason.as_bytes());
    frame.finish_as(CLOSE).0
}

/// A Close frame with the payload of the one that it answers.
pub(crate) fn close_with(payload: &[u8]) -> Bytes {
    let mut frame = FrameWriter::with_capacity(payload.len());
    frame.raw(payload);
    frame.finish_as(CLOSE).0
}

/// The answer to a Ping frame.
pub(crate) fn pong(payload: &[u8]) -> Bytes {
    let mut frame = FrameWriter::with_capacity(payload.len());
    frame.raw(payload);
    frame.finish_as(PONG).0
}

/// The same message in a compressed frame, if it has at least so many bytes and gets smaller by it.
pub(crate) fn deflated(frame: Bytes, least: usize, level: u8) -> Bytes {
    let Some(payload) = messages(&frame).next().filter(|payload| payload.len() >= least) else { return frame };
    let mut smaller = FrameWriter::with_capacity(payload.len());
    deflate::deflate(&payload, level, &mut smaller.0);
    if smaller.len() < payload.len() { smaller.finish_as(DEFLATED).0 } else { frame }
}

/// The messages in whole frames of ours that are not compressed; a Close frame as the push that says the same.
pub(crate) fn messages(frames: &Bytes) -> impl Iterator<Item = Bytes> {
    let mut rest = frames.clone();
    std::iter::from_fn(move || {
        let opcode = *rest.first()?;
        let (header, length) = match *rest.get(1)? {
            126 => (4, u64::from(u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(rest.get(2..10)?.try_into().ok()?)),
            short => (2, u64::from(short)),
        };
        rest.advance(header);
        let payload = rest.split_to(usize::try_from(length).ok()?.min(rest.len()));
        Some(if opcode == CLOSE { disconnect_push(&payload) } else { payload })
    })
}

/// What a Close frame says, for those who cannot be sent one.
fn disconnect_push(close: &[u8]) -> Bytes {
    let (code, reason) = close.split_first_chunk().unwrap_or((&[0; 2], &[]));
    let mut body = Object::with_capacity(64);
    body.field("code", &u16::from_be_bytes(*code));
    body.field("reason", &String::from_utf8_lossy(reason));
    let body = body.finish();
    [b"{\"push\":{\"disconnect\":".as_slice(), &body, b"}}"].concat().into()
}

/// Frames that follow each other, joined to as few writes as is sensible.
pub(crate) fn joined(frames: &[Bytes]) -> Vec<Bytes> {
    let mut writes: Vec<Bytes> = Vec::new();
    let mut rest = frames;
    while let Some(first) = rest.first() {
        let mut bytes = first.len();
        let more = rest[1..].iter().take_while(|frame| {
            bytes += frame.len();
            bytes <= LARGEST_WRITE
        });
        let (now, later) = rest.split_at(1 + more.count());
        writes.push(if let [single] = now { single.clone() } else { now.concat().into() });
        rest = later;
    }
    writes
}

/// Writes a payload behind room for the header, so that one allocation holds the whole frame.
struct FrameWriter(Vec<u8>);

impl FrameWriter {
    fn with_capacity(payload: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER + payload);
        bytes.resize(HEADER, 0);
        Self(bytes)
    }

    fn len(&self) -> usize {
        self.0.len() - HEADER
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn json(&mut self, value: &(impl Serialize + ?Sized)) {
        write_json(&mut self.0, value);
    }

    fn number(&mut self, before: &[u8], number: u64) {
        self.raw(before);
        let written = write!(self.0, "{number}");
        debug_assert!(written.is_ok());
    }

    /// A line break in JSON can only stand between tokens, so leaving it out changes nothing.
    fn data(&mut self, data: &RawValue) {
        let bytes = data.get().as_bytes();
        if bytes.contains(&b'\n') {
            self.0.extend(bytes.iter().filter(|&&byte| byte != b'\n'));
        } else {
            self.raw(bytes);
        }
    }

    /// The frame, and where in it the payload starts.
    fn finish(self) -> (Bytes, usize) {
        self.finish_as(TEXT)
    }

    fn finish_as(mut self, opcode: u8) -> (Bytes, usize) {
        let length = self.len();
        let start = match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ ..126), _) => {
                self.0[HEADER - 1] = short;
                HEADER - 2
            }
            (_, Ok(medium)) => {
                self.0[HEADER - 3] = 126;
                self.0[HEADER - 2..HEADER].copy_from_slice(&medium.to_be_bytes());
                HEADER - 4
            }
            _ => {
                self.0[1] = 127;
                self.0[2..HEADER].copy_from_slice(&(length as u64).to_be_bytes());
                0
            }
        };
        self.0[start] = opcode;
        (Bytes::from(self.0).slice(start..), HEADER - start)
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Offset, Position};

    use super::*;

    fn publication(data: &str) -> Publication {
        let data = RawValue::from_string(data.to_owned()).unwrap();
        Publication::encode(&Channel::parse("room:7").unwrap(), Offset(5), &data.into())
    }

    #[test]
    fn a_publication_is_one_frame_whose_body_is_shared() {
        let publication = publication("{\"a\":\n1}");
        assert_eq!(publication.body, r#"{"data":{"a":1},"offset":5}"#);
        assert_eq!(&publication.frame[..2], [TEXT, 63]);
        assert_eq!(
            &publication.frame[2..],
            br#"{"push":{"channel":"room:7","pub":{"data":{"a":1},"offset":5}}}"#.as_slice()
        );
    }

    #[test]
    fn lengths_are_written_in_the_three_forms_of_websocket() {
        let frame_of = |length: usize| publication(&format!("\"{}\"", "x".repeat(length))).frame;
        assert_eq!(frame_of(300)[1], 126);
        assert_eq!(u16::from_be_bytes([frame_of(300)[2], frame_of(300)[3]]) as usize, frame_of(300).len() - 4);
        assert_eq!(frame_of(70_000)[1], 127);
        let length: [u8; 8] = frame_of(70_000)[2..10].try_into().unwrap();
        assert_eq!(u64::from_be_bytes(length), frame_of(70_000).len() as u64 - 10);
    }

    #[test]
    fn zero_values_are_omitted() {
        assert_eq!(Subscribed::default().encode(), b"{}");
        let empty = Subscribed {
            recoverable: true,
            positioned: true,
            position: Position { epoch: "e".into(), offset: Offset(0) },
            ..Subscribed::default()
        };
        assert_eq!(empty.encode(), br#"{"recoverable":true,"epoch":"e","positioned":true}"#);
        assert_eq!(
            &error(2, ErrorCode::UNKNOWN_CHANNEL)[2..],
            br#"{"id":2,"error":{"code":102,"message":"unknown channel"}}"#
        );
    }

    #[test]
    fn frames_are_joined_in_order_up_to_a_size() {
        let frames = [Bytes::from_static(b"a"), Bytes::from(vec![b'b'; LARGEST_WRITE]), Bytes::from_static(b"c")];
        assert_eq!(joined(&frames).concat(), frames.concat());
        assert_eq!(joined(&frames).len(), 3);
        assert_eq!(joined(&frames[..1]), [Bytes::from_static(b"a")]);
        assert_eq!(joined(&[frames[0].clone(), frames[2].clone()]), [Bytes::from_static(b"ac")]);
    }

    #[test]
    fn a_frame_is_compressed_if_it_is_large_enough_and_gets_smaller() {
        let frame = publication(&format!("\"{}\"", "so it goes ".repeat(20))).frame;
        let payload = frame.len() - 4;
        let smaller = deflated(frame.clone(), payload, 1);
        assert_eq!((smaller[0], usize::from(smaller[1])), (DEFLATED, smaller.len() - 2));
        assert_eq!(deflate::inflate(&smaller[2..], payload).unwrap(), frame[4..]);
        assert_eq!(deflated(frame.clone(), payload + 1, 1), frame);
        let short = publication("7").frame;
        assert!(deflated(short.clone(), 0, 9).len() <= short.len());
        let noise = Bytes::from_static(&[TEXT, 4, 0x9b, 0x2c, 0xf1, 0x60]);
        assert_eq!(deflated(noise.clone(), 0, 9), noise);
    }

    #[test]
    fn a_close_frame_has_code_and_reason() {
        assert_eq!(close(&Disconnect::SLOW), [&[CLOSE, 6, 0x0b, 0xc0], b"slow".as_slice()].concat());
    }
}

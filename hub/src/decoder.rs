//! What a client says, out of the bytes that came: RFC 6455 as a server reads it, and compressed messages (RFC 7692) where
//! that was agreed upon.
//!
//! Pure, and without a buffer: the caller keeps what does not make a frame yet. A frame is unmasked where it lies and a
//! message of one frame is handed out from there; only a message of several frames is put together here.

use std::{borrow::Cow, io::Cursor, str};

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data, OpCode},
};

use crate::deflate::{self, Corrupt};

/// A control frame carries no more.
pub(crate) const LARGEST_CONTROL: usize = 125;

/// What a frame was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A whole message; one of text is UTF-8.
    Message(Cow<'a, [u8]>),
    /// A part of a message whose end has not come yet.
    Fragment,
    /// A pong with the same bytes is its answer.
    Ping(&'a [u8]),
    Pong,
    /// Nothing comes behind it. The same bytes are its answer: nothing, or a code that may be sent and a reason.
    Close(&'a [u8]),
}

/// The bytes are not WebSocket, or more than is allowed: nothing behind them can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A rule of the protocol.
    Rule,
    /// The one about lengths, which others do not insist on: the shortest form must be used.
    Length,
    /// Text, or the reason of a Close frame, is not UTF-8.
    NotText,
    /// The message has more bytes than a message may have.
    TooBig,
}

/// Where a client is in what it says.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Bytes of a message, whether in one frame or in several, compressed or not.
    most: u32,
    /// Messages may be compressed.
    inflates: bool,
    /// Boxed: hardly any client sends such a message, and a place for one is kept for each.
    unfinished: Option<Box<Unfinished>>,
}

/// A message of several frames.
#[derive(Debug)]
struct Unfinished {
    text: bool,
    deflated: bool,
    bytes: Vec<u8>,
    /// Up to here it is UTF-8.
    checked: usize,
}

/// A frame whose bytes are all there.
struct Frame<'a> {
    opcode: OpCode,
    last: bool,
    deflated: bool,
    payload: &'a [u8],
}

impl Decoder {
    pub(crate) fn new(most: usize) -> Self {
        Self { most: u32::try_from(most).unwrap_or(u32::MAX), inflates: false, unfinished: None }
    }

    /// Compressed messages are understood, or not.
    pub(crate) fn inflating(self, inflates: bool) -> Self {
        Self { inflates, ..self }
    }

    /// The first frame in `bytes` and its length; `None` if more has to come first. Then nothing has been changed.
    pub(crate) fn step<'a>(&mut self, bytes: &'a mut [u8]) -> Result<Option<(usize, Event<'a>)>, Broken> {
        let mut cursor = Cursor::new(&*bytes);
        let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| Broken::Rule)? else {
            return Ok(None);
        };
        // Small in any case: it was read from `bytes`.
        let begin = usize::try_from(cursor.position()).map_err(|_| Broken::TooBig)?;
        let mask = self.check(&header, length, begin)?;
        let end = usize::try_from(length).ok().and_then(|length| begin.checked_add(length)).ok_or(Broken::TooBig)?;
        let Some(payload) = bytes.get_mut(begin..end) else { return Ok(None) };
        unmask(payload, mask);
        let FrameHeader { opcode, is_final: last, rsv1: deflated, .. } = header;
        let event = self.event(&Frame { opcode, last, deflated, payload })?;
        Ok(Some((end, event)))
    }

    /// May a frame have this header? The mask, which it must have.
    fn check(&self, header: &FrameHeader, length: u64, size: usize) -> Result<[u8; 4], Broken> {
        let mask = header.mask.ok_or(Broken::Rule)?;
        // Whether a message is compressed stands in its first frame.
        let may_deflate = self.inflates && matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
        if header.rsv1 && !may_deflate || header.rsv2 || header.rsv3 {
            return Err(Broken::Rule);
        }
        let begun = match header.opcode {
            OpCode::Control(_) if header.is_final && length <= LARGEST_CONTROL as u64 => 0,
            OpCode::Data(Data::Continue) => self.unfinished.as_ref().ok_or(Broken::Rule)?.bytes.len(),
            OpCode::Data(_) if self.unfinished.is_none() => 0,
            OpCode::Control(_) | OpCode::Data(_) => return Err(Broken::Rule),
        };
        if header.len(length) != size {
            return Err(Broken::Length);
        }
        let room = u64::from(self.most).saturating_sub(begun as u64);
        if matches!(header.opcode, OpCode::Data(_)) && length > room {
            return Err(Broken::TooBig);
        }
        Ok(mask)
    }

    fn event<'a>(&mut self, frame: &Frame<'a>) -> Result<Event<'a>, Broken> {
        match frame.opcode {
            OpCode::Control(Control::Ping) => Ok(Event::Ping(frame.payload)),
            OpCode::Control(Control::Pong) => Ok(Event::Pong),
            OpCode::Control(Control::Close) => closing(frame.payload).map(Event::Close),
            OpCode::Data(kind @ (Data::Text | Data::Binary)) => self.begin(kind == Data::Text, frame),
            OpCode::Data(Data::Continue) => self.go_on(frame),
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => Err(Broken::Rule),
        }
    }

    fn begin<'a>(&mut self, text: bool, frame: &Frame<'a>) -> Result<Event<'a>, Broken> {
        if !frame.last {
            let deflated = frame.deflated;
            self.unfinished = Some(Box::new(Unfinished { text, deflated, bytes: Vec::new(), checked: 0 }));
            return self.go_on(frame);
        }
        if frame.deflated {
            return self.inflate(text, frame.payload);
        }
        if text && str::from_utf8(frame.payload).is_err() {
            return Err(Broken::NotText);
        }
        Ok(Event::Message(frame.payload.into()))
    }

    fn go_on<'a>(&mut self, frame: &Frame<'a>) -> Result<Event<'a>, Broken> {
        let mut message = self.unfinished.take().ok_or(Broken::Rule)?;
        message.bytes.extend_from_slice(frame.payload);
        if frame.last && message.deflated {
            return self.inflate(message.text, &message.bytes);
        }
        message.check(frame.last)?;
        if frame.last {
            return Ok(Event::Message(message.bytes.into()));
        }
        self.unfinished = Some(message);
        Ok(Event::Fragment)
    }

    fn inflate<'a>(&self, text: bool, deflated: &[u8]) -> Result<Event<'a>, Broken> {
        let message = deflate::inflate(deflated, self.most as usize).map_err(|why| match why {
            Corrupt::Damaged => Broken::Rule,
            Corrupt::TooBig => Broken::TooBig,
        })?;
        if text && str::from_utf8(&message).is_err() {
            return Err(Broken::NotText);
        }
        Ok(Event::Message(message.into()))
    }
}

impl Unfinished {
    /// Text is looked at as it comes. A character may be torn apart, but not by the message's end.
    fn check(&mut self, ended: bool) -> Result<(), Broken> {
        if !self.text || self.deflated {
            return Ok(());
        }
        match str::from_utf8(&self.bytes[self.checked..]) {
            Ok(text) => self.checked += text.len(),
            Err(torn) if torn.error_len().is_none() && !ended => self.checked += torn.valid_up_to(),
            Err(_) => return Err(Broken::NotText),
        }
        Ok(())
    }
}

/// The payload of a Close frame, if there can be one like it.
fn closing(payload: &[u8]) -> Result<&[u8], Broken> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(payload) } else { Err(Broken::Rule) };
    };
    if !CloseCode::from(u16::from_be_bytes(*code)).is_allowed() {
        return Err(Broken::Rule);
    }
    if str::from_utf8(reason).is_err() { Err(Broken::NotText) } else { Ok(payload) }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod oracle;
#[cfg(test)]
mod tests;

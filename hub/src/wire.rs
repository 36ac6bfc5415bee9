//! What carries bytes to a client: a socket of its own, or the body of an HTTP response where WebSocket does not get
//! through. A body has its messages one a line, or as server-sent events; both are made of the socket's frames.

use bytes::{BufMut, Bytes, BytesMut};
use tokio::{net::TcpStream, sync::Notify};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::frame;

pub(crate) enum Wire {
    Socket {
        stream: TcpStream,
        /// Either side may compress a message (permessage-deflate).
        deflates: bool,
    },
    Body(Body),
}

/// The body of a response that goes on.
pub(crate) struct Body {
    /// By this the client's own requests are known. It is nobody else's business, unlike the client's name.
    pub(crate) session: Uuid,
    pub(crate) framing: Framing,
    /// Something is there to be sent, or nothing will be any more.
    pub(crate) written: Notify,
    pub(crate) ended: CancellationToken,
}

/// How messages are told apart in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `{…}\n`
    Lines,
    /// `data: {…}\n\n`
    Events,
}

impl Body {
    pub(crate) fn new(framing: Framing) -> Self {
        Self { session: Uuid::new_v4(), framing, written: Notify::new(), ended: CancellationToken::new() }
    }

    /// Nothing is sent any more.
    pub(crate) fn end(&self) {
        self.ended.cancel();
        self.written.notify_one();
    }
}

impl Wire {
    /// The socket; `None` where there is none.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Socket { stream, .. } => Some(stream),
            Self::Body(_) => None,
        }
    }

    pub(crate) fn body(&self) -> Option<&Body> {
        match self {
            Self::Socket { .. } => None,
            Self::Body(body) => Some(body),
        }
    }

    pub(crate) fn deflates(&self) -> bool {
        matches!(self, Self::Socket { deflates: true, .. })
    }
}

impl Framing {
    /// The messages of whole WebSocket frames. A Close frame becomes the push that says the same.
    pub(crate) fn translate(self, frames: &Bytes) -> Bytes {
        let mut body = BytesMut::with_capacity(frames.len() + 16);
        for message in frame::messages(frames) {
            if self == Self::Events {
                body.put_slice(b"data: ");
            }
            body.put_slice(&message);
            body.put_slice(if self == Self::Events { b"\n\n" } else { b"\n" });
        }
        body.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::Disconnect;

    #[test]
    fn frames_become_lines_or_events() {
        let long = frame::reply(1, "rpc", format!("\"{}\"", "x".repeat(200)).as_bytes());
        let frames = Bytes::from([&frame::PING[..], &long[..], &frame::close(&Disconnect::SHUTDOWN)[..]].concat());
        let lines = Framing::Lines.translate(&frames);
        let lines: Vec<&str> = std::str::from_utf8(&lines).unwrap().lines().collect();
        assert_eq!((lines[0], lines[1].len()), ("{}", 200 + r#"{"id":1,"rpc":""}"#.len()));
        assert_eq!(lines[2], r#"{"push":{"disconnect":{"code":3001,"reason":"shutdown"}}}"#);
        assert_eq!(Framing::Events.translate(&frame::PING), "data: {}\n\n");
    }
}

//! What a client may say: one command a line, in a text message. Unknown fields are ignored, as the protocol asks.

use std::collections::HashMap;

use protocol::{Epoch, Offset, Position};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// A command with its id; which one it is, is decided by [`Command::request`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Command {
    id: u32,
    connect: Option<Connect>,
    ping: Option<IgnoredAny>,
    subscribe: Option<Subscribe>,
    unsubscribe: Option<InChannel>,
    publish: Option<InChannel>,
    presence: Option<InChannel>,
    presence_stats: Option<InChannel>,
    history: Option<InChannel>,
    rpc: Option<IgnoredAny>,
    send: Option<IgnoredAny>,
    refresh: Option<Refresh>,
    sub_refresh: Option<InChannel>,
}

/// What a command asks for.
#[derive(Debug)]
pub(crate) enum Request {
    Connect(Connect),
    Subscribe(Subscribe),
    Unsubscribe(InChannel),
    Publish(InChannel),
    /// Presence, its statistics, history: about a channel, and not offered.
    Inspect(InChannel),
    Rpc,
    Send,
    Refresh(Refresh),
    SubRefresh(InChannel),
    /// The answer to the server's ping.
    Pong,
    /// A command that the protocol knows and no server answers, or none at all.
    Unsupported,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Connect {
    pub(crate) token: String,
    /// Where the client stands in channels that the server had subscribed it to.
    pub(crate) subs: HashMap<String, Recover>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Subscribe {
    pub(crate) channel: String,
    recover: bool,
    epoch: Epoch,
    offset: Offset,
    flag: u64,
}

/// The position after which a client wants to go on in a channel that the server had given it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Recover {
    #[serde(rename = "recover")]
    wanted: bool,
    epoch: Epoch,
    offset: Offset,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct InChannel {
    pub(crate) channel: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Refresh {
    pub(crate) token: String,
}

/// A message that breaks the framing: after the commands before it, the socket is closed with 3501.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Subscribe {
    /// The client prefers error 112 to `recovered: false`.
    const REJECT_UNRECOVERED: u64 = 2;

    /// The position after which the client wants to go on.
    pub(crate) fn position(&self) -> Option<Position> {
        self.recover.then(|| Position { epoch: self.epoch.clone(), offset: self.offset })
    }

    pub(crate) fn strict(&self) -> bool {
        self.flag & Self::REJECT_UNRECOVERED != 0
    }
}

impl Recover {
    pub(crate) fn position(self) -> Option<Position> {
        self.wanted.then_some(Position { epoch: self.epoch, offset: self.offset })
    }
}

impl Command {
    pub(crate) fn parse(line: &[u8]) -> Result<Self, Malformed> {
        serde_json::from_slice(line).map_err(|_| Malformed)
    }

    /// The id and the request: the first of several, in the protocol's order.
    pub(crate) fn request(self) -> (u32, Request) {
        let request = if self.id == 0 && self.send.is_none() {
            Request::Pong
        } else if let Some(connect) = self.connect {
            Request::Connect(connect)
        } else if self.ping.is_some() {
            Request::Unsupported
        } else if let Some(subscribe) = self.subscribe {
            Request::Subscribe(subscribe)
        } else if let Some(unsubscribe) = self.unsubscribe {
            Request::Unsubscribe(unsubscribe)
        } else if let Some(publish) = self.publish {
            Request::Publish(publish)
        } else if let Some(inspect) = self.presence.or(self.presence_stats).or(self.history) {
            Request::Inspect(inspect)
        } else if self.rpc.is_some() {
            Request::Rpc
        } else if self.send.is_some() {
            Request::Send
        } else if let Some(refresh) = self.refresh {
            Request::Refresh(refresh)
        } else if let Some(refresh) = self.sub_refresh {
            Request::SubRefresh(refresh)
        } else {
            Request::Unsupported
        };
        (self.id, request)
    }
}

/// The lines of a message. One line break may end it; an empty line is malformed.
pub(crate) fn lines(message: &[u8]) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    let message = message.strip_suffix(b"\n").unwrap_or(message);
    message.split(|&byte| byte == b'\n').map(|line| if line.is_empty() { Err(Malformed) } else { Ok(line) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> (u32, Request) {
        Command::parse(json.as_bytes()).unwrap().request()
    }

    #[test]
    fn one_line_break_may_end_a_message_and_an_empty_line_is_malformed() {
        let split = |text: &'static str| lines(text.as_bytes()).map(|line| line.is_ok()).collect::<Vec<_>>();
        assert_eq!(split("a\nb\n"), [true, true]);
        assert_eq!(split("a\n\nb"), [true, false, true]);
        assert_eq!(split("a\n\n"), [true, false]);
        assert_eq!(split(""), [false]);
        assert_eq!(split("\n"), [false]);
    }

    #[test]
    fn without_an_id_and_without_send_it_is_a_pong() {
        assert!(matches!(request("{}"), (0, Request::Pong)));
        assert!(matches!(request(r#"{"subscribe":{"channel":"a"}}"#), (0, Request::Pong)));
        assert!(matches!(request(r#"{"send":{"data":1}}"#), (0, Request::Send)));
    }

    #[test]
    fn the_first_of_several_requests_counts() {
        assert!(matches!(request(r#"{"id":1,"rpc":{},"connect":{}}"#), (1, Request::Connect(_))));
        assert!(matches!(request(r#"{"id":2}"#), (2, Request::Unsupported)));
        assert!(matches!(request(r#"{"id":2,"ping":{}}"#), (2, Request::Unsupported)));
    }

    #[test]
    fn a_subscribe_carries_its_position_only_if_it_recovers() {
        let (_, Request::Subscribe(subscribe)) = request(
            r#"{"id":2,"subscribe":{"channel":"room:1","recover":true,"epoch":"e","offset":5,"flag":3,"new":0}}"#,
        ) else {
            panic!("not a subscribe")
        };
        assert!(subscribe.strict());
        let position = Position { epoch: "e".into(), offset: Offset(5) };
        assert_eq!(subscribe.position(), Some(position));
        let (_, Request::Subscribe(fresh)) = request(r#"{"id":2,"subscribe":{"channel":"room:1","offset":5}}"#) else {
            panic!("not a subscribe")
        };
        assert_eq!(fresh.position(), None);
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for bad in ["x", "[1", "{\"id\":-1}", "{\"id\":1}{\"id\":2}", "{\"id\":1,\"connect\":5}"] {
            assert_eq!(Command::parse(bad.as_bytes()).map(|_| ()), Err(Malformed), "{bad}");
        }
    }
}

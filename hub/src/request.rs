//! What a client may say: one command a line, in a text message. Unknown fields are ignored, as the protocol asks.

use std::collections::HashMap;

use protocol::{Epoch, Offset, Position};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{shard::HistoryQuestion, terms::Wishes};

/// A command with its id; which one it is, is decided by [`Command::request`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Command {
    id: u32,
    connect: Option<Connect>,
    ping: Option<IgnoredAny>,
    subscribe: Option<Subscribe>,
    unsubscribe: Option<InChannel>,
    publish: Option<Publish>,
    presence: Option<InChannel>,
    presence_stats: Option<InChannel>,
    history: Option<History>,
    rpc: Option<IgnoredAny>,
    send: Option<IgnoredAny>,
    refresh: Option<Refresh>,
    sub_refresh: Option<SubRefresh>,
}

/// What a command asks for.
#[derive(Debug)]
pub(crate) enum Request {
    Connect(Connect),
    Subscribe(Subscribe),
    Unsubscribe(InChannel),
    Publish(Publish),
    Presence(InChannel),
    PresenceStats(InChannel),
    History(History),
    Rpc,
    Send,
    Refresh(Refresh),
    SubRefresh(SubRefresh),
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
#[expect(clippy::struct_excessive_bools, reason = "the protocol has them so")]
pub(crate) struct Subscribe {
    pub(crate) channel: String,
    pub(crate) token: String,
    /// 0 is a stream of publications; no other kind is offered.
    #[serde(rename = "type")]
    pub(crate) kind: u32,
    /// A filter by tags, which is not offered.
    pub(crate) tf: Option<IgnoredAny>,
    positioned: bool,
    recoverable: bool,
    join_leave: bool,
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
pub(crate) struct Publish {
    pub(crate) channel: String,
    pub(crate) data: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct History {
    pub(crate) channel: String,
    /// 0: the position alone; negative: as many as there may be.
    pub(crate) limit: i64,
    pub(crate) since: Option<Position>,
    pub(crate) reverse: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Refresh {
    pub(crate) token: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SubRefresh {
    pub(crate) channel: String,
    pub(crate) token: String,
}

/// A message that breaks the framing: after the commands before it, the socket is closed with 3501.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Subscribe {
    /// The client understands pushes that name the channel by a number.
    const NUMBERED: u64 = 1;
    /// The client prefers error 112 to `recovered: false`.
    const REJECT_UNRECOVERED: u64 = 2;

    /// The position after which the client wants to go on.
    pub(crate) fn position(&self) -> Option<Position> {
        self.recover.then(|| Position { epoch: self.epoch.clone(), offset: self.offset })
    }

    pub(crate) fn strict(&self) -> bool {
        self.flag & Self::REJECT_UNRECOVERED != 0
    }

    pub(crate) fn wishes(&self) -> Wishes {
        Wishes {
            positioned: self.positioned,
            recoverable: self.recoverable,
            join_leave: self.join_leave,
            numbered: self.flag & Self::NUMBERED != 0,
        }
    }
}

impl History {
    /// What is wanted, of at most `most` publications; `None` for a question that makes no sense.
    pub(crate) fn question(self, most: usize) -> Option<HistoryQuestion> {
        let nothing_before = self.since.as_ref().is_some_and(|since| since.offset.is_zero());
        let limit = usize::try_from(self.limit).unwrap_or(most).min(most);
        (!(self.reverse && nothing_before)).then_some(HistoryQuestion {
            since: self.since,
            limit,
            reverse: self.reverse,
        })
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
        } else if let Some(presence) = self.presence {
            Request::Presence(presence)
        } else if let Some(presence) = self.presence_stats {
            Request::PresenceStats(presence)
        } else if let Some(history) = self.history {
            Request::History(history)
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

/// Is this a command in Protobuf? It has its length, in one to three bytes, and then its first field, the id: a byte 8,
/// which no JSON has.
pub(crate) fn is_protobuf(message: &[u8]) -> bool {
    message.iter().skip(1).take(3).any(|&byte| byte == 8)
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

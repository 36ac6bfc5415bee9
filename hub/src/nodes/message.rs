//! What nodes say to each other: JSON, `{"node":<who>,"kind":<what>,"body":{…}}`.
//!
//! Nodes of different versions may share a bus while they are replaced one by one. So a field that is added has a
//! default, a meaning that changes gets a new kind, and what a node does not know it leaves out: the whole message
//! ([`Unheard::Unknown`]), or one command of several.

use std::{borrow::Cow, collections::HashMap};

use bytes::Bytes;
use protocol::{Channel, Command, Publish};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    roster::Here,
    survey::{About, Part},
};

/// One message.
#[derive(Debug)]
pub(super) enum Message {
    /// What a server asked a node to do, for every node to do. Key: the channel, else the user.
    Commands(Commands),
    /// What a client published. Key: the channel.
    Said(Said),
    /// Who came to a channel and who left it, on the node that says it. Key: the channel.
    Company(Company),
    /// The node is there. Key: the node.
    Here(Here),
    /// The node goes. Key: the node.
    Bye,
    /// Every node is asked. Key: the channel, if it is about one.
    Question(Question),
    /// To the node that asked. Key: that node.
    Answer(Answer),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Commands {
    /// By this the one who says it knows that it has been carried out.
    pub(super) call: u64,
    pub(super) commands: Vec<Order>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) call: u64,
    pub(super) publish: Publish,
    /// The client as others see it.
    pub(super) by: Box<RawValue>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Company {
    pub(super) channel: Channel,
    pub(super) changes: Vec<Change>,
}

/// Somebody, as others see it, has come or gone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    Join(Box<RawValue>),
    Leave(Box<RawValue>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Question {
    /// By this the answers are known.
    pub(super) call: u64,
    pub(super) about: About,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    /// Who has asked.
    pub(super) to: Uuid,
    pub(super) call: u64,
    pub(super) part: Part,
    /// That was all.
    pub(super) last: bool,
}

/// A command as `POST /api/batch` has it, `{"publish":{…}}`; `None` for one that this node does not know.
#[derive(Debug)]
pub(super) struct Order(pub(super) Option<Command>);

/// Why a message is not acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unheard {
    /// No message of any version.
    Garbage,
    /// A kind that this version does not know.
    Unknown,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    node: Uuid,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Serialize)]
struct Writing<'a, T> {
    node: Uuid,
    kind: &'a str,
    body: &'a T,
}

impl Message {
    /// Who says what?
    pub(super) fn parse(bytes: &[u8]) -> Result<(Uuid, Self), Unheard> {
        let Envelope { node, kind, body } = serde_json::from_slice(bytes).map_err(|_| Unheard::Garbage)?;
        let body = body.get();
        let message = match &*kind {
            "commands" => serde_json::from_str(body).map(Self::Commands),
            "said" => serde_json::from_str(body).map(Self::Said),
            "company" => serde_json::from_str(body).map(Self::Company),
            "here" => serde_json::from_str(body).map(Self::Here),
            "bye" => Ok(Self::Bye),
            "question" => serde_json::from_str(body).map(Self::Question),
            "answer" => serde_json::from_str(body).map(Self::Answer),
            _ => return Err(Unheard::Unknown),
        };
        message.map(|message| (node, message)).map_err(|_| Unheard::Garbage)
    }

    /// The message as `node` says it.
    pub(super) fn encode(&self, node: Uuid) -> Bytes {
        match self {
            Self::Commands(body) => encode(node, self.kind(), body),
            Self::Said(body) => encode(node, self.kind(), body),
            Self::Company(body) => encode(node, self.kind(), body),
            Self::Here(body) => encode(node, self.kind(), body),
            Self::Bye => encode(node, self.kind(), &()),
            Self::Question(body) => encode(node, self.kind(), body),
            Self::Answer(body) => encode(node, self.kind(), body),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Commands(_) => "commands",
            Self::Said(_) => "said",
            Self::Company(_) => "company",
            Self::Here(_) => "here",
            Self::Bye => "bye",
            Self::Question(_) => "question",
            Self::Answer(_) => "answer",
        }
    }
}

/// What nodes say always has a JSON form.
fn encode(node: Uuid, kind: &str, body: &impl Serialize) -> Bytes {
    serde_json::to_vec(&Writing { node, kind, body }).unwrap_or_default().into()
}

impl Serialize for Order {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Order {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = HashMap::<String, Box<RawValue>>::deserialize(deserializer)?;
        let (Some((method, payload)), true) = (fields.iter().next(), fields.len() == 1) else { return Ok(Self(None)) };
        Ok(Self(Command::parse(method, payload.get()).ok()))
    }
}

/// What messages can carry, each about `most` bytes: at least one part, and none without an item if there is one.
pub(super) fn split<T>(items: impl IntoIterator<Item = T>, most: usize, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for item in items {
        bytes += size(&item);
        if bytes > most && !part.is_empty() {
            bytes = size(&item);
            parts.push(std::mem::take(&mut part));
        }
        part.push(item);
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Uuid = Uuid::from_u128(7);

    fn message(kind: &str, body: &str) -> Vec<u8> {
        format!(r#"{{"node":"{NODE}","kind":"{kind}","body":{body}}}"#).into_bytes()
    }

    #[test]
    fn what_is_said_is_heard() {
        let publish = r#"{"channel":"chat:1","data":{"a":[1]}}"#;
        let commands = message("commands", &format!(r#"{{"call":3,"commands":[{{"publish":{publish}}}]}}"#));
        let said = message("said", &format!(r#"{{"call":4,"publish":{publish},"by":{{"user":"7"}}}}"#));
        for bytes in [commands, said] {
            let (node, message) = Message::parse(&bytes).unwrap();
            assert_eq!((node, message.encode(node)), (NODE, Bytes::from(bytes)));
        }
    }

    #[test]
    fn another_version_is_told_from_garbage() {
        assert_eq!(Message::parse(&message("song", r#"{"la":"la"}"#)).unwrap_err(), Unheard::Unknown);
        let garbage = [&b""[..], b"{}", b"\xff\xfe", b"[[[[", &message("commands", "7"), &message("said", "{}")];
        assert!(garbage.iter().all(|bytes| Message::parse(bytes).unwrap_err() == Unheard::Garbage));
    }

    #[test]
    fn a_command_of_another_version_is_left_out_alone() {
        let body = r#"{"call":1,"commands":[{"sing":{}},{"history_remove":{"channel":"chat:1"}}],"tune":2}"#;
        let Ok((_, Message::Commands(Commands { commands, .. }))) = Message::parse(&message("commands", body)) else {
            panic!("not heard");
        };
        assert!(matches!(commands[..], [Order(None), Order(Some(Command::HistoryRemove(_)))]));
    }

    #[test]
    fn every_command_is_heard_as_it_was_said() {
        let target = r#""user":"7","client":"c""#;
        let overrides = r#""override":{"presence":{"value":false}}"#;
        let subscribe = format!(
            r#"{{{target},"channel":"a","info":{{}},"data":[],"expire_at":1,"recover_since":{{"offset":3}},{overrides}}}"#
        );
        let commands = [
            ("publish", r#"{"channel":"a","data":1,"version":2,"version_epoch":"e","idempotency_key":"k"}"#.to_owned()),
            ("broadcast", r#"{"channels":["a","b"],"data":1,"tags":{"a":"b"},"skip_history":true}"#.to_owned()),
            ("subscribe", subscribe),
            ("unsubscribe", format!(r#"{{{target},"channel":"a"}}"#)),
            ("disconnect", format!(r#"{{{target},"disconnect":{{"code":4000,"reason":"r"}},"whitelist":["d"]}}"#)),
            ("refresh", format!(r#"{{{target},"expired":true,"expire_at":4}}"#)),
            ("history_remove", r#"{"channel":"a"}"#.to_owned()),
        ];
        for (method, payload) in commands {
            let said = serde_json::to_string(&Order(Command::parse(method, &payload).ok())).unwrap();
            let Order(Some(heard)) = serde_json::from_str(&said).unwrap() else { panic!("{method}: {said}") };
            assert_eq!(serde_json::to_string(&heard).unwrap(), said);
            let payload: serde_json::Value = serde_json::from_str(&payload).unwrap();
            let whole: serde_json::Value = serde_json::from_str(&said).unwrap();
            assert_eq!(whole[method].as_object().unwrap().len(), payload.as_object().unwrap().len(), "{said}");
        }
    }
}

//! What a row asks the hub to do: `method` and `payload`, in the shape of Centrifugo's server API.
//!
//! The same commands cross `POST /api/<method>`, the outbox table and, later, Kafka.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Channel, Epoch, Offset};

/// One thing that the hub can be asked to do.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Deliver data to a channel.
    Publish(Publish),
    /// Deliver the same data to several channels.
    Broadcast(Broadcast),
    /// Add a channel to every open connection of a user.
    Subscribe(Subscribe),
    /// Take a channel from every open connection of a user.
    Unsubscribe(Unsubscribe),
    /// Close every open connection of a user.
    Disconnect(Disconnect),
}

/// Why a `method` and `payload` are not a command. Trying again cannot help.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The method is not one of the five.
    #[error("unknown method \"{0}\" (known: publish, broadcast, subscribe, unsubscribe, disconnect)")]
    UnknownMethod(String),
    /// The payload does not have the shape of that method.
    #[error("the payload is not a {method} request: {source}")]
    Payload {
        /// The row's method.
        method: String,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
}

impl Command {
    /// Reads a row's method and payload.
    pub fn parse(method: &str, payload: &str) -> Result<Self, CommandError> {
        let command = match method {
            "publish" => serde_json::from_str(payload).map(Self::Publish),
            "broadcast" => serde_json::from_str(payload).map(Self::Broadcast),
            "subscribe" => serde_json::from_str(payload).map(Self::Subscribe),
            "unsubscribe" => serde_json::from_str(payload).map(Self::Unsubscribe),
            "disconnect" => serde_json::from_str(payload).map(Self::Disconnect),
            other => return Err(CommandError::UnknownMethod(other.to_owned())),
        };
        command.map_err(|source| CommandError::Payload { method: method.to_owned(), source })
    }
}

/// Deliver `data` to `channel`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Publish {
    /// Where to.
    pub channel: Channel,
    /// Any JSON value, carried as it is.
    pub data: Box<RawValue>,
    /// The publication's offset, when the truth (and not the hub) counts this channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Offset>,
    /// The epoch that `version` counts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_epoch: Option<Epoch>,
    /// A second publication with this key within five minutes is answered like the first and not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Free labels, delivered with the publication.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Deliver `data` to each of `channels`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Broadcast {
    /// Where to.
    pub channels: Vec<Channel>,
    /// Any JSON value, carried as it is.
    pub data: Box<RawValue>,
    /// See [`Publish::idempotency_key`]; counted per channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Free labels, delivered with the publication.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Add `channel` to the connections of `user`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subscribe {
    /// The `sub` of the connections' tokens.
    pub user: String,
    /// What they shall hear.
    pub channel: Channel,
}

/// Take `channel` from the connections of `user`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unsubscribe {
    /// The `sub` of the connections' tokens.
    pub user: String,
    /// What they shall no longer hear.
    pub channel: Channel,
}

/// Close the connections of `user`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Disconnect {
    /// The `sub` of the connections' tokens.
    pub user: String,
    /// The close code and reason; 3503 "force disconnect" when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnect: Option<DisconnectReason>,
}

/// A close code of the client protocol with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisconnectReason {
    /// 3000–3499 and 4000–4499 let the client come back; 3500–3999 and 4500–4999 do not.
    pub code: u16,
    /// At most 123 bytes.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_centrifugos_shape_is_a_command() {
        let payload = r#"{"channel":"room:7","data":{"text":"hi"},"version":5,"version_epoch":"abc","delta":false}"#;
        let Ok(Command::Publish(publish)) = Command::parse("publish", payload) else { panic!("not a publish") };
        assert_eq!(publish.version, Some(Offset(5)));
        assert_eq!(publish.data.get(), r#"{"text":"hi"}"#);
    }

    #[test]
    fn what_can_never_pass_says_why() {
        let unknown = Command::parse("shout", "{}").map(|_| ()).unwrap_err().to_string();
        assert!(unknown.contains("\"shout\""), "{unknown}");
        let payload = Command::parse("publish", r#"{"data":1}"#).map(|_| ()).unwrap_err().to_string();
        assert!(payload.contains("channel"), "{payload}");
    }
}

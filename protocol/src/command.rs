//! What a row asks the hub to do: `method` and `payload`, in the shape of Centrifugo's server API.
//!
//! The same commands cross `POST /api/<method>`, the outbox table and, later, Kafka.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Channel, Epoch, Offset, Position};

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
    /// Say how long the connections of a user may live from now on.
    Refresh(Refresh),
    /// Forget the publications that are kept of a channel; its position stays.
    HistoryRemove(HistoryRemove),
}

/// Why a `method` and `payload` are not a command. Trying again cannot help.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The method is none of these.
    #[error(
        "unknown method \"{0}\" \
         (known: publish, broadcast, subscribe, unsubscribe, disconnect, refresh, history_remove)"
    )]
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
            "refresh" => serde_json::from_str(payload).map(Self::Refresh),
            "history_remove" => serde_json::from_str(payload).map(Self::HistoryRemove),
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
    /// For those who listen now: neither counted nor kept.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skip_history: bool,
}

impl Publish {
    /// `data` for `channel`, without any of the options.
    pub fn new(channel: Channel, data: Box<RawValue>) -> Self {
        Self {
            channel,
            data,
            version: None,
            version_epoch: None,
            idempotency_key: None,
            tags: BTreeMap::new(),
            skip_history: false,
        }
    }
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
    /// See [`Publish::skip_history`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub skip_history: bool,
}

/// Add `channel` to the connections of `user`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subscribe {
    /// The `sub` of the connections' tokens.
    pub user: String,
    /// What they shall hear.
    pub channel: Channel,
    /// Only the connection of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Shown to others as what the user is in this channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<Box<RawValue>>,
    /// Handed to the client with the subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Seconds since 1970 after which the subscription ends; absent or 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<u64>,
    /// The client has seen everything up to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recover_since: Option<Position>,
    /// What shall be different from the channel's options.
    #[serde(default, rename = "override", skip_serializing_if = "Overrides::is_empty")]
    pub overrides: Overrides,
}

/// Options of one subscription that differ from those of its channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// Is the subscriber shown in the channel's presence?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<Override>,
    /// Are others told when it comes and goes?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_leave: Option<Override>,
    /// Is it told of others without having asked?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_push_join_leave: Option<Override>,
    /// Is it told its position without having asked?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_positioning: Option<Override>,
    /// Can it recover without having asked?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_recovery: Option<Override>,
}

/// One option's other value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The value.
    #[serde(default)]
    pub value: bool,
}

impl Overrides {
    /// True if nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Subscribe {
    /// `channel` for every connection of `user`, by the channel's options.
    pub fn new(user: String, channel: Channel) -> Self {
        Self {
            user,
            channel,
            client: None,
            info: None,
            data: None,
            expire_at: None,
            recover_since: None,
            overrides: Overrides::default(),
        }
    }
}

/// Take `channel` from the connections of `user`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unsubscribe {
    /// The `sub` of the connections' tokens.
    pub user: String,
    /// What they shall no longer hear.
    pub channel: Channel,
    /// Only the connection of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

impl Unsubscribe {
    /// `channel` from every connection of `user`.
    pub fn new(user: String, channel: Channel) -> Self {
        Self { user, channel, client: None }
    }
}

/// Close the connections of `user`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Disconnect {
    /// The `sub` of the connections' tokens.
    pub user: String,
    /// The close code and reason; 3503 "force disconnect" when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnect: Option<DisconnectReason>,
    /// Only the connection of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// All but the connections of these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub whitelist: Vec<String>,
}

/// Say how long the connections of `user` may live.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refresh {
    /// The `sub` of the connections' tokens.
    pub user: String,
    /// Only the connection of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// They have expired: close them now.
    #[serde(default, skip_serializing_if = "is_false")]
    pub expired: bool,
    /// Seconds since 1970; absent or 0: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<u64>,
}

/// Forget the publications that are kept of `channel`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HistoryRemove {
    /// Whose.
    pub channel: Channel,
}

/// A close code of the client protocol with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisconnectReason {
    /// 3000–3499 and 4000–4499 let the client come back; 3500–3999 and 4500–4999 do not.
    pub code: u16,
    /// At most 123 bytes.
    pub reason: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !value
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

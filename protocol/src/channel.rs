//! What sockets subscribe to: `room:<id>`, `user:<id>`, `system:all`, or any other name that the hub is configured for.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{RoomId, UserId};

/// A channel's name: 1 to [`Channel::MAX_BYTES`] printable ASCII bytes. Cheap to clone and to hash by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Channel(Arc<str>);

/// Why a text is not a channel name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The name has no byte.
    #[error("a channel name must not be empty")]
    Empty,
    /// The name has this many bytes.
    #[error("a channel name has at most {max} bytes, this one has {0}", max = Channel::MAX_BYTES)]
    TooLong(usize),
    /// The name has a byte outside printable ASCII.
    #[error("a channel name is printable ASCII")]
    NotAscii,
}

impl Channel {
    /// Centrifugo's default limit, which its SDKs' tests rely on.
    pub const MAX_BYTES: usize = 255;

    /// Parses a name that came from outside.
    pub fn parse(name: &str) -> Result<Self, ChannelError> {
        match name.len() {
            0 => Err(ChannelError::Empty),
            len if len > Self::MAX_BYTES => Err(ChannelError::TooLong(len)),
            _ if !name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') => Err(ChannelError::NotAscii),
            _ => Ok(Self(name.into())),
        }
    }

    /// The channel that carries the timeline of a room.
    pub fn room(id: RoomId) -> Self {
        Self(format!("room:{id}").into())
    }

    /// The channel that carries what belongs to one user alone.
    pub fn user(id: UserId) -> Self {
        Self(format!("user:{id}").into())
    }

    /// The channel that carries what concerns everybody.
    pub fn everybody() -> Self {
        Self("system:all".into())
    }

    /// The room whose timeline this is, if it is one.
    pub fn room_id(&self) -> Option<RoomId> {
        self.0.strip_prefix("room:")?.parse().ok()
    }

    /// The user whose own channel this is, if it is one.
    pub fn user_id(&self) -> Option<UserId> {
        self.0.strip_prefix("user:")?.parse().ok()
    }

    /// The part before the first `:`, by which the hub finds the channel's options.
    pub fn namespace(&self) -> &str {
        self.0.split_once(':').map_or("", |(namespace, _)| namespace)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Channel {
    type Error = ChannelError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::parse(&name)
    }
}

impl From<Channel> for String {
    fn from(channel: Channel) -> Self {
        channel.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_tells_its_room_or_user() {
        assert_eq!(Channel::room(RoomId(7)).as_str(), "room:7");
        assert_eq!(Channel::room(RoomId(7)).room_id(), Some(RoomId(7)));
        assert_eq!(Channel::user(UserId(3)).user_id(), Some(UserId(3)));
        assert_eq!(Channel::user(UserId(3)).room_id(), None);
        assert_eq!(Channel::room(RoomId(7)).namespace(), "room");
    }

    #[test]
    fn names_from_outside_are_checked() {
        assert_eq!(Channel::parse(""), Err(ChannelError::Empty));
        assert_eq!(Channel::parse(&"x".repeat(256)), Err(ChannelError::TooLong(256)));
        assert_eq!(Channel::parse("room:é"), Err(ChannelError::NotAscii));
        assert_eq!(Channel::parse("a\nb"), Err(ChannelError::NotAscii));
        assert!(serde_json::from_str::<Channel>("\"\"").is_err());
    }
}

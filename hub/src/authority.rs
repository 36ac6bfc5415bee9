//! The hub's question to the truth: which channels has a user, may a user hear a channel, what was said meanwhile.
//!
//! The hub never decides membership and keeps nothing durable: it believes these answers. Every call runs on the
//! runtime that started the hub, so an implementation may keep database connections there.

use async_trait::async_trait;
use protocol::{Channel, Offset, Position};
use serde_json::value::RawValue;

/// Who may hear what, and the backlog of each room.
#[async_trait]
pub trait Authority: Send + Sync + 'static {
    /// The channels that every connection of `user` hears, with the position of those that the truth counts.
    async fn subscriptions(&self, user: &str) -> Result<Vec<Subscription>, AuthorityError>;

    /// False if nobody has such channels: then nobody is asked about them.
    fn gives_subscriptions(&self) -> bool {
        true
    }

    /// May `user` subscribe to `channel`?
    async fn access(&self, user: &str, channel: &Channel) -> Result<Access, AuthorityError>;

    /// The publications after `after`, ascending and gapless, at most `limit`, with the channel's position now.
    ///
    /// `limit` 0 asks for the position alone.
    async fn backlog(&self, channel: &Channel, after: Offset, limit: u32) -> Result<Backlog, AuthorityError>;
}

/// One channel of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The channel.
    pub channel: Channel,
    /// Where it stands, if the truth counts it.
    pub position: Option<Position>,
}

/// The answer to "may I?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Yes; with the channel's position if the truth counts it.
    Granted(Option<Position>),
    /// No. The client is told "permission denied", whether the channel exists or not.
    Denied,
}

/// A piece of a channel's past, read from the truth.
#[derive(Debug)]
pub struct Backlog {
    /// Epoch and last offset of the channel at the moment of reading.
    pub position: Position,
    /// Offset and data, ascending and gapless.
    pub publications: Vec<(Offset, Box<RawValue>)>,
}

/// Why the truth gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is no such channel; asking again cannot help.
    #[error("the channel does not exist")]
    NoSuchChannel,
    /// The truth cannot be asked at present; the hub asks again, or has the client come back.
    #[error("the authority is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AuthorityError {
    /// An error that may be gone at the next try.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }
}

/// For a hub without a backend: nobody has channels of their own, and what the configuration or a token does not allow
/// is not allowed.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

#[async_trait]
impl Authority for Alone {
    async fn subscriptions(&self, _: &str) -> Result<Vec<Subscription>, AuthorityError> {
        Ok(Vec::new())
    }

    fn gives_subscriptions(&self) -> bool {
        false
    }

    async fn access(&self, _: &str, _: &Channel) -> Result<Access, AuthorityError> {
        Ok(Access::Denied)
    }

    async fn backlog(&self, _: &Channel, _: Offset, _: u32) -> Result<Backlog, AuthorityError> {
        Err(AuthorityError::NoSuchChannel)
    }
}

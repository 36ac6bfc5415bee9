//! How a hub behaves. The defaults are Centrifugo's where it has the same option.

use std::{collections::BTreeMap, num::NonZeroUsize, thread, time::Duration};

use protocol::Channel;

use crate::HubError;

/// Everything that can be set about a hub.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// How many threads deliver. Each owns its channels; one core is left to HTTP and the rest of the program.
    pub shards: usize,
    /// The HS256 secret of connection tokens.
    pub token_secret: String,
    /// The key of the server API.
    pub api_key: String,
    /// Time between two pings to a client.
    pub ping_interval: Duration,
    /// A client that has not answered a ping after this time is closed with 3012.
    pub pong_timeout: Duration,
    /// A socket that has not connected (in the protocol's sense) after this time is closed with 3502.
    pub stale_after: Duration,
    /// An expired token may still be refreshed for this long; then 3005.
    pub expired_close_delay: Duration,
    /// After a Close frame the peer has this long to answer with its own before the socket is cut.
    pub close_wait: Duration,
    /// Bytes that may wait for a blocked socket; beyond it the client is closed with 3008.
    pub queue_limit_bytes: usize,
    /// Largest message that a client may send; beyond it the socket is closed with 1009.
    pub max_frame_bytes: usize,
    /// Channels that one connection may hear, server-side ones included.
    pub channel_limit: usize,
    /// How long an early publication waits for the ones before it; then the hole is filled from the backlog.
    pub hold: Duration,
    /// How many early publications of a channel are kept; the backlog has those beyond.
    pub held_limit: usize,
    /// Most publications that a returning client is given; one that missed more is told `recovered: false`.
    pub recovery_limit: u32,
    /// Most bytes of publications that a returning client is given per channel.
    pub recovery_bytes: usize,
    /// How long the authority may take to answer.
    pub authority_timeout: Duration,
    /// Commands that may wait for a shard; beyond it [`Hub::execute`](crate::Hub::execute) waits.
    pub shard_queue: usize,
    /// A channel that nobody hears and nothing was published to for this long is forgotten.
    pub idle_channel_ttl: Duration,
    /// How many channels that nobody hears a shard keeps at most.
    pub idle_channel_limit: usize,
    /// Options of channels by the part of their name before the first `:`.
    pub namespaces: BTreeMap<String, Namespace>,
}

/// Options of the channels of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Who gives publications their offsets.
    pub counting: Counting,
    /// How many of the last publications are kept for clients that come back. 0: none.
    pub history_size: usize,
    /// How long they are kept.
    pub history_ttl: Duration,
    /// Who may subscribe.
    pub subscribe: SubscribeRight,
}

/// Who gives the publications of a channel their offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// The truth: publications carry version and epoch, the authority has the backlog. Always recoverable.
    Truth,
    /// The hub, with an epoch of its own. Recoverable as far as its history reaches.
    Hub,
    /// Nobody: publications have no offset, and one that is missed is gone.
    Nobody,
}

/// Who may subscribe to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeRight {
    /// Whom the authority lets.
    Authority,
    /// Every connected client.
    Anyone,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            shards: thread::available_parallelism().map_or(1, NonZeroUsize::get).saturating_sub(1).max(1),
            token_secret: String::new(),
            api_key: String::new(),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(8),
            stale_after: Duration::from_secs(10),
            expired_close_delay: Duration::from_secs(25),
            close_wait: Duration::from_secs(5),
            queue_limit_bytes: 1 << 20,
            max_frame_bytes: 64 << 10,
            channel_limit: 512,
            hold: Duration::from_millis(50),
            held_limit: 1_024,
            recovery_limit: 2_000,
            recovery_bytes: 1 << 20,
            authority_timeout: Duration::from_secs(5),
            shard_queue: 16_384,
            idle_channel_ttl: Duration::from_mins(5),
            idle_channel_limit: 10_000,
            namespaces: BTreeMap::from([
                ("room".to_owned(), Namespace::counted_by_the_truth()),
                ("user".to_owned(), Namespace::fleeting()),
                ("system".to_owned(), Namespace::fleeting()),
            ]),
        }
    }
}

impl Namespace {
    /// Rooms: the database counts, membership decides.
    pub fn counted_by_the_truth() -> Self {
        Self {
            counting: Counting::Truth,
            history_size: 128,
            history_ttl: Duration::from_mins(5),
            subscribe: SubscribeRight::Authority,
        }
    }

    /// Channels whose publications are for those who listen now.
    pub fn fleeting() -> Self {
        Self {
            counting: Counting::Nobody,
            history_size: 0,
            history_ttl: Duration::ZERO,
            subscribe: SubscribeRight::Authority,
        }
    }
}

impl HubConfig {
    /// The options of a channel; `None` for one of an unknown namespace.
    pub fn namespace_of(&self, channel: &Channel) -> Option<&Namespace> {
        self.namespaces.get(channel.namespace())
    }

    /// Refuses what could never work.
    pub(crate) fn check(&self) -> Result<(), HubError> {
        let wrong = |what: &'static str| Err(HubError::Config(what));
        if self.token_secret.is_empty() {
            return wrong("the token secret is empty: anybody could sign tokens");
        }
        if self.api_key.is_empty() {
            return wrong("the API key is empty: anybody could publish");
        }
        if self.pong_timeout >= self.ping_interval {
            return wrong("the pong time-out must be shorter than the ping interval");
        }
        if self.shards == 0 || self.shard_queue == 0 {
            return wrong("a hub needs at least one shard with a queue");
        }
        if self.namespaces.values().any(|namespace| namespace.counting == Counting::Hub && namespace.history_size == 0)
        {
            return wrong("a namespace that the hub counts needs a history");
        }
        Ok(())
    }
}

//! How a hub behaves. The defaults are Centrifugo's where it has the same option.

mod file;
mod options;
mod time;

use std::{collections::BTreeMap, num::NonZeroUsize, thread, time::Duration};

use protocol::Channel;

pub(crate) use self::options::{Counting, Right};
pub use self::{file::ConfigFile, options::ChannelOptions};
use crate::HubError;

/// Everything that can be set about a hub.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// How many threads deliver. Each owns its channels; one core is left to HTTP and the rest of the program.
    pub shards: usize,
    /// The secret with which connection and subscription tokens are signed (HS256, HS384 or HS512).
    pub token_secret: String,
    /// The key of the server API.
    pub api_key: String,
    /// For development, on a loopback address: no token and no key is needed, and everything is allowed.
    pub insecure: bool,
    /// Clients may connect without a token. They have no user, and the rights that are given to such.
    pub anonymous: bool,
    /// Origins of pages that may connect, with `*` for any text; without any, those of this host alone.
    pub allowed_origins: Vec<String>,
    /// Sockets that may be open at a time; 0: any number. Beyond it a client is told to come back later.
    pub connection_limit: usize,
    /// Sockets that may be opened in a second; 0: any number.
    pub connection_rate_limit: u32,
    /// Connections of one user; 0: any number. One more is closed with 3504.
    pub user_connection_limit: usize,
    /// Time between two pings to a client.
    pub ping_interval: Duration,
    /// A client that has not answered a ping after this time is closed with 3012.
    pub pong_timeout: Duration,
    /// A socket that has not connected (in the protocol's sense) after this time is closed with 3502.
    pub stale_after: Duration,
    /// An expired token may still be refreshed for this long; then 3005.
    pub expired_close_delay: Duration,
    /// An expired subscription may still be refreshed for this long; then it ends with 2501.
    pub expired_sub_close_delay: Duration,
    /// After a Close frame the peer has this long to answer with its own before the socket is cut.
    pub close_wait: Duration,
    /// Bytes that may wait for a blocked socket; beyond it the client is closed with 3008.
    pub queue_limit_bytes: usize,
    /// Largest message that a client may send; beyond it the socket is closed with 1009.
    pub max_frame_bytes: usize,
    /// Clients that offer permessage-deflate get it.
    pub compression: bool,
    /// Bytes that a push has to have to be compressed.
    pub compression_min_size: usize,
    /// 1 is the fastest, 9 the smallest.
    pub compression_level: u8,
    /// Channels that one connection may hear, server-side ones included.
    pub channel_limit: usize,
    /// Bytes of a channel's name.
    pub channel_max_length: usize,
    /// Most publications that one question about the history is answered with.
    pub history_limit: usize,
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
    /// What this node is called in `info`.
    pub node_name: String,
    /// Time between two messages to the other nodes that this one is there; after three without, it is gone.
    pub node_heartbeat: Duration,
    /// How long the bus between the nodes, and the other nodes, may take to answer; then it is error 100.
    pub bus_timeout: Duration,
    /// Commands that may wait for a shard; beyond it [`Hub::execute`](crate::Hub::execute) waits.
    pub shard_queue: usize,
    /// A channel that nobody hears and nothing was published to for this long is forgotten.
    pub idle_channel_ttl: Duration,
    /// How many channels that nobody hears a shard keeps at most.
    pub idle_channel_limit: usize,
    /// Options of channels whose name has no `:`; `None`: there are no such channels.
    pub without_namespace: Option<ChannelOptions>,
    /// Options of channels by the part of their name before the first `:`.
    pub namespaces: BTreeMap<String, ChannelOptions>,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            shards: thread::available_parallelism().map_or(1, NonZeroUsize::get).saturating_sub(1).max(1),
            token_secret: String::new(),
            api_key: String::new(),
            insecure: false,
            anonymous: false,
            allowed_origins: Vec::new(),
            connection_limit: 0,
            connection_rate_limit: 0,
            user_connection_limit: 0,
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(8),
            stale_after: Duration::from_secs(10),
            expired_close_delay: Duration::from_secs(25),
            expired_sub_close_delay: Duration::from_secs(25),
            close_wait: Duration::from_secs(5),
            queue_limit_bytes: 1 << 20,
            max_frame_bytes: 64 << 10,
            compression: false,
            compression_min_size: 0,
            compression_level: 1,
            channel_limit: 512,
            channel_max_length: Channel::MAX_BYTES,
            history_limit: 300,
            hold: Duration::from_millis(50),
            held_limit: 1_024,
            recovery_limit: 2_000,
            recovery_bytes: 1 << 20,
            authority_timeout: Duration::from_secs(5),
            node_name: "roomcast".to_owned(),
            node_heartbeat: Duration::from_secs(2),
            bus_timeout: Duration::from_secs(5),
            shard_queue: 16_384,
            idle_channel_ttl: Duration::from_mins(5),
            idle_channel_limit: 10_000,
            without_namespace: None,
            namespaces: BTreeMap::from([
                ("room".to_owned(), ChannelOptions::counted_by_the_truth()),
                ("user".to_owned(), ChannelOptions::fleeting()),
                ("system".to_owned(), ChannelOptions::fleeting()),
            ]),
        }
    }
}

impl HubConfig {
    /// The options of a channel; `None` for one of an unknown namespace.
    pub fn options_of(&self, channel: &Channel) -> Option<&ChannelOptions> {
        match channel.namespace() {
            "" => self.without_namespace.as_ref(),
            namespace => self.namespaces.get(namespace),
        }
    }

    /// Refuses what could never work.
    pub(crate) fn check(&self) -> Result<(), HubError> {
        let wrong = |what: &str| Err(HubError::Config(what.to_owned()));
        if self.token_secret.is_empty() && !self.insecure {
            return wrong("the token secret is empty: anybody could sign tokens");
        }
        if self.api_key.is_empty() && !self.insecure {
            return wrong("the API key is empty: anybody could publish");
        }
        if self.pong_timeout >= self.ping_interval {
            return wrong("the pong time-out must be shorter than the ping interval");
        }
        if self.node_heartbeat.is_zero() || self.bus_timeout.is_zero() {
            return wrong("the time between heartbeats of a node, and the time that the bus may take, cannot be 0");
        }
        if self.shards == 0 || self.shard_queue == 0 {
            return wrong("a hub needs at least one shard with a queue");
        }
        if !(1..=9).contains(&self.compression_level) {
            return wrong("the compression level is 1 to 9");
        }
        if !(1..=Channel::MAX_BYTES).contains(&self.channel_max_length) {
            return wrong("a channel's name has 1 to 255 bytes");
        }
        if let Some(why) = self.without_namespace.as_ref().and_then(ChannelOptions::contradiction) {
            return wrong(&format!("channels without a namespace: {why}"));
        }
        for (name, options) in &self.namespaces {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if name.len() < 2 || !name.bytes().all(plain) {
                return wrong(&format!(
                    "\"{name}\" is no name for a namespace: letters, digits, - _ . and at least two"
                ));
            }
            if let Some(why) = options.contradiction() {
                return wrong(&format!("namespace \"{name}\": {why}"));
            }
        }
        Ok(())
    }
}

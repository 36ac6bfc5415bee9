//! How a hub behaves. The defaults are Centrifugo's where it has the same option.

mod centrifugo;
mod document;
mod file;
mod findings;
mod options;
mod time;
mod tokens;

use std::{collections::BTreeMap, num::NonZeroUsize, thread, time::Duration};

use protocol::Channel;

pub(crate) use self::options::{Counting, Right};
pub use self::{
    file::ConfigFile,
    findings::{Finding, Findings, Verdict},
    options::ChannelOptions,
    tokens::{Expected, TokenRules},
};
use crate::HubError;

/// Everything that can be set about a hub.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that an operator sets by its name")]
pub struct HubConfig {
    /// How many threads deliver. Each owns its channels; one core is left to HTTP and the rest of the program.
    pub shards: usize,
    /// Which connection tokens are believed, and subscription tokens where these have no rules of their own.
    pub token: TokenRules,
    /// Which subscription tokens are believed, where that is not as with connection tokens.
    pub subscription_token: Option<TokenRules>,
    /// Every user has a channel of its own, which each of its connections hears.
    pub personal_channel: Option<PersonalChannel>,
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
    /// Clients may come by HTTP-streaming.
    pub http_stream: bool,
    /// Clients may come by server-sent events.
    pub sse: bool,
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

/// The channel `#42` of the user 42, or `personal:#42`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonalChannel {
    /// The namespace, whose options hold; empty: they are those of channels without one.
    pub namespace: String,
    /// A connection of a user closes the ones before it (3504).
    pub single_connection: bool,
}

impl PersonalChannel {
    /// Its name for a user.
    pub(crate) fn of(&self, user: &str) -> String {
        match self.namespace.as_str() {
            "" => format!("#{user}"),
            namespace => format!("{namespace}:#{user}"),
        }
    }
}

/// What could never work, and where, in the words of the configuration file.
pub(crate) struct Problem {
    pub(crate) place: String,
    pub(crate) why: String,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            shards: thread::available_parallelism().map_or(1, NonZeroUsize::get).saturating_sub(1).max(1),
            token: TokenRules::default(),
            subscription_token: None,
            personal_channel: None,
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
            http_stream: true,
            sse: true,
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

/// A channel that begins with `$` is heard with a subscription token alone; `$chat:1` is of the namespace `chat`.
pub(crate) const PRIVATE: char = '$';

fn namespace_of(channel: &Channel) -> &str {
    let namespace = channel.namespace();
    namespace.strip_prefix(PRIVATE).unwrap_or(namespace)
}

impl HubConfig {
    /// The options of a channel; `None` for one of an unknown namespace.
    pub fn options_of(&self, channel: &Channel) -> Option<&ChannelOptions> {
        match namespace_of(channel) {
            "" => self.without_namespace.as_ref(),
            namespace => self.namespaces.get(namespace),
        }
    }

    /// Refuses what could never work.
    pub(crate) fn check(&self) -> Result<(), HubError> {
        let problems = self.problems();
        if problems.is_empty() {
            return Ok(());
        }
        let told: Vec<_> = problems.into_iter().map(|Problem { place, why }| format!("{place}: {why}")).collect();
        Err(HubError::Config(told.join("; ")))
    }

    /// Everything that could never work.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut wrong = |holds: bool, place: &str, why: &str| {
            if !holds {
                found.push(Problem { place: place.to_owned(), why: why.to_owned() });
            }
        };
        wrong(self.insecure || self.token.has_key(), "client.token", "there is no key: anybody could sign tokens");
        wrong(self.insecure || !self.api_key.is_empty(), "http_api.key", "there is none: anybody could publish");
        wrong(
            self.pong_timeout < self.ping_interval,
            "client.pong_timeout",
            "the pong time-out must be shorter than the ping interval",
        );
        wrong(!self.node_heartbeat.is_zero(), "the time between heartbeats of a node", "it cannot be 0");
        wrong(!self.bus_timeout.is_zero(), "the time that the bus may take", "it cannot be 0");
        wrong(self.shards > 0 && self.shard_queue > 0, "shards", "a hub needs at least one shard with a queue");
        wrong((1..=9).contains(&self.compression_level), "websocket.compression_level", "it is 1 to 9");
        wrong(
            (1..=Channel::MAX_BYTES).contains(&self.channel_max_length),
            "channel.max_length",
            "a channel's name has 1 to 255 bytes",
        );
        found.extend(self.problems_of_tokens());
        found.extend(self.problems_of_channels());
        found.extend(self.problem_of_personal_channels());
        found
    }

    fn problems_of_tokens(&self) -> Vec<Problem> {
        let own = self.subscription_token.as_ref().map(|rules| ("client.subscription_token", rules));
        let mut found = Vec::new();
        for (section, rules) in [("client.token", &self.token)].into_iter().chain(own) {
            found.extend(
                rules.contradictions().map(|(option, why)| Problem { place: format!("{section}.{option}"), why }),
            );
        }
        if let Some((section, _)) = own.filter(|(_, rules)| !rules.has_key()) {
            found.push(Problem { place: section.to_owned(), why: "it is enabled, and has no key".to_owned() });
        }
        found
    }

    fn problems_of_channels(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut wrong = |place: String, why: &str| found.push(Problem { place, why: why.to_owned() });
        if let Some(why) = self.without_namespace.as_ref().and_then(ChannelOptions::contradiction) {
            wrong("channel.without_namespace".to_owned(), why);
        }
        for (name, options) in &self.namespaces {
            let place = format!("channel.namespaces (\"{name}\")");
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if name.len() < 2 || !name.bytes().all(plain) {
                wrong(place.clone(), "a namespace's name has letters, digits, - _ . and at least two of them");
            }
            if let Some(why) = options.contradiction() {
                wrong(place, why);
            }
        }
        found
    }

    fn problem_of_personal_channels(&self) -> Option<Problem> {
        const SECTION: &str = "client.subscribe_to_user_personal_channel";
        let personal = self.personal_channel.as_ref()?;
        let options = match personal.namespace.as_str() {
            "" => self.without_namespace.as_ref(),
            namespace => self.namespaces.get(namespace),
        };
        let (option, why) = match options {
            None => ("personal_channel_namespace", "there is no such namespace"),
            Some(options) if personal.single_connection && !options.presence => {
                ("single_connection", "the namespace of the personal channels must have presence")
            }
            Some(_) => return None,
        };
        Some(Problem { place: format!("{SECTION}.{option}"), why: why.to_owned() })
    }
}

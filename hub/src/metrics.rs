//! What the hub counts, and under which names.
//!
//! A shard counts in plain integers and reports once a second: a metrics call per delivery would cost more than the
//! delivery's own bookkeeping.

use metrics::{counter, describe_counter, describe_gauge, gauge};

const CLIENTS: &str = "hub_clients";
const CHANNELS: &str = "hub_channels";
const SUBSCRIPTIONS: &str = "hub_subscriptions";
const PUBLICATIONS: &str = "hub_publications_total";
const DELIVERIES: &str = "hub_deliveries_total";
const RECOVERIES: &str = "hub_recover_total";
const BACKLOG_READS: &str = "hub_backlog_reads_total";
const CONNECTS: &str = "hub_connects_total";
const DISCONNECTS: &str = "hub_disconnects_total";

/// Says what the names mean. Called once by [`Hub::start`](crate::Hub::start).
pub(crate) fn describe() {
    describe_gauge!(CLIENTS, "Open sockets, connected or not yet");
    describe_gauge!(CHANNELS, "Channels that a shard knows");
    describe_gauge!(SUBSCRIPTIONS, "Pairs of connection and channel");
    describe_counter!(PUBLICATIONS, "Publications by outcome: delivered, repeat, early, filled, new_epoch");
    describe_counter!(DELIVERIES, "Publications times the subscribers they were sent to");
    describe_counter!(RECOVERIES, "Clients that came back, by what served them: history, backlog, none");
    describe_counter!(BACKLOG_READS, "Reads of the backlog by outcome: ok, failed");
    describe_counter!(CONNECTS, "Connect commands by outcome");
    describe_counter!(DISCONNECTS, "Sockets closed by the hub, by code");
}

/// One shard's figures since it last reported.
#[derive(Debug, Default)]
pub(crate) struct ShardCounters {
    pub(crate) delivered: u64,
    pub(crate) repeats: u64,
    pub(crate) early: u64,
    pub(crate) filled: u64,
    pub(crate) new_epochs: u64,
    pub(crate) deliveries: u64,
    pub(crate) from_history: u64,
    pub(crate) from_backlog: u64,
    pub(crate) unrecovered: u64,
    pub(crate) reads: u64,
    pub(crate) failed_reads: u64,
}

impl ShardCounters {
    /// Adds the figures to the process's metrics and starts again at zero.
    pub(crate) fn report(&mut self, shard: usize, channels: usize, subscriptions: usize) {
        let shard = shard.to_string();
        gauge!(CHANNELS, "shard" => shard.clone()).set(as_gauge(channels));
        gauge!(SUBSCRIPTIONS, "shard" => shard).set(as_gauge(subscriptions));
        counter!(PUBLICATIONS, "outcome" => "delivered").increment(self.delivered);
        counter!(PUBLICATIONS, "outcome" => "repeat").increment(self.repeats);
        counter!(PUBLICATIONS, "outcome" => "early").increment(self.early);
        counter!(PUBLICATIONS, "outcome" => "filled").increment(self.filled);
        counter!(PUBLICATIONS, "outcome" => "new_epoch").increment(self.new_epochs);
        counter!(DELIVERIES).increment(self.deliveries);
        counter!(RECOVERIES, "source" => "history").increment(self.from_history);
        counter!(RECOVERIES, "source" => "backlog").increment(self.from_backlog);
        counter!(RECOVERIES, "source" => "none").increment(self.unrecovered);
        counter!(BACKLOG_READS, "outcome" => "ok").increment(self.reads - self.failed_reads);
        counter!(BACKLOG_READS, "outcome" => "failed").increment(self.failed_reads);
        *self = Self::default();
    }
}

/// A connect command was answered.
pub(crate) fn connected(outcome: &'static str) {
    counter!(CONNECTS, "outcome" => outcome).increment(1);
}

/// The hub closed a socket.
pub(crate) fn disconnected(code: u16) {
    counter!(DISCONNECTS, "code" => code.to_string()).increment(1);
}

/// The number of open sockets has changed.
pub(crate) fn clients(now: usize) {
    gauge!(CLIENTS).set(as_gauge(now));
}

#[expect(clippy::cast_precision_loss, reason = "a count of things in memory is far below 2^52")]
pub(crate) fn as_gauge(count: usize) -> f64 {
    count as f64
}

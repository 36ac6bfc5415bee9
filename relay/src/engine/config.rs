//! What an engine can be told. All relays, backends and hubs of one installation are told the same.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::ClientConfig;

use crate::{clients, source::kafka::topics::Topic};

/// Settings of the engine. Start from [`EngineConfig::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// What the names of the topics begin with: `<prefix>.publications` and `<prefix>.nodes`.
    pub prefix: String,
    /// How many partitions a topic gets that does not exist yet.
    pub partitions: i32,
    /// How long publications are kept, where the topic is made here. A hub that cannot read for longer sends its clients
    /// to their backlog.
    pub keeps: Duration,
    /// How long Kafka may take to acknowledge a publication before it counts as not delivered. Shorter than a relay's
    /// `deliver_timeout`.
    pub patience: Duration,
    /// How long it may take for what nodes say to each other.
    pub node_patience: Duration,
    /// How often a tail looks whether it still reaches every partition.
    pub look_interval: Duration,
    /// Any other settings of librdkafka, by their names there.
    pub settings: BTreeMap<String, String>,
}

impl EngineConfig {
    /// The defaults, with these brokers.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            prefix: "roomcast".to_owned(),
            partitions: 8,
            keeps: Duration::from_hours(1),
            patience: Duration::from_secs(8),
            node_patience: Duration::from_secs(3),
            look_interval: Duration::from_secs(2),
            settings: BTreeMap::new(),
        }
    }

    /// What relays and backends publish.
    pub(super) fn publications(&self) -> Topic {
        Topic { keeps: self.keeps, ..Topic::new(format!("{}.publications", self.prefix), self.partitions) }
    }

    /// What nodes say to each other: of no use to anybody who did not hear it at once.
    pub(super) fn nodes(&self) -> Topic {
        let keeps = Duration::from_mins(10);
        Topic { keeps, ..Topic::new(format!("{}.nodes", self.prefix), self.partitions) }
    }

    /// For whoever writes: what is acknowledged is on every replica in sync, and in order.
    pub(super) fn producer(&self, patience: Duration) -> ClientConfig {
        let mut client = clients::named("roomcast-publisher", &self.brokers);
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("max.in.flight.requests.per.connection", "5")
            .set("message.timeout.ms", patience.as_millis().to_string())
            // Whatever has gathered while a request is under way goes with the next: waiting on purpose would only add.
            .set("linger.ms", "0")
            .set("retry.backoff.ms", "20")
            .set("message.max.bytes", "10000000")
            .set("queue.buffering.max.kbytes", "65536");
        clients::told(client, &self.settings)
    }

    /// For whoever reads at a place of its own. (librdkafka wants the name of a group all the same.)
    pub(super) fn consumer(&self) -> ClientConfig {
        let mut client = clients::named("roomcast-tail", &self.brokers);
        client
            .set("group.id", format!("{}-tail", self.prefix))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A place that is no longer there is ours to decide on.
            .set("auto.offset.reset", "error")
            .set("fetch.error.backoff.ms", "100")
            .set("fetch.queue.backoff.ms", "5")
            .set("queued.max.messages.kbytes", "16384");
        clients::told(client, &self.settings)
    }
}

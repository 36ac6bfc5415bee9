//! What a consumer of events can be told.

use std::time::Duration;

use crate::{KafkaConfig, retry::Backoff};

/// Settings of a consumer of events. Start from [`EventsConfig::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct EventsConfig {
    /// Where dead letters go.
    pub database_url: String,
    /// The brokers, the group and the topics.
    pub kafka: KafkaConfig,
    /// The topic of the event router's probes, where they are read here.
    pub probes: Option<String>,
    /// Records that are given to the sink together at most.
    pub batch_records: usize,
    /// Bytes of payload that are given to the sink together: the record that reaches it is the last.
    pub batch_bytes: usize,
    /// How long the sink may take for a batch before it counts as failed.
    pub apply_timeout: Duration,
    /// How long a batch in flight may take to end once a stop was asked for.
    pub stop_timeout: Duration,
    /// The first pause after a failure; each further one is twice as long, with jitter.
    pub first_backoff: Duration,
    /// The longest pause after a failure.
    pub longest_backoff: Duration,
}

impl EventsConfig {
    /// The defaults, with these brokers: the read model's group and topics.
    pub fn new(database_url: impl Into<String>, brokers: impl Into<String>) -> Self {
        let kafka = KafkaConfig {
            group: "roomcast-read-model".to_owned(),
            topics: vec!["room.events".to_owned()],
            ..KafkaConfig::new(brokers)
        };
        Self {
            database_url: database_url.into(),
            kafka,
            probes: Some("probe.events".to_owned()),
            batch_records: 1000,
            batch_bytes: 8 * 1024 * 1024,
            apply_timeout: Duration::from_secs(30).min(protocol::silence::bound()),
            stop_timeout: Duration::from_secs(5),
            first_backoff: Duration::from_millis(50),
            longest_backoff: Duration::from_secs(5),
        }
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(self.first_backoff, self.longest_backoff)
    }
}

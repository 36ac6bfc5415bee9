//! What a relay can be told.

use std::{collections::BTreeMap, time::Duration};

use protocol::{PARTITIONS, silence};

use crate::{CleanerConfig, RelayError};

/// Settings of one relay process. Start from [`RelayConfig::new`] and change what differs.
#[derive(Clone)]
pub struct RelayConfig {
    /// PostgreSQL itself, not a transaction pooler: the relay holds locks and listens, and both belong to a session.
    pub database_url: String,
    /// Carry `chat_outbox`.
    pub outbox: bool,
    /// Carry rows of `chat_cdc` from the write-ahead log.
    pub wal: Option<WalConfig>,
    /// Carry what Debezium wrote to Kafka.
    pub kafka: Option<KafkaConfig>,
    /// Prune `chat_cdc`, where there is such a table.
    pub cleaner: Option<CleanerConfig>,
    /// The outbox is vacuumed after so many deletions by this relay, at most every 5 seconds.
    pub vacuum_after: u64,
    /// How long somebody may hold a snapshot before it is a notice.
    pub snapshot_notice: Duration,
    /// How often a probe is sent along each way; one that brought none for six times as long does not work.
    pub probe_interval: Duration,
    /// A replication slot that nobody has read for so long is told as one that nobody reads.
    pub unread_after: Duration,
    /// The largest payload in bytes; a row with a larger one is a dead letter.
    pub largest_payload: usize,
    /// Loops that carry the outbox, each with a connection of its own. Partitions are shared by all loops of all relays.
    pub workers: usize,
    /// Rows claimed, delivered and acknowledged together at most.
    pub batch_size: u16,
    /// How long a row can wait that no wake-up announced.
    pub poll_interval: Duration,
    /// `ROOMCAST_PARTITIONS`, where somebody sets it: checked at start against the program and the database.
    pub partitions: Option<i16>,
    /// Listen for wake-ups from other processes. Not needed where every writer is in this one.
    pub listen: bool,
    /// How often a worker counts the living and takes or gives back partitions.
    pub rebalance_interval: Duration,
    /// How long the destination may take for a batch before it counts as unreachable.
    pub deliver_timeout: Duration,
    /// How long a batch in flight may take to end once a stop was asked for.
    pub stop_timeout: Duration,
    /// The first pause after a failure; each further one is twice as long, with jitter.
    pub first_backoff: Duration,
    /// The longest pause after a failure.
    pub longest_backoff: Duration,
}

impl RelayConfig {
    /// The defaults, on this database.
    pub fn new(database_url: impl Into<String>) -> Self {
        Self {
            database_url: database_url.into(),
            outbox: true,
            wal: None,
            kafka: None,
            cleaner: Some(CleanerConfig::default()),
            vacuum_after: 20_000,
            snapshot_notice: Duration::from_mins(5),
            probe_interval: Duration::from_secs(5),
            unread_after: Duration::from_secs(15),
            largest_payload: 1024 * 1024,
            workers: 2,
            batch_size: 1000,
            poll_interval: Duration::from_millis(300),
            partitions: None,
            listen: true,
            rebalance_interval: Duration::from_secs(1),
            deliver_timeout: Duration::from_secs(10).min(silence::bound()),
            stop_timeout: Duration::from_secs(5),
            first_backoff: Duration::from_millis(10),
            longest_backoff: Duration::from_secs(5),
        }
    }

    /// What can be known to be wrong before a connection is made. [`crate::Relay::run`] checks it, too.
    pub fn check(&self) -> Result<(), RelayError> {
        match self.partitions {
            _ if !self.outbox && self.wal.is_none() && self.kafka.is_none() => {
                Err(RelayError::Setting("a relay needs a source: outbox, wal or kafka"))
            }
            _ if self.outbox && self.workers == 0 => Err(RelayError::Setting("a relay needs at least one worker")),
            _ if self.batch_size == 0 => Err(RelayError::Setting("a batch needs at least one row")),
            _ if self.probe_interval.is_zero() => Err(RelayError::Setting("probes need an interval")),
            _ if self.queue_rows().any(|rows| rows == 0) => Err(RelayError::Setting("a queue needs at least one row")),
            _ if self.wal.as_ref().is_some_and(|wal| !is_slot_name(&wal.slot)) => {
                Err(RelayError::Setting("the name of a replication slot has 1 to 63 of a-z, 0-9 and _"))
            }
            _ if self.kafka.as_ref().is_some_and(|kafka| kafka.topics.is_empty()) => {
                Err(RelayError::Setting("the source kafka needs at least one topic"))
            }
            Some(setting) if setting != PARTITIONS => {
                Err(RelayError::PartitionSetting { setting, program: PARTITIONS })
            }
            _ => Ok(()),
        }
    }

    /// The loops of the outbox that run here.
    pub(crate) fn outbox_workers(&self) -> usize {
        if self.outbox { self.workers } else { 0 }
    }

    fn queue_rows(&self) -> impl Iterator<Item = usize> {
        let wal = self.wal.as_ref().map(|wal| wal.queue_rows);
        wal.into_iter().chain(self.kafka.as_ref().map(|kafka| kafka.queue_rows))
    }
}

/// What PostgreSQL allows: the name goes into a command that knows no parameters.
fn is_slot_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=63).contains(&name.len()) && name.bytes().all(allowed)
}

/// Settings of the source that reads the write-ahead log. The server needs `wal_level = logical`, and the user of the
/// relay's address the attribute REPLICATION.
#[derive(Clone, Debug)]
pub struct WalConfig {
    /// The replication slot; slots of one server have different names. It is made when it is not there.
    pub slot: String,
    /// The publication with the insertions of `chat_cdc`.
    pub publication: String,
    /// Carry logical messages with the prefix `roomcast.` as well. Not beside Debezium, which would carry them again.
    pub messages: bool,
    /// How often the server is told what arrived, at most. Until it knows, a crash repeats rows.
    pub status_interval: Duration,
    /// How often a relay that stands by looks whether the slot is free.
    pub standby_interval: Duration,
    /// Rows that may wait in each partition before the log waits.
    pub queue_rows: usize,
}

impl Default for WalConfig {
    fn default() -> Self {
        Self {
            slot: "roomcast_wal".to_owned(),
            publication: "roomcast_wal".to_owned(),
            messages: false,
            status_interval: Duration::from_millis(200),
            standby_interval: Duration::from_millis(250),
            queue_rows: 1024,
        }
    }
}

/// Settings of the source that reads Kafka. Start from [`KafkaConfig::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// The consumer group; relays of one group share the work.
    pub group: String,
    /// What Debezium writes to, each read by a consumer of its own.
    pub topics: Vec<String>,
    /// How many partitions a topic gets that does not exist yet, as in the connectors' files.
    pub partitions: i32,
    /// A name of this relay's own in the group, to which the topic is added: a restart within `session_timeout` moves no partition. No two relays may
    /// have the same.
    pub instance: Option<String>,
    /// After this time a relay that is silent has lost its partitions.
    pub session_timeout: Duration,
    /// How often Kafka is told what arrived. Until it knows, a crash repeats rows.
    pub commit_interval: Duration,
    /// Records that may wait in each Kafka partition before it is paused.
    pub queue_rows: usize,
    /// Any other settings of librdkafka, by their names there.
    pub settings: BTreeMap<String, String>,
}

impl KafkaConfig {
    /// The defaults, with these brokers.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            group: "roomcast-relay".to_owned(),
            topics: ["postgres.public.chat_cdc", "messages.message"].map(str::to_owned).to_vec(),
            partitions: 8,
            instance: None,
            session_timeout: Duration::from_secs(10),
            commit_interval: Duration::from_millis(200),
            queue_rows: 4096,
            settings: BTreeMap::new(),
        }
    }
}

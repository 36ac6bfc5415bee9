//! What a relay can be told.

use std::time::Duration;

use protocol::PARTITIONS;

use crate::RelayError;

/// Settings of one relay process. Start from [`RelayConfig::new`] and change what differs.
#[derive(Clone)]
pub struct RelayConfig {
    /// PostgreSQL itself, not a transaction pooler: the relay holds locks and listens, and both belong to a session.
    pub database_url: String,
    /// Loops that carry rows, each with a connection of its own. Partitions are shared by all loops of all relays.
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
            workers: 2,
            batch_size: 1000,
            poll_interval: Duration::from_millis(300),
            partitions: None,
            listen: true,
            rebalance_interval: Duration::from_secs(1),
            deliver_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(5),
            first_backoff: Duration::from_millis(10),
            longest_backoff: Duration::from_secs(5),
        }
    }

    /// What can be known to be wrong before a connection is made. [`crate::Relay::run`] checks it, too.
    pub fn check(&self) -> Result<(), RelayError> {
        match self.partitions {
            _ if self.workers == 0 => Err(RelayError::Setting("a relay needs at least one worker")),
            _ if self.batch_size == 0 => Err(RelayError::Setting("a batch needs at least one row")),
            Some(setting) if setting != PARTITIONS => {
                Err(RelayError::PartitionSetting { setting, program: PARTITIONS })
            }
            _ => Ok(()),
        }
    }
}

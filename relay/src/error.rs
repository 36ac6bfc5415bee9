//! Everything that can go wrong in the relay, for a row or for the whole. What follows from each: [`crate::retry`].

use std::time::Duration;

use pgwire_replication::PgWireError;
use protocol::CommandError;
use rdkafka::error::KafkaError;

use crate::{DestinationError, events::SinkError, source::wal::Malformed};

/// Why a row did not leave, or why the relay stopped. [`crate::Relay::run`] only returns those that stop it.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// A row that no destination could understand.
    #[error(transparent)]
    Unreadable(#[from] CommandError),
    /// Larger than anything that a row may be.
    #[error("the payload has {bytes} bytes, the limit is {limit}")]
    Oversized {
        /// Its size.
        bytes: usize,
        /// [`crate::RelayConfig::largest_payload`].
        limit: usize,
    },
    /// The destination understood and will never accept.
    #[error("rejected: {reason} (code {code})")]
    Rejected {
        /// The destination's error code.
        code: u32,
        /// The destination's words.
        reason: String,
    },
    /// The destination cannot accept this row at the moment.
    #[error("not accepted yet: {reason}")]
    Refused {
        /// The destination's words.
        reason: String,
    },
    /// Nothing is known to have arrived.
    #[error("the destination failed: {0}")]
    Unreachable(#[source] DestinationError),
    /// The destination took too long for a batch.
    #[error("the destination did not answer within {0:?}")]
    Overdue(Duration),
    /// The destination broke its promise of one verdict a command.
    #[error("the destination gave {verdicts} verdicts for {commands} commands")]
    Miscounted {
        /// What was asked.
        commands: usize,
        /// What was answered.
        verdicts: usize,
    },
    /// PostgreSQL failed, or the way to it.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// PostgreSQL took too long for one statement.
    #[error("the database did not answer within {0:?}")]
    DatabaseSilent(Duration),
    /// The locks of the session are gone although the connection is not.
    #[error("the relay needs a PostgreSQL session of its own; connect it directly, not through a transaction pooler")]
    NotOurSession,
    /// A setting that cannot work.
    #[error("{0}")]
    Setting(&'static str),
    /// `ROOMCAST_PARTITIONS` and the program differ.
    #[error(
        "ROOMCAST_PARTITIONS is {setting}, but this program has {program} partitions: \
         remove the setting or set it to {program}"
    )]
    PartitionSetting {
        /// What was set.
        setting: i16,
        /// [`protocol::PARTITIONS`].
        program: i16,
    },
    /// The database and the program differ.
    #[error(
        "the database has {database} partitions (function partition_count()), but this program has {program}: run the \
         program that fits, or drain the outbox and migrate; ROOMCAST_PARTITIONS only states the number that you expect"
    )]
    PartitionCount {
        /// `partition_count()`.
        database: i16,
        /// [`protocol::PARTITIONS`].
        program: i16,
    },
    /// The tables are not there.
    #[error(
        "the database has not all of chat_outbox, chat_cdc, dead_letters, carriers, probes, outbox_floors and partition_count(): run `roomcast migrate`"
    )]
    NotMigrated,
    /// The stream of the write-ahead log failed, or the way to it.
    #[error("the write-ahead log failed: {0}")]
    Replication(#[from] PgWireError),
    /// The stream of the write-ahead log ended, or the slot was taken from us.
    #[error("the stream of the write-ahead log ended")]
    StreamEnded,
    /// The server said nothing, although it should have, or does not let us in.
    #[error("the server of the write-ahead log has said nothing for {0:?}")]
    LogSilent(Duration),
    /// The server answers, and what was written does not come.
    #[error("no change has come from the write-ahead log for {0:?}, although a probe was written")]
    LogIdle(Duration),
    /// The write-ahead log had something that this program cannot read.
    #[error("the write-ahead log is not readable: {0}")]
    Malformed(#[from] Malformed),
    /// The name is taken by somebody else's slot.
    #[error("the replication slot {slot} belongs to {database}: slots of one server need different names")]
    ForeignSlot {
        /// Its name.
        slot: String,
        /// Whose it is.
        database: String,
    },
    /// The write-ahead log has no changes in it.
    #[error("wal_level is {0}: set it to logical and restart PostgreSQL, or switch the source wal off")]
    WalLevel(String),
    /// Nothing is published.
    #[error("the database has no publication {0}: run `roomcast migrate`")]
    NoPublication(String),
    /// Kafka's client failed; what it gets over by itself is not told here.
    #[error("Kafka failed: {0}")]
    Kafka(#[from] KafkaError),
    /// Kafka sent nothing although records were expected.
    #[error("Kafka has sent nothing for {0:?}")]
    KafkaSilent(Duration),
    /// A client of Kafka was thrown away; why is in the log.
    #[error("the client of Kafka is of no more use")]
    KafkaClientLost,
    /// Events were not applied.
    #[error("the events could not be applied: {0}")]
    Sink(#[source] SinkError),
    /// A task of the relay panicked: a defect, of the relay or of its destination.
    #[error("a task of the relay panicked: {0}")]
    Panicked(String),
}

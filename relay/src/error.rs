//! Everything that can go wrong in the relay, for a row or for the whole. What follows from each: [`crate::retry`].

use std::time::Duration;

use protocol::CommandError;

use crate::DestinationError;

/// Why a row did not leave, or why the relay stopped. [`crate::Relay::run`] only returns those that stop it.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// A row that no destination could understand.
    #[error(transparent)]
    Unreadable(#[from] CommandError),
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
    #[error("the database has no chat_outbox, dead_letters or partition_count(): run `roomcast migrate`")]
    NotMigrated,
    /// A task of the relay panicked: a defect, of the relay or of its destination.
    #[error("a task of the relay panicked: {0}")]
    Panicked(String),
}

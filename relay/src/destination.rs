//! Where commands go: the other side of the relay. `roomcast` has the implementations for hubs (in process, over HTTP),
//! [`crate::engine`] the one for Kafka.

use async_trait::async_trait;
use protocol::Command;

/// Takes commands over. Several tasks of the relay ask at once. Each source keeps the order of a partition, one batch at a
/// time; between sources there is none: where a room has rows in two of them, its versions put them in order.
#[async_trait]
pub trait Destination: Send + Sync + 'static {
    /// Takes the commands over in their order, and answers one verdict a command.
    ///
    /// An error means that nothing is known to have arrived: all of them come again. So does everything of a partition
    /// that follows its first [`Verdict::Retry`], whatever its own verdict was, because order is kept. The future may
    /// be dropped when it takes too long; then the batch comes again as well. Repeats are the destination's to drop.
    async fn deliver(&self, commands: &[Command]) -> Result<Vec<Verdict>, DestinationError>;
}

/// What became of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The destination answers for it from now on.
    Accepted,
    /// It will never pass: it becomes a dead letter.
    Rejected {
        /// The destination's error code.
        code: u32,
        /// Why, for the person who reads the dead letter.
        reason: String,
    },
    /// Not now: it comes again, and everything behind it in its partition waits.
    Retry {
        /// Why, for the log.
        reason: String,
    },
}

/// The destination cannot be reached, or its answer was lost.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DestinationError(Box<dyn std::error::Error + Send + Sync>);

impl DestinationError {
    /// Wraps the cause; a text will do.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

//! Where events go: the other side of the consumer. `roomcast` joins it to the backend's read model.

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

/// A record of a topic of events, with the headers that Debezium's event router gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The topic.
    pub topic: Arc<str>,
    /// Its partition of Kafka.
    pub partition: i32,
    /// Its place there.
    pub offset: i64,
    /// Header `id`: the same whenever the event comes again.
    pub id: String,
    /// Header `eventType`.
    pub event_type: String,
    /// The value.
    pub payload: String,
    /// When Kafka took it.
    pub appended_at: OffsetDateTime,
}

/// Applies events, many at a time, each topic's in a call of their own. Several consumers may ask the same sink at once, and repeat
/// what others have applied, in any order: recognising that is the sink's work.
#[async_trait]
pub trait EventSink: Send + Sync + 'static {
    /// Applies the events and answers one verdict an event.
    ///
    /// When this returns, they are applied for good: the consumer may forget them. An error means that none is known to be,
    /// and all of them come again. The future may be dropped; then they come again as well.
    async fn apply(&self, events: &[Event]) -> Result<Vec<EventVerdict>, SinkError>;
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventVerdict {
    /// The sink answers for it from now on; the word is for a counter.
    Done(&'static str),
    /// It can never be applied: it becomes a dead letter.
    Poison {
        /// Why, for the person who reads the dead letter.
        reason: String,
    },
}

/// The sink cannot be reached, or its answer was lost.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SinkError(Box<dyn std::error::Error + Send + Sync>);

impl SinkError {
    /// Wraps the cause; a text will do.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

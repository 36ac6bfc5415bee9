//! Events for read models: reads the topics that Debezium's event router writes, and gives their records to an
//! [`EventSink`].
//!
//! - At least once, in order per Kafka partition, many records at a time: an offset is stored when the sink has applied
//!   everything before it. A crash between the two repeats records, which the sink recognises by their ids.
//! - The next records are fetched when the last are applied. A slow sink makes the lag grow, and nothing else.
//! - A record that can never be applied goes to `dead_letters` with its topic, partition and offset, and its partition goes
//!   on. Kafka or the sink's database being away makes none.
//! - Probes of the event router have a topic of their own; they are noted, and the sink does not see them.
//! - [`replay`] reads a topic again from its beginning, beside the consumer and without its group.
//!
//! What the events mean is the sink's matter: nothing here looks into a payload.

mod batch;
mod config;
mod consumer;
pub(crate) mod metrics;
mod position;
mod probes;
mod reader;
mod record;
mod replay;
mod sink;

pub use config::EventsConfig;
pub use consumer::{EventConsumer, EventConsumerHandle};
pub use position::{Position, positions};
pub use probes::last_probe;
pub use replay::{Progress, Replayed, replay};
pub use sink::{Event, EventSink, EventVerdict, SinkError};

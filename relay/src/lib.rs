//! The carrier: takes the rows that transactions leave for it to a [`Destination`], and lets go of what arrived.
//!
//! At least once, in order per partition. A row leaves by acknowledgement or by `dead_letters`, with its reason; a
//! destination that is down makes no dead letters. A crash between publish and acknowledgement repeats rows: the hub drops
//! repeats. What the commands do is the destination's matter; who writes the rows is the backend's.
//!
//! Three sources, each switched on by its part of [`RelayConfig`], with one `dispatch` for all, which delivers a batch and
//! sorts the verdicts:
//!
//! - the table `chat_outbox`: [`Wakeup`] (or the poll) → `source::outbox` claims → dispatch → `source::outbox` deletes.
//!   `worker` holds the loop, `source::partitions` says which partitions are ours.
//! - the write-ahead log: `source::wal` reads its slot → `source::lane` (one a partition) → dispatch → the position is
//!   confirmed to the server.
//! - Kafka: `source::kafka` consumes → `source::debezium` reads the record → `source::lane` (one a Kafka partition) →
//!   dispatch → the offset is committed.
//!
//! Where many hubs are one, [`engine`] is how they are reached: the destination `kafka`, and what each of them reads.
//!
//! Beside it, and apart from any hub: [`events`], which reads what Debezium's event router writes for read models.

mod carriers;
mod cleaner;
mod clients;
mod config;
pub mod dead_letter;
mod destination;
mod dispatch;
pub mod engine;
mod error;
pub mod events;
mod growth;
mod holds;
mod housekeeping;
mod letter_box;
pub mod metrics;
mod probe;
mod relay;
mod retry;
mod slots;
mod snapshots;
mod source;
mod status;
mod vacuum;
mod wakeup;
mod worker;

pub use cleaner::CleanerConfig;
pub use config::{KafkaConfig, RelayConfig, WalConfig};
pub use destination::{Destination, DestinationError, Verdict};
pub use error::RelayError;
pub use probe::{ProbeStatus, Way};
pub use relay::{Relay, RelayHandle};
pub use slots::SlotStatus;
pub use source::{kafka::topics, wal::Malformed};
pub use status::{Notice, Phase, RelayStatus, SourceLag, SourceStatus, WakeSource};
pub use wakeup::{CHANNEL, Notifier, NotifierTask, Wakeup};

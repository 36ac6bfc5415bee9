//! The carrier: takes the rows that transactions leave in `chat_outbox` to a [`Destination`], and deletes what arrived.
//!
//! At least once, in order per partition. A row leaves by acknowledgement or by `dead_letters`, with its reason; a
//! destination that is down makes no dead letters. A crash between publish and delete repeats rows: the hub drops
//! repeats. What the commands do is the destination's matter; who writes the rows is the backend's.
//!
//! The way of a row: [`Wakeup`] (or the poll) → `source::outbox` claims → `dispatch` delivers and sorts the verdicts →
//! `source::outbox` acknowledges. `worker` holds the loop, `source::partitions` says which partitions are ours.

mod config;
pub mod dead_letter;
mod destination;
mod dispatch;
mod error;
mod holds;
mod housekeeping;
pub mod metrics;
mod relay;
mod retry;
mod source;
mod status;
mod wakeup;
mod worker;

pub use config::RelayConfig;
pub use destination::{Destination, DestinationError, Verdict};
pub use error::RelayError;
pub use relay::{Relay, RelayHandle};
pub use status::{RelayStatus, WakeSource};
pub use wakeup::{CHANNEL, Notifier, NotifierTask, Wakeup};

//! Kafka as the engine of many hubs: what a relay publishes reaches all of them through one topic, and what they say to
//! each other through another.
//!
//! - [`Publications`] is a [`crate::Destination`]: a command has arrived when Kafka has acknowledged its record. All
//!   commands of a room are in one partition, in their order. A record is `{"method", "payload"}`, as in the outbox.
//! - [`Tail`] reads all partitions of both topics for one hub. It belongs to no group and commits nothing: it begins at
//!   the end, and its position lives as long as its process. What is older the hub asks its authority for.
//! - [`NodeBus`] carries what hubs say to each other.
//!
//! A hub takes clients only once its tail is placed: whatever is committed after a client was told a room's position is
//! appended behind the place where the tail began.

mod appender;
mod bus;
mod config;
mod context;
mod look;
pub(crate) mod metrics;
mod publications;
mod reader;
mod record;
mod state;
mod tail;

pub use bus::{NodeBus, Unsaid};
pub use config::EngineConfig;
pub use publications::Publications;
pub use state::{EngineStatus, TailHandle};
pub use tail::{Listener, Tail};

//! What joins crates that do not know each other: relay → hub, hub → backend, backend → relay and, in two modes,
//! backend → hub. Each in this process or over HTTP. And, in this process, relay → read model,
//! and Kafka between hubs.

mod authority;
mod commit;
mod destination;
mod engine;
pub(crate) mod http;
mod publisher;
mod read_model;
mod roster;
mod together;

pub use authority::{Local, Remote};
pub use commit::{Notify, Wake};
pub use destination::{LocalHub, RemoteHubs};
pub use engine::{KafkaBus, Node};
pub use publisher::Direct;
pub use read_model::RoomList;
pub use together::Together;

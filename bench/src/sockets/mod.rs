//! The hub's sockets, measured by the open protocol alone, so that anything that speaks it can be measured: fan-out, many
//! rooms per connection, idle connections, connects a second, and the floor that this machine has for any of them.

pub mod churn;
pub mod fanout;
pub mod floor;
pub mod idle;
pub(crate) mod peer;
mod publisher;
pub mod rooms;
pub mod suite;
mod swarm;
pub mod target;
pub(crate) mod wire;

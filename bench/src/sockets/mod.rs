//! The hub's sockets, measured by the open protocol alone, so that anything that speaks it can be measured: fan-out, idle
//! connections, connects a second, and the floor that this machine has for any of them.

pub mod churn;
pub mod fanout;
pub mod floor;
pub mod idle;
mod publisher;
pub mod suite;
mod swarm;
pub mod target;
mod wire;

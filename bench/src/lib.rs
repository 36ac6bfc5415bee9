//! The measurements: how long from commit to client, how fast a backlog drains, how many messages a second are written.
//!
//! Everything is measured from outside, at the product's own interfaces, except the comparison of ways to write, which
//! calls the backend's `Poster` directly. Loads are bounded and meant for 127.0.0.1. What a figure leaves out is
//! printed beside it.
#![expect(clippy::cast_precision_loss, reason = "microseconds and counts here are far below 2^52")]

mod aims;
pub mod clock;
pub mod console;
pub mod cpu;
pub mod delivery;
pub mod drain;
pub mod horizon;
pub mod latency;
pub mod latency_writer;
pub mod machine;
pub mod measurement;
pub mod modes;
pub mod percentiles;
pub mod person;
pub mod postgres;
pub mod product;
pub mod recover;
pub mod sockets;
pub mod stage;
pub mod subscriber;
pub mod suite;
pub mod table;
mod token;
pub mod writes;

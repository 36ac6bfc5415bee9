//! The whole product under test: its processes as a user starts them, people who use its HTTP API, and clients that
//! speak to its WebSocket. Knows no crate of the product but the shared words.

mod app;
mod client;
mod gate;
mod journal;
mod load;
mod own_server;
mod person;
mod probe;
mod process;
mod proxy;
mod wire;

pub use app::{App, Part, Plan, Shape};
pub use client::TestClient;
pub use gate::{Gate, Passage};
pub use journal::{Author, Journal, Line};
pub use load::Load;
pub use own_server::OwnServer;
pub use person::Person;
pub use probe::{eventually, metric, readiness};
pub use process::{Process, free_port, run};
pub use proxy::Proxy;
pub use wire::{Dead, Wire};

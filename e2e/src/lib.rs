//! The whole product under test: its processes as a user starts them, people who use its HTTP API, and clients that
//! speak to its WebSocket. Knows no crate of the product but the shared words.

mod app;
mod client;
mod journal;
mod person;
mod process;

pub use app::{App, Part, Shape};
pub use client::TestClient;
pub use journal::{Journal, Line};
pub use person::Person;
pub use process::{Process, free_port};

//! Roomcast's executable as a library: the roles, and the adapters that join the crates below it.
//!
//! A role is a list of things to start. `demo` starts all of them in one process; the others start one each, and
//! both shapes run the same code.

pub mod adapters;
pub mod config;
pub mod console;
pub mod health;
pub mod lifecycle;
pub mod roles;
pub mod server;
pub mod supervisor;
pub mod telemetry;

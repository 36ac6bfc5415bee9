//! The sockets: delivers publications to browsers over the Centrifuge client protocol.
//!
//! A hub knows no database and no Kafka. It is told what to deliver ([`Hub::execute`], or its server API) and asks an
//! [`Authority`] who may hear what. Several hubs are one over a [`Bus`]. Per channel it delivers each publication exactly once, in order, without a hole.

mod admission;
mod api;
mod authority;
mod codes;
mod config;
mod connection;
mod context;
mod decoder;
mod deflate;
mod dispatch;
mod emulation;
mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod heartbeat;
mod history;
mod hub;
mod jwks;
mod metrics;
mod nodes;
mod questions;
mod reader;
mod registry;
mod request;
mod sequencer;
mod session;
mod shard;
mod standing;
mod stream;
mod terms;
mod token;
mod upgrade;
mod wire;

pub use authority::{Access, Alone, Authority, AuthorityError, Backlog, Subscription};
pub use config::{
    ChannelOptions, ConfigFile, Expected, Finding, Findings, HubConfig, PersonalChannel, TokenRules, Verdict,
};
pub use hub::{Accepted, Hub, HubError, Rejection};
pub use nodes::{Bus, BusError};

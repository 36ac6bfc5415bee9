//! The truth: who exists, who is where, what was said, and the rows that announce it.
//!
//! Read it in the order a message travels: `routes` take the request, [`Poster`] writes it together with the row that
//! announces it, [`store`] has the SQL. [`authority`] answers the hub's questions: who may subscribe, what was missed.
//! [`mode`] says by which way news travel; one of the ways is a [`Publisher`] here. Carrying rows to the hub is the
//! relay's work; drawing pages is the web's. [`read_model`] makes a room list of what came back through the log.

mod again;
mod auth;
pub mod authority;
mod database;
mod direct;
mod error;
mod extract;
pub mod metrics;
pub mod mode;
mod outage;
mod poster;
pub mod read_model;
mod routes;
pub mod seed;
mod state;
pub mod store;
mod turns;

pub use auth::{CurrentUser, Seat};
pub use database::{
    ConnectError, MIGRATOR, MigrationError, NotReady, SchemaError, check_schema, connect, connect_for_commands,
    migrate, ready,
};
pub use direct::{DirectCounts, PublishError, Publisher};
pub use error::{ApiError, FieldError, Problem};
pub use outage::note as note_outages;
pub use poster::{MessageText, NewPost, Outcome, PostError, Posted, Poster, PosterLimits, TextError};
pub use routes::{Message, User, in_time, openapi, router};
pub use state::{ApiState, BackendConfig, CommitHook};

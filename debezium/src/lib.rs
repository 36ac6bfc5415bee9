//! Debezium as a part of the product: connectors that are right, a client that applies them, and a stack to run them on.
//!
//! ```no_run
//! # async fn demo() -> Result<(), debezium::Error> {
//! use debezium::{Bundle, Connector, Database, Kind, Options, Profile, Stack};
//! use embedded_postgres::{Directories, Progress};
//!
//! let directories = Directories::of_this_user()?;
//! let bundle = Bundle::find_or_fetch(&directories.cache, &Progress::silent()).await?;
//! let stack = Stack::start(&bundle, &Options::durable(directories.data.join("cdc"))).await?;
//! let database: Database = "postgres://me:secret@127.0.0.1:5432/roomcast".parse()?;
//! let connector = Connector::render(Kind::Rows, Profile::Tuned, &database)?;
//! stack.connect().apply(&connector).await?;
//! println!("records arrive at {}", stack.bootstrap_servers());
//! stack.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! It promises: an unknown key never reaches Connect unnoticed, `apply` returns when records flow, no JVM outlives its
//! program. Reading the topics is left to others; every key is explained in the README beside.

mod connect;
mod connector;
mod error;
pub mod lint;
pub mod metrics;
mod slot;
mod stack;
mod supervisor;

pub use connect::{Applied, Connect, State, Status, Task};
pub use connector::{Connector, Database, Kind, Profile};
pub use error::Error;
pub use slot::Slot;
pub use stack::{Addresses, Bundle, DEBEZIUM_VERSION, KAFKA_VERSION, OLDEST_JAVA, Options, Part, Stack};
pub use supervisor::{Report, Supervisor, SupervisorHandle, Watched};

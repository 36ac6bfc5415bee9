//! A real, private PostgreSQL for programs and tests that should need nothing installed.
//!
//! ```no_run
//! # async fn demo() -> Result<(), embedded_postgres::Error> {
//! use embedded_postgres::{Directories, Options, Progress, Search, Server};
//!
//! let directories = Directories::of_this_user()?;
//! let progress = Progress::new(|step| eprintln!("{step}"));
//! let binaries = Search::new(&directories).find_or_fetch(&progress).await?;
//! let server = Server::start(&binaries, &Options { progress, ..Options::durable(&directories.data) })?;
//! println!("{}", server.url("postgres"));
//! server.stop();
//! # Ok(())
//! # }
//! ```
//!
//! It promises: the data survives restarts and crashes, no server outlives its program, nothing a crash leaves behind
//! prevents the next start, and it works as root and as an ordinary user. It knows nothing of rooms or schemas.

mod account;
mod binaries;
mod caretaker;
mod data_directory;
mod directories;
mod download;
mod error;
pub mod logs;
mod pid_file;
mod progress;
mod running;
mod server;
pub mod testkit;

pub use account::Account;
pub use binaries::{BINARIES_VARIABLE, Binaries, OLDEST_MAJOR, Origin, Search};
pub use directories::Directories;
pub use error::Error;
pub use progress::{Progress, Step};
pub use running::url_of_running;
pub use server::{Options, Server};

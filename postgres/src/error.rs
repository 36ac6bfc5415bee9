//! What can go wrong, in words that name the way out.

use std::{io, path::PathBuf};

/// Why there is no private PostgreSQL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// None of the ways to a PostgreSQL worked.
    #[error(
        "no PostgreSQL to run. Any one of these helps:\n  \
         - DATABASE_URL=postgres://… to use a server that runs already\n  \
         - --postgres-bin DIR (or ROOMCAST_POSTGRES_BIN) naming the directory with `initdb` and `postgres` {oldest} or newer\n  \
         - apt-get install postgresql (macOS: brew install postgresql), {oldest} or newer\n  \
         - network access, so that PostgreSQL can be downloaded once into {cache}\n  \
         - a copy of that cache directory from a machine where it worked\n\
         The download said: {download}"
    )]
    NoBinaries {
        /// Oldest major version that is accepted.
        oldest: u32,
        /// Where a downloaded copy would be.
        cache: PathBuf,
        /// What the download failed with.
        download: String,
    },
    /// The directory the caller named has no usable server.
    #[error("{directory} has no runnable `initdb` and `postgres` of version {oldest} or newer")]
    UnusableBinaries {
        /// The directory as given.
        directory: PathBuf,
        /// Oldest major version that is accepted.
        oldest: u32,
    },
    /// Root must hand the server to someone else and there is nobody.
    #[error(
        "PostgreSQL refuses to run as root, and there is neither a `postgres` nor a `nobody` user to run it as: \
         create one (useradd --system postgres) or start the program as an ordinary user"
    )]
    NoAccount,
    /// No place for the data.
    #[error("no directory for the data: set HOME or XDG_DATA_HOME and XDG_CACHE_HOME, or use --data-dir")]
    NoHome,
    /// Somebody else could change what root is about to run.
    #[error("{0} belongs to another user or can be written by others; remove it, or use --data-dir")]
    Untrusted(PathBuf),
    /// Root runs the server as another user, who can not get to the data.
    #[error(
        "PostgreSQL does not run as root, and the user it runs as can not get to {data_dir}: {closed} is closed to others; \
         use a --data-dir elsewhere"
    )]
    Unreachable {
        /// The directory.
        data_dir: PathBuf,
        /// The directory on the way to it that is closed.
        closed: PathBuf,
    },
    /// A second program on the same data.
    #[error("another Roomcast uses this data directory ({data_dir}, pid {pid}); use --data-dir or stop it")]
    InUse {
        /// The directory.
        data_dir: PathBuf,
        /// The other program, as far as it said so.
        pid: String,
    },
    /// Nothing to connect to.
    #[error("no PostgreSQL runs on the data directory {data_dir}")]
    NotRunning {
        /// The directory.
        data_dir: PathBuf,
    },
    /// The data directory is there and its password is not.
    #[error(
        "{0} is missing but the database files are there; restore it, or start over with --fresh, which removes the data"
    )]
    PasswordMissing(PathBuf),
    /// `initdb` failed.
    #[error("initdb could not create the database files: {0}")]
    Initdb(String),
    /// The server ended or did not get ready.
    #[error("PostgreSQL did not start ({reason}). Its log, {log}, ends:\n{tail}")]
    Start {
        /// Exit status or time-out.
        reason: String,
        /// Where to read on.
        log: PathBuf,
        /// The last lines.
        tail: String,
    },
    /// A file operation.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, on what.
        what: String,
        /// The cause.
        source: io::Error,
    },
}

/// Adds what was tried to an [`io::Error`].
pub(crate) trait While<T> {
    fn when(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> While<T> for io::Result<T> {
    fn when(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what: what(), source })
    }
}

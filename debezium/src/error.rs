//! What can go wrong, in words that name the way out.

use std::{io, path::PathBuf};

use crate::{lint::Finding, stack::Part};

/// Why there is no Debezium.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No Java, or one that is too old.
    #[error(
        "Kafka and Debezium need Java {oldest} or newer, and {found}. Any one of these helps:\n  \
         - apt-get install openjdk-17-jre-headless (macOS: brew install openjdk)\n  \
         - JAVA_HOME naming a newer one"
    )]
    NoJava {
        /// Oldest major version that is accepted.
        oldest: u32,
        /// What is there instead.
        found: String,
    },
    /// The jars are not here yet, and there is no Maven to fetch them with.
    #[error(
        "Kafka and Debezium are fetched with Maven, once, and there is no `mvn`. Any one of these helps:\n  \
         - apt-get install maven (macOS: brew install maven)\n  \
         - a copy of {cache} from a machine where it worked"
    )]
    NoMaven {
        /// Where the jars would be.
        cache: PathBuf,
    },
    /// Maven did not deliver.
    #[error("Maven could not fetch Kafka and Debezium; it needs the network only once. It said:\n{0}")]
    Fetch(String),
    /// A second program on the same data.
    #[error("another Roomcast runs Kafka on {data_dir} (pid {pid}); stop it or use another data directory")]
    InUse {
        /// The directory.
        data_dir: PathBuf,
        /// The other program, as far as it said so.
        pid: String,
    },
    /// A process ended or did not get ready.
    #[error("{part} did not start ({reason}). Its log, {log}, ends:\n{tail}")]
    Start {
        /// Which.
        part: Part,
        /// Exit status or time-out.
        reason: String,
        /// Where to read on.
        log: PathBuf,
        /// The last lines.
        tail: String,
    },
    /// Nothing below 32768 is free, or something else about sockets.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, on what.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// Directories and accounts are those of the embedded PostgreSQL.
    #[error(transparent)]
    Place(#[from] embedded_postgres::Error),
    /// Not an address of a PostgreSQL database.
    #[error("`{0}` is not an address like postgres://user:password@host:5432/database")]
    Address(String),
    /// The file is not a connector.
    #[error("{file} is not a connector: {reason}")]
    Template {
        /// Which file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connector, profile or kind of that name.
    #[error("there is no {what} `{name}`; there are: {known}")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// Its supposed name.
        name: String,
        /// What there is.
        known: String,
    },
    /// The connector has keys that would do nothing.
    #[error("the connector {name} has settings that nobody would heed:\n{}", list(.findings))]
    Lint {
        /// The connector.
        name: String,
        /// What is wrong.
        findings: Vec<Finding>,
    },
    /// Nobody answers, or not like Connect.
    #[error("Kafka Connect does not answer at {url}")]
    Unreachable {
        /// The address.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// Connect examined the connector and found fault.
    #[error("Kafka Connect refuses the connector {name}:\n{reasons}")]
    Refused {
        /// The connector.
        name: String,
        /// As Connect puts it.
        reasons: String,
    },
    /// The connector or its task fails again and again.
    #[error("the connector {name} fails: {reason}")]
    Failed {
        /// The connector.
        name: String,
        /// The innermost cause, and what to do where that is known.
        reason: String,
    },
    /// Neither running nor failed.
    #[error("the connector {name} is not running after {seconds} s: {state}")]
    TooSlow {
        /// The connector.
        name: String,
        /// How long that was.
        seconds: u64,
        /// What it is instead.
        state: String,
    },
    /// No such connector on this Connect.
    #[error("Kafka Connect has no connector {0}")]
    Missing(String),
    /// An answer that should not be.
    #[error("Kafka Connect answered {status} to {request}: {text}")]
    Unexpected {
        /// HTTP status.
        status: u16,
        /// Method and path.
        request: String,
        /// The answer.
        text: String,
    },
    /// The connector is gone but its slot is not, so WAL piles up.
    #[error("could not drop the replication slot {slot}, which keeps WAL for nobody now")]
    Slot {
        /// The slot.
        slot: String,
        /// The cause.
        source: sqlx::Error,
    },
}

fn list(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(|finding| format!("  - {finding}")).collect();
    lines.join("\n")
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

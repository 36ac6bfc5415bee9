//! What a person waits for: the steps that can take longer than a moment, told to whoever wants to show them.

use std::{fmt, path::PathBuf, sync::Arc};

/// A step that begins. `Display` is a phrase a person understands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The binaries are fetched; the registry client tells no byte counts, so show the time that passes.
    Downloading {
        /// Version that is fetched.
        version: &'static str,
        /// About how much that is.
        megabytes: u32,
    },
    /// The download did not work; an installed server is used instead.
    DownloadFailed {
        /// Why.
        reason: String,
    },
    /// The archive arrived and was verified.
    Unpacking,
    /// `initdb` makes a new data directory.
    Initialising {
        /// Where.
        data_dir: PathBuf,
    },
    /// A server whose program died still runs and is stopped first.
    StoppingLeftover {
        /// Its process id.
        pid: i32,
    },
    /// The server process starts; after a crash this includes its recovery.
    Starting {
        /// Major version.
        major: u32,
    },
    /// Something that works beside PostgreSQL has a step of its own to tell.
    Beside(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Downloading { version, megabytes } => {
                write!(f, "downloading PostgreSQL {version} ({megabytes} MB, only once)")
            }
            Step::DownloadFailed { reason } => {
                write!(f, "no download of PostgreSQL ({reason}); using the installed one")
            }
            Step::Unpacking => write!(f, "unpacking PostgreSQL"),
            Step::Initialising { data_dir } => write!(f, "creating the database files in {}", data_dir.display()),
            Step::StoppingLeftover { pid } => {
                write!(f, "stopping the PostgreSQL (pid {pid}) that a crashed program left running")
            }
            Step::Starting { major } => write!(f, "starting PostgreSQL {major}"),
            Step::Beside(what) => f.write_str(what),
        }
    }
}

/// Where steps are told. Silent by default.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(Step) + Send + Sync>);

impl Progress {
    /// Calls `show` at the beginning of every step, from whichever thread does the work.
    pub fn new(show: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Arc::new(show))
    }

    /// Tells nobody.
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    /// Tells that `step` begins.
    pub fn tell(&self, step: Step) {
        tracing::debug!(%step, "a step that may take a while");
        (self.0)(step);
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::silent()
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

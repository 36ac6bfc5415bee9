//! One JVM: launched, awaited, ended.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::Part;
use crate::error::{Error, While};

/// A first start on a busy machine loads thousands of classes out of jars.
const START_LIMIT: Duration = Duration::from_mins(2);
/// A worker that is told to stop in the last moment of its start sometimes never does.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// The orderly end of the first run also writes the archive of classes.
const WRITE_LIMIT: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(10);

/// How to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// So that the next start has nothing to repair.
    InOrder,
    /// As a crash would.
    AtOnce,
    /// At once, unless it has an archive of classes to write first.
    WithoutCare,
}

/// A place for one process at a time.
#[derive(Debug)]
pub(super) struct Process {
    part: Part,
    /// Signals are sent only while this lock is held and the child is not reaped, so never to a reused pid.
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// The archive of classes that it writes when it ends in order, beside its final name.
    writes: Option<PathBuf>,
}

/// What all command lines of a stack in this directory contain, and no others.
pub(super) fn marker(directory: &Path) -> String {
    format!("-Droomcast.stack={}", directory.display())
}

/// The JVM's options to use the archive of classes at this place, or to write it.
pub(super) fn archive_options(archive: &Path) -> String {
    if archive.is_file() {
        format!("-XX:SharedArchiveFile={}", archive.display())
    } else {
        format!("-XX:ArchiveClassesAtExit={}", unfinished(archive).display())
    }
}

/// Several programs may write at once.
fn unfinished(archive: &Path) -> PathBuf {
    archive.with_extension(format!("{}.unfinished", std::process::id()))
}

impl Process {
    pub(super) fn new(part: Part) -> Self {
        Self { part, running: Mutex::new(None) }
    }

    pub(super) fn launch(&self, mut command: Command, archive: PathBuf) -> Result<u32, Error> {
        let writes = (!archive.is_file()).then_some(archive);
        let child = command.spawn().when(|| format!("run {}", command.get_program().to_string_lossy()))?;
        let pid = child.id();
        *self.lock() = Some(Running { child, writes });
        Ok(pid)
    }

    pub(super) fn runs(&self) -> bool {
        self.lock().as_mut().is_some_and(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.lock().as_ref().map(|running| running.child.id())
    }

    /// How it ended, if nobody asked it to.
    pub(super) fn unexpected_end(&self) -> io::Result<Option<ExitStatus>> {
        self.lock().as_mut().map_or(Ok(None), |running| running.child.try_wait())
    }

    /// Asks until it is ready. The reason, if it will not be.
    pub(super) async fn until(&self, ready: impl AsyncFn() -> bool) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.unexpected_end().map_err(|error| error.to_string())? {
                return Err(status.to_string());
            }
            if ready().await {
                tracing::debug!(part = %self.part, elapsed = ?begin.elapsed(), "{} is ready", self.part);
                return Ok(());
            }
            if begin.elapsed() > START_LIMIT {
                return Err(format!("not ready within {} s", START_LIMIT.as_secs()));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends it and waits for the end. Nothing happens if it does not run.
    pub(super) fn end(&self, end: End) {
        let Some(mut running) = self.lock().take() else { return };
        let gently = match end {
            End::InOrder => true,
            End::AtOnce => false,
            End::WithoutCare => running.writes.is_some(),
        };
        let patience = if running.writes.is_some() { WRITE_LIMIT } else { STOP_LIMIT };
        let in_order = gently && running.child.try_wait().is_ok_and(|ended| ended.is_none()) && {
            terminate(&running.child);
            wait_at_most(&mut running.child, patience)
        };
        if !in_order {
            if gently {
                tracing::warn!("{} did not stop within {} s", self.part, patience.as_secs());
            }
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        if let Some(archive) = running.writes {
            let unfinished = unfinished(&archive);
            let _ = if in_order { fs::rename(unfinished, archive) } else { fs::remove_file(unfinished) };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn terminate(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    if let Err(error) = kill(pid, Signal::SIGTERM) {
        tracing::warn!(%error, "could not signal a JVM");
    }
}

fn wait_at_most(child: &mut Child, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < deadline => sleep(POLL),
            Ok(None) => return false,
            Ok(Some(_)) | Err(_) => return true,
        }
    }
}

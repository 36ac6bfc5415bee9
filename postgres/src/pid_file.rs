//! `postmaster.pid`, which a running server keeps in its data directory and a crash leaves there.
//!
//! The caller holds the lock of the directory, so whatever the file names was left by a program that died.

use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    Progress, Step,
    error::{Error, While},
};

const POLL: Duration = Duration::from_millis(5);

/// What the file says.
pub(crate) struct PidFile {
    path: PathBuf,
    text: String,
}

impl PidFile {
    pub(crate) fn read(pgdata: &Path) -> Option<Self> {
        let path = pgdata.join("postmaster.pid");
        fs::read_to_string(&path).ok().map(|text| Self { path, text })
    }

    pub(crate) fn pid(&self) -> Option<i32> {
        self.text.lines().next()?.trim().parse().ok()
    }

    /// The fourth line.
    pub(crate) fn port(&self) -> Option<u16> {
        self.text.lines().nth(3)?.trim().parse().ok()
    }

    /// The eighth line is the server's state; `pg_ctl` waits for the same word.
    pub(crate) fn is_ready(&self) -> bool {
        self.text.lines().nth(7).is_some_and(|state| state.trim() == "ready")
    }

    /// Puts this program's pid into the file.
    ///
    /// postgres takes any living process of its user, even a zombie or a stranger with a reused pid, for a server that
    /// runs, but never its own parent. Removing the file instead would also remove its check that no process of the
    /// old server still has the shared memory.
    fn disarm(&self) -> Result<(), Error> {
        let rest = self.text.split_once('\n').map_or("", |(_, rest)| rest);
        fs::write(&self.path, format!("{}\n{rest}", std::process::id()))
            .when(|| format!("write {}", self.path.display()))
    }
}

/// Stops a server left over by a crashed program and makes a stale file harmless.
pub(crate) fn clear_the_way(pgdata: &Path, progress: &Progress) -> Result<(), Error> {
    let Some(file) = PidFile::read(pgdata) else { return Ok(()) };
    let Some(pid) = file.pid() else { return Ok(()) };
    match serves(pid, pgdata) {
        Some(true) => {
            progress.tell(Step::StoppingLeftover { pid });
            stop_leftover(pid, pgdata);
            Ok(())
        }
        Some(false) => file.disarm(),
        None => Ok(()),
    }
}

/// Whether process `pid` is the server of `pgdata`: servers work in their data directory, zombies nowhere.
/// `None` where the system does not tell; postgres then judges by itself.
pub(crate) fn serves(pid: i32, pgdata: &Path) -> Option<bool> {
    let directory = fs::canonicalize(pgdata).ok()?;
    fs::symlink_metadata("/proc/self").ok()?;
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(place) => Some(place == directory),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => None,
        Err(_) => Some(false),
    }
}

/// If it does not end, starting a new one will say so better than this could.
fn stop_leftover(pid: i32, pgdata: &Path) {
    for (signal, patience) in [(Signal::SIGINT, 15), (Signal::SIGQUIT, 10)] {
        let _ = kill(Pid::from_raw(pid), signal);
        let deadline = Instant::now() + Duration::from_secs(patience);
        while Instant::now() < deadline {
            if serves(pid, pgdata) != Some(true) {
                return;
            }
            sleep(POLL);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_with_the_servers_pid_is_neither_stopped_nor_believed() {
        let pgdata = tempfile::tempdir().unwrap();
        let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let path = pgdata.path().join("postmaster.pid");
        fs::write(&path, format!("{}\n{}\n1700000000\n", stranger.id(), pgdata.path().display())).unwrap();

        clear_the_way(pgdata.path(), &Progress::silent()).unwrap();

        assert!(stranger.try_wait().unwrap().is_none(), "the stranger was stopped");
        let file = PidFile::read(pgdata.path()).unwrap();
        assert_eq!(file.pid(), i32::try_from(std::process::id()).ok());
        assert!(file.text.ends_with("1700000000\n"), "the rest of the file was lost");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}

//! A data directory for a demo with a PostgreSQL of its own, which can be killed, and kept from coming back.

use std::{
    fs,
    os::{unix, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;
use embedded_postgres::testkit;
use tempfile::TempDir;

/// The directory goes when this is dropped; a demo on it should have been stopped before.
pub struct OwnServer {
    place: TempDir,
}

impl OwnServer {
    /// An empty data directory, where the user that PostgreSQL runs as can reach it.
    pub fn new() -> anyhow::Result<Self> {
        let world = fs::Permissions::from_mode(0o755);
        let place =
            tempfile::Builder::new().prefix("roomcast-demo-").permissions(world.clone()).tempdir_in("/var/tmp")?;
        let real = testkit::binaries()?.directory;
        let own = Self { place };
        fs::create_dir(own.postgres_bin())?;
        unix::fs::symlink(real.join("initdb"), own.postgres_bin().join("initdb"))?;
        let wrapper = own.postgres_bin().join("postgres");
        fs::write(&wrapper, own.wrapper(&real))?;
        fs::set_permissions(&wrapper, world)?;
        Ok(own)
    }

    /// A start waits while there is a file `hold`, and fails while there is a file `fail`.
    fn wrapper(&self, real: &Path) -> String {
        let place = self.place.path().display();
        format!(
            "#!/bin/sh\nwhile [ -e {place}/hold ]; do sleep 0.05; done\n[ ! -e {place}/fail ] || exit 1\nexec {}/postgres \"$@\"\n",
            real.display()
        )
    }

    /// For `--data-dir`.
    pub fn data_dir(&self) -> PathBuf {
        self.place.path().join("data")
    }

    /// For `--postgres-bin`.
    pub fn postgres_bin(&self) -> PathBuf {
        self.place.path().join("bin")
    }

    /// Where its database is, while it runs.
    pub fn url(&self) -> anyhow::Result<String> {
        Ok(embedded_postgres::url_of_running(&self.data_dir(), "roomcast")?)
    }

    /// kill -9.
    pub fn kill(&self) -> anyhow::Result<()> {
        let data = fs::read_dir(self.data_dir())?.flatten().map(|entry| entry.path().join("postmaster.pid"));
        let pid_file = data.into_iter().find(|path| path.is_file()).context("no server runs")?;
        let pid = fs::read_to_string(pid_file)?.lines().next().unwrap_or_default().to_owned();
        let killed = std::process::Command::new("kill").args(["-9", &pid]).status()?;
        anyhow::ensure!(killed.success(), "kill -9 {pid} failed");
        Ok(())
    }

    /// From now on a start waits.
    pub fn hold_starts(&self) -> anyhow::Result<()> {
        Ok(fs::write(self.place.path().join("hold"), "")?)
    }

    /// From now on a start goes on.
    pub fn let_start(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.place.path().join("hold"))?)
    }

    /// From now on a start fails.
    pub fn fail_starts(&self) -> anyhow::Result<()> {
        Ok(fs::write(self.place.path().join("fail"), "")?)
    }
}

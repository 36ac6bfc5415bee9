//! What the demo has on this machine's disk: measured now and then, and the logs of its child processes kept short.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use embedded_postgres::{Directories, logs};
use tokio::time::{MissedTickBehavior, interval};

/// Size of what is on the disk: `postgres`, `kafka` (with Connect's memory, which is there), `logs`, `cache`.
const DISK_BYTES: &str = "roomcast_disk_bytes";

const INTERVAL: Duration = Duration::from_secs(30);

/// Where it is.
#[derive(Clone)]
pub(super) struct Disk {
    logs: Vec<PathBuf>,
    places: [(&'static str, PathBuf); 3],
}

impl Disk {
    /// Of the demo with this data directory, whose child processes write these logs.
    pub(super) fn of(data_dir: &Path, logs: Vec<PathBuf>) -> anyhow::Result<Self> {
        metrics::describe_gauge!(DISK_BYTES, metrics::Unit::Bytes, "Size of what the demo has on the disk");
        let cache = Directories::of_this_user()?.cache;
        let pgdata = |path: &PathBuf| path.join("PG_VERSION").is_file();
        let postgres = fs::read_dir(data_dir)?.flatten().map(|entry| entry.path()).find(pgdata);
        let postgres = postgres.unwrap_or_else(|| data_dir.to_owned());
        Ok(Self { logs, places: [("postgres", postgres), ("kafka", data_dir.join("cdc")), ("cache", cache)] })
    }

    /// For as long as it is polled.
    pub(super) async fn watch(self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let disk = self.clone();
            let _ = tokio::task::spawn_blocking(move || disk.look()).await;
        }
    }

    fn look(&self) {
        let of_logs = self.logs.iter().map(|log| {
            logs::keep_short(log).unwrap_or_else(|error| {
                tracing::warn!(%error, "{} cannot be kept short: {error}", log.display());
                0
            })
        });
        measure("logs", of_logs.sum());
        for (what, place) in &self.places {
            measure(what, size(place));
        }
    }
}

fn measure(what: &'static str, bytes: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; bytes of a disk stay below 2^52")]
    metrics::gauge!(DISK_BYTES, "what" => what).set(bytes as f64);
}

/// Of a file, or of all that is in a directory. What goes meanwhile has no size.
fn size(place: &Path) -> u64 {
    match fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() => {
            fs::read_dir(place).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
        }
        Ok(found) => found.len(),
        Err(_) => 0,
    }
}

//! Logs of child processes, which write to them for as long as they live: begun anew at each start, and kept short.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use crate::error::{Error, While};

/// More than a person reads, and enough to find why something began.
const LARGEST: u64 = 32 * 1024 * 1024;

/// A new log. The one before is kept beside it, as it may say why that run ended.
pub fn begin(log: &Path) -> Result<File, Error> {
    let _ = fs::rename(log, previous(log));
    // At its end, wherever that is by then: see `keep_short`.
    let create = OpenOptions::new().create(true).append(true).open(log);
    create.when(|| format!("create {}", log.display()))
}

/// Puts a log that has become large beside itself and goes on with an empty one. Whoever writes to it need not know; lines
/// of this very moment may be lost. Gives the bytes of both.
pub fn keep_short(log: &Path) -> io::Result<u64> {
    keep_below(LARGEST, log)
}

fn keep_below(largest: u64, log: &Path) -> io::Result<u64> {
    let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    if size(log) > largest {
        // On a disk that is full, an old log is the first that may go.
        if fs::copy(log, previous(log)).is_err() {
            let _ = fs::remove_file(previous(log));
        }
        OpenOptions::new().write(true).truncate(true).open(log)?;
    }
    Ok(size(log) + size(&previous(log)))
}

fn previous(log: &Path) -> PathBuf {
    log.with_extension("previous.log")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_that_has_become_large_goes_on_from_its_beginning_under_the_writers_feet() {
        let place = tempfile::tempdir().unwrap();
        let log = place.path().join("postgres.log");
        let mut writer = begin(&log).unwrap();
        writer.write_all(b"long ago\n").unwrap();
        assert_eq!(keep_below(9, &log).unwrap(), 9);
        writer.write_all(b"before\n").unwrap();
        assert_eq!(keep_below(9, &log).unwrap(), 16, "the log before, and an empty one");
        writer.write_all(b"after\n").unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "after\n");
        assert_eq!(fs::read_to_string(previous(&log)).unwrap(), "long ago\nbefore\n");
        begin(&log).unwrap();
        assert_eq!(fs::read_to_string(previous(&log)).unwrap(), "after\n");
    }
}

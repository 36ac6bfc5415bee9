//! Finds a PostgreSQL server to run: the one the caller names, the pinned copy (cached or downloaded), an installed one.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{Directories, Error, Progress, Step, download};

/// Names a directory with `initdb` and `postgres`, for programs without an option of their own.
pub const BINARIES_VARIABLE: &str = "ROOMCAST_POSTGRES_BIN";

/// The oldest server that is accepted.
pub const OLDEST_MAJOR: u32 = 15;

/// Where package managers put servers, each with one directory per version.
const PACKAGE_ROOTS: [&str; 4] =
    ["/usr/lib/postgresql", "/usr/local/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"];

/// Without a server to fall back to, a slow line gets its time.
const PATIENCE_ALONE: Duration = Duration::from_mins(15);
const PATIENCE_WITH_FALLBACK: Duration = Duration::from_mins(2);

/// Where binaries came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The caller said so.
    Named,
    /// The pinned version, already here.
    Cached,
    /// The pinned version, fetched just now.
    Downloaded,
    /// A server of this machine.
    Installed,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Named => "named",
            Origin::Cached => "cached",
            Origin::Downloaded => "downloaded",
            Origin::Installed => "installed",
        })
    }
}

/// A directory with runnable `initdb` and `postgres`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The directory.
    pub directory: PathBuf,
    /// Major version, which decides the name of the data directory.
    pub major: u32,
    /// Where they came from.
    pub origin: Origin,
}

impl Binaries {
    /// The binaries in `directory`, if they run and are new enough.
    pub(crate) fn in_directory(directory: &Path, origin: Origin) -> Option<Self> {
        if !directory.join("initdb").is_file() {
            return None;
        }
        let answer = Command::new(directory.join("postgres")).arg("--version").output().ok()?;
        let major = major_of(&String::from_utf8_lossy(&answer.stdout))?;
        (major >= OLDEST_MAJOR).then(|| Self { directory: directory.to_path_buf(), major, origin })
    }

    /// Every usable installed server, newest first.
    pub fn installed() -> Vec<Self> {
        let mut places: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
        if let Ok(answer) = Command::new("pg_config").arg("--bindir").output() {
            places.push(String::from_utf8_lossy(&answer.stdout).trim().into());
        }
        for root in PACKAGE_ROOTS {
            places.extend(fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path().join("bin")));
        }
        let mut found: Vec<Self> =
            places.iter().filter_map(|place| Self::in_directory(place, Origin::Installed)).collect();
        found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
        found
    }
}

/// `postgres (PostgreSQL) 15.18 (Debian …)`, `postgres (PostgreSQL) 19beta1`
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_whitespace().nth(2)?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// What to look for, and where.
#[derive(Debug, Clone)]
pub struct Search {
    /// A directory the caller names: used, or an error.
    pub named: Option<PathBuf>,
    /// Where the pinned version is kept.
    pub cache: PathBuf,
    /// Data that exists already in this directory decides the version, as another major cannot read it.
    pub data_dir: Option<PathBuf>,
    /// Whether the pinned version may be fetched.
    pub download: bool,
}

impl Search {
    /// The usual search: [`BINARIES_VARIABLE`], this user's cache, this user's data.
    pub fn new(directories: &Directories) -> Self {
        Self {
            named: env::var_os(BINARIES_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from),
            cache: directories.cache.clone(),
            data_dir: Some(directories.data.clone()),
            download: true,
        }
    }

    /// The first that works: named, the version that has the data, cached, downloaded, installed.
    pub async fn find_or_fetch(&self, progress: &Progress) -> Result<Binaries, Error> {
        if let Some(directory) = &self.named {
            return Binaries::in_directory(directory, Origin::Named)
                .ok_or_else(|| Error::UnusableBinaries { directory: directory.clone(), oldest: OLDEST_MAJOR });
        }
        let mut installed = Binaries::installed();
        if let Some(owner) = self.owner_of_the_data(&installed) {
            return Ok(owner);
        }
        if let Some(cached) = download::cached(&self.cache)? {
            return Ok(cached);
        }
        let failure = if self.download {
            let patience = if installed.is_empty() { PATIENCE_ALONE } else { PATIENCE_WITH_FALLBACK };
            match download::fetch(&self.cache, patience, progress).await {
                Ok(binaries) => return Ok(binaries),
                Err(failure) => failure.to_string(),
            }
        } else {
            "not tried".to_owned()
        };
        if installed.is_empty() {
            return Err(Error::NoBinaries { oldest: OLDEST_MAJOR, cache: self.cache.clone(), download: failure });
        }
        if self.download {
            progress.tell(Step::DownloadFailed { reason: failure });
        }
        Ok(installed.swap_remove(0))
    }

    /// The installed server that made the existing data, unless the pinned version has data as well.
    fn owner_of_the_data(&self, installed: &[Binaries]) -> Option<Binaries> {
        let has_data = |major: u32| {
            self.data_dir.as_ref().is_some_and(|dir| dir.join(format!("pg{major}")).join("PG_VERSION").is_file())
        };
        if has_data(download::MAJOR) {
            return None;
        }
        installed.iter().find(|binaries| has_data(binaries.major)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_every_kind_of_answer() {
        assert_eq!(major_of("postgres (PostgreSQL) 18.6\n"), Some(18));
        assert_eq!(major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major_of("command not found"), None);
    }

    #[tokio::test]
    async fn a_named_directory_without_a_server_is_an_error_and_not_a_reason_to_look_elsewhere() {
        let empty = tempfile::tempdir().unwrap();
        let search = Search {
            named: Some(empty.path().into()),
            cache: empty.path().join("cache"),
            data_dir: None,
            download: false,
        };
        let error = search.find_or_fetch(&Progress::silent()).await.unwrap_err();
        assert!(matches!(error, Error::UnusableBinaries { .. }), "{error}");
    }

    #[test]
    fn the_error_of_last_resort_names_every_way_out() {
        let error =
            Error::NoBinaries { oldest: OLDEST_MAJOR, cache: "/cache".into(), download: "no route".into() }.to_string();
        for way in ["DATABASE_URL", "--postgres-bin", "apt-get install postgresql", "network", "/cache", "no route"] {
            assert!(error.contains(way), "{way} is not in: {error}");
        }
    }
}

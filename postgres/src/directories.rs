//! Where data and downloaded binaries live: the user's own directories, or, for root, a place that the user PostgreSQL
//! runs as can reach (never /root).

use std::{
    env, fs,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use nix::unistd::{User, geteuid};

use crate::error::{Error, While};

/// The program's name in every path.
const NAME: &str = "roomcast";

/// The two directories of this user. Neither needs to exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// Kept between runs.
    pub data: PathBuf,
    /// Can be deleted at any time; costs a download.
    pub cache: PathBuf,
}

impl Directories {
    /// `$XDG_DATA_HOME` and `$XDG_CACHE_HOME` (or their usual values) for a user; /var/lib, else /var/tmp, for root.
    pub fn of_this_user() -> Result<Self, Error> {
        if geteuid().is_root() { Self::of_root() } else { Self::of_home() }
    }

    fn of_root() -> Result<Self, Error> {
        let data = ["/var/lib", "/var/tmp"]
            .into_iter()
            .map(|parent| Path::new(parent).join(NAME))
            .find(|path| create(path).is_ok())
            .ok_or(Error::NoHome)?;
        trusted_by_root(&data)?;
        Ok(Self { cache: data.join("cache"), data })
    }

    fn of_home() -> Result<Self, Error> {
        let home = || env::var_os("HOME").map(PathBuf::from).or_else(home_of_passwd).filter(|home| home.is_absolute());
        let place = |variable: &str, usual: &str| {
            let named = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
            named.or_else(|| home().map(|home| home.join(usual))).map(|parent| parent.join(NAME)).ok_or(Error::NoHome)
        };
        Ok(Self { data: place("XDG_DATA_HOME", ".local/share")?, cache: place("XDG_CACHE_HOME", ".cache")? })
    }

    /// A parent for temporary data directories that the server's user can reach.
    pub(crate) fn scratch() -> PathBuf {
        // Root's TMPDIR may be closed to others, and /tmp may be memory; /var/tmp is neither.
        if geteuid().is_root() { "/var/tmp".into() } else { env::temp_dir() }
    }
}

fn home_of_passwd() -> Option<PathBuf> {
    User::from_uid(geteuid()).ok().flatten().map(|user| user.dir)
}

/// Creates `path` and its parents, readable by everyone and writable by the owner.
pub(crate) fn create(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path).when(|| format!("create {}", path.display()))
}

/// Anyone may create a name in /var/tmp; root must not run programs out of a directory that somebody else made.
pub(crate) fn trusted_by_root(path: &Path) -> Result<(), Error> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let found = fs::symlink_metadata(path).when(|| format!("look at {}", path.display()))?;
    if found.is_dir() && found.uid() == 0 && found.mode() & 0o022 == 0 {
        Ok(())
    } else {
        Err(Error::Untrusted(path.to_path_buf()))
    }
}

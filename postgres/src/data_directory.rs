//! The directory with everything a private server keeps: database files per major version, password, log, lock.
//!
//! Holding a [`DataDirectory`] means holding its lock: no other program uses it meanwhile. The lock ends with the
//! process, however it ends.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    Binaries, Progress, Step,
    account::Account,
    directories,
    error::{Error, While},
    logs,
};

/// Of the `postgres` role; readable by the server's user (and root) alone.
pub(crate) const PASSWORD_FILE: &str = "password";

/// From this version on, letters outside ASCII have upper and lower case without a locale of the system.
const FIRST_WITH_BUILTIN_LOCALE: u32 = 17;

#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    account: Account,
    _lock: File,
}

impl DataDirectory {
    /// Creates the directory if needed and locks it.
    pub(crate) fn open(path: &Path, account: Account) -> Result<Self, Error> {
        directories::create(path)?;
        let path = fs::canonicalize(path).when(|| format!("find {}", path.display()))?;
        reachable(&path, account)?;
        let lock = lock(&path)?;
        Ok(Self { path, account, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn account(&self) -> Account {
        self.account
    }

    /// Where the server of this major version has its files.
    pub(crate) fn pgdata(&self, major: u32) -> PathBuf {
        self.path.join(format!("pg{major}"))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("postgres.log")
    }

    /// A new log; the one of the run before is kept beside it, as it may say why that run ended.
    pub(crate) fn new_log(&self) -> Result<(PathBuf, File), Error> {
        let log = self.log();
        let file = logs::begin(&log)?;
        Ok((log, file))
    }

    /// Removes the data of every version. What is not ours stays.
    pub(crate) fn start_over(&self, progress: &Progress) -> Result<(), Error> {
        let entries = fs::read_dir(&self.path).when(|| format!("list {}", self.path.display()))?;
        for entry in entries.flatten().map(|entry| entry.path()) {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            if name.strip_prefix("pg").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
                crate::pid_file::clear_the_way(&entry, progress)?;
                fs::remove_dir_all(&entry).when(|| format!("remove {}", entry.display()))?;
            }
        }
        match fs::remove_file(self.password_file()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).when(|| format!("remove {}", self.password_file().display()))
            }
            _ => Ok(()),
        }
    }

    /// Removes everything, the directory included.
    pub(crate) fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, "could not remove {}", self.path.display());
        }
    }

    /// Makes sure there are database files for these binaries; returns the password of the `postgres` role.
    pub(crate) fn initialise(&self, binaries: &Binaries, durable: bool, progress: &Progress) -> Result<String, Error> {
        let pgdata = self.pgdata(binaries.major);
        let exists = pgdata.join("PG_VERSION").is_file();
        let password = self.password(exists)?;
        if !exists {
            progress.tell(Step::Initialising { data_dir: self.path.clone() });
            self.initdb(binaries, durable, &pgdata)?;
        }
        Ok(password)
    }

    fn password_file(&self) -> PathBuf {
        self.path.join(PASSWORD_FILE)
    }

    fn password(&self, must_exist: bool) -> Result<String, Error> {
        let path = self.password_file();
        match fs::read_to_string(&path) {
            Ok(password) if !password.is_empty() => Ok(password),
            _ if must_exist => Err(Error::PasswordMissing(path)),
            _ => self.new_password(&path),
        }
    }

    fn new_password(&self, path: &Path) -> Result<String, Error> {
        let password: String = (0..28).map(|_| char::from(rand::random_range(b'a'..=b'z'))).collect();
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(password.as_bytes()))
            .when(|| format!("write {}", path.display()))?;
        self.account.own(path)?; // initdb reads it
        Ok(password)
    }

    /// Works beside the final name and renames, so that a crash in the middle leaves no half-made files to start from.
    fn initdb(&self, binaries: &Binaries, durable: bool, pgdata: &Path) -> Result<(), Error> {
        let unfinished = self.path.join(format!("pg{}.unfinished", binaries.major));
        let _ = fs::remove_dir_all(&unfinished);
        fs::DirBuilder::new().mode(0o700).create(&unfinished).when(|| format!("create {}", unfinished.display()))?;
        self.account.own(&unfinished)?;

        let mut command = Command::new(binaries.directory.join("initdb"));
        command.arg("-D").arg(&unfinished).arg(format!("--pwfile={}", self.password_file().display())).args([
            "-U",
            "postgres",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-instructions",
        ]);
        if binaries.major >= FIRST_WITH_BUILTIN_LOCALE {
            command.args(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
        }
        if !durable {
            command.arg("--no-sync");
        }
        command.env_remove("PGDATA").env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        self.account.apply(&mut command);
        let answer = command.output().when(|| format!("run {}", binaries.directory.join("initdb").display()))?;
        if !answer.status.success() {
            return Err(Error::Initdb(String::from_utf8_lossy(&answer.stderr).trim().to_owned()));
        }
        fs::rename(&unfinished, pgdata).when(|| format!("rename {}", unfinished.display()))
    }
}

fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .when(|| format!("open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
            return Err(Error::InUse { data_dir: directory.to_path_buf(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(error).when(|| format!("lock {}", path.display())),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .when(|| format!("write {}", path.display()))?;
    Ok(file)
}

/// The user PostgreSQL runs as must be able to walk to its files; under /root, for one, it can not.
fn reachable(path: &Path, account: Account) -> Result<(), Error> {
    let Account::Other { uid, gid } = account else { return Ok(()) };
    for parent in path.ancestors() {
        let found = fs::metadata(parent).when(|| format!("look at {}", parent.display()))?;
        let bit = match () {
            () if found.uid() == uid => 0o100,
            () if found.gid() == gid => 0o010,
            () => 0o001,
        };
        if found.mode() & bit == 0 {
            return Err(Error::Unreachable { data_dir: path.to_path_buf(), closed: parent.to_path_buf() });
        }
    }
    Ok(())
}

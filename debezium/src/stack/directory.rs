//! The directory of a stack: topics, settings, logs, lock, and what tells a later start which processes were left over.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Write},
    os::unix::{fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use embedded_postgres::{Account, Progress, Step, logs};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    Addresses, Bundle, Part,
    ports::Ports,
    process::{archive_options, marker},
};
use crate::error::{Error, While};

/// Written while a stack runs.
pub(super) const ADDRESSES_FILE: &str = "addresses.json";
const LOGGING_FILE: &str = "log4j2.properties";
/// Any 16 bytes in base64; there is no other cluster to confuse it with.
const CLUSTER: &str = "Um9vbWNhc3RLYWZrYTEyMw";

/// Holding it means holding its lock, which ends with the process, however that ends.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    account: Account,
    _lock: File,
}

impl Directory {
    /// Creates the directory if needed and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let create = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
        create.when(|| format!("create {}", path.display()))?;
        let path = fs::canonicalize(path).when(|| format!("find {}", path.display()))?;
        let lock = lock(&path)?;
        Ok(Self { path, account: Account::choose()?, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn log(&self, part: Part) -> PathBuf {
        self.path.join(format!("{}.log", part.word()))
    }

    fn topics(&self) -> PathBuf {
        self.path.join("kafka")
    }

    /// Removes topics and connectors, and nothing that is not ours.
    pub(super) fn start_over(&self) -> Result<(), Error> {
        match fs::remove_dir_all(self.topics()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).when(|| format!("remove {}", self.topics().display()))
            }
            _ => Ok(()),
        }
    }

    /// Removes everything, the directory included.
    pub(super) fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, "could not remove {}", self.path.display());
        }
    }

    pub(super) fn write_settings(&self, bundle: &Bundle, ports: Ports) -> Result<(), Error> {
        let filled_in = |text: &str| {
            text.replace("${kafka_port}", &ports.kafka.to_string())
                .replace("${controller_port}", &ports.controller.to_string())
                .replace("${connect_port}", &ports.connect.to_string())
                .replace("${directory}", &self.path.display().to_string())
                .replace("${plugins}", &bundle.plugins().display().to_string())
        };
        for (name, text) in [
            (Part::Kafka.settings_file(), include_str!("../../stack/broker.properties")),
            (Part::Connect.settings_file(), include_str!("../../stack/worker.properties")),
            (LOGGING_FILE, include_str!("../../stack/log4j2.properties")),
        ] {
            let file = self.path.join(name);
            fs::write(&file, filled_in(text)).when(|| format!("write {}", file.display()))?;
        }
        Ok(())
    }

    /// Makes the storage of the broker, once. Works beside the final name, as a crash would leave it half made.
    pub(super) fn format(&self, bundle: &Bundle, progress: &Progress) -> Result<(), Error> {
        let done = self.topics().join("formatted");
        if done.is_file() {
            return Ok(());
        }
        progress.tell(Step::Beside(format!("creating Kafka's files in {}", self.path.display())));
        self.start_over()?;
        fs::create_dir(self.topics()).when(|| format!("create {}", self.topics().display()))?;
        self.account.own(&self.topics())?;
        let mut command = bundle.tool("kafka.tools.StorageTool");
        command.args(["format", "--cluster-id", CLUSTER, "--config"]).arg(self.path.join(Part::Kafka.settings_file()));
        command.current_dir("/").stdin(Stdio::null());
        self.account.apply(&mut command);
        let answer = command.output().when(|| "run Kafka's StorageTool".to_owned())?;
        if !answer.status.success() {
            let said = String::from_utf8_lossy(&answer.stderr).into_owned() + &String::from_utf8_lossy(&answer.stdout);
            let (reason, log) = (format!("formatting: {}", answer.status), self.log(Part::Kafka));
            return Err(Error::Start { part: Part::Kafka, reason, log, tail: last_lines(&said) });
        }
        fs::write(&done, "").when(|| format!("write {}", done.display()))
    }

    /// The JVM of a part, which writes to a new log; the log before is kept beside it.
    pub(super) fn command(
        &self,
        bundle: &Bundle,
        part: Part,
        optimise: bool,
        archive: &Path,
    ) -> Result<Command, Error> {
        let log = self.log(part);
        let output = logs::begin(&log)?;
        let errors = output.try_clone().when(|| format!("open {}", log.display()))?;
        let mut command = bundle.jvm();
        command
            .args(["-Xmx256m", &marker(&self.path), &archive_options(archive)])
            .args((!optimise).then_some("-XX:TieredStopAtLevel=1"))
            .arg(format!("-Dlog4j2.configurationFile={}", self.path.join(LOGGING_FILE).display()))
            .arg(part.main_class())
            .arg(self.path.join(part.settings_file()))
            .current_dir("/")
            .process_group(0) // Ctrl-C in the terminal is for the program, which then stops the parts in order
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        self.account.apply(&mut command);
        Ok(command)
    }

    pub(super) fn start_error(&self, part: Part, reason: String) -> Error {
        let log = self.log(part);
        let tail = last_lines(&fs::read_to_string(&log).unwrap_or_default());
        Error::Start { part, reason, log, tail }
    }

    pub(super) fn note_pid(&self, part: Part, pid: u32) -> Result<(), Error> {
        let file = pid_file(&self.path, part);
        fs::write(&file, pid.to_string()).when(|| format!("write {}", file.display()))
    }

    pub(super) fn announce(&self, addresses: &Addresses) -> Result<(), Error> {
        let file = self.path.join(ADDRESSES_FILE);
        let text = serde_json::to_string(addresses).unwrap_or_default();
        fs::write(&file, text).when(|| format!("write {}", file.display()))
    }

    /// Nothing runs any more.
    pub(super) fn withdraw(&self) {
        for file in
            [self.path.join(ADDRESSES_FILE), pid_file(&self.path, Part::Kafka), pid_file(&self.path, Part::Connect)]
        {
            let _ = fs::remove_file(file);
        }
    }

    /// Ends what a program left that died together with its caretaker, or waits while the caretaker does.
    pub(super) fn end_leftovers(&self, progress: &Progress) {
        for part in [Part::Connect, Part::Kafka] {
            if let Some(pid) = pid_of(&self.path, part) {
                progress
                    .tell(Step::Beside(format!("stopping the {part} (pid {pid}) that a crashed program left running")));
                for (signal, patience) in [(Signal::SIGTERM, 15), (Signal::SIGKILL, 5)] {
                    let _ = kill(Pid::from_raw(pid), signal);
                    let deadline = Instant::now() + Duration::from_secs(patience);
                    while pid_of(&self.path, part).is_some() && Instant::now() < deadline {
                        sleep(Duration::from_millis(20));
                    }
                }
            }
        }
        self.withdraw();
    }
}

fn pid_file(directory: &Path, part: Part) -> PathBuf {
    directory.join(format!("{}.pid", part.word()))
}

/// The process of this part, if it runs: never a stranger with its pid.
pub(super) fn pid_of(directory: &Path, part: Part) -> Option<i32> {
    let pid: i32 = fs::read_to_string(pid_file(directory, part)).ok()?.trim().parse().ok()?;
    command_line(pid)?.split(['\0', ' ']).any(|argument| argument == marker(directory)).then_some(pid)
}

/// Empty for a zombie.
fn command_line(pid: i32) -> Option<String> {
    if Path::new("/proc/self/cmdline").exists() {
        return fs::read(format!("/proc/{pid}/cmdline")).ok().map(|line| String::from_utf8_lossy(&line).into_owned());
    }
    let answer = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output().ok()?;
    Some(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
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

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_with_the_pid_of_a_part_is_not_taken_for_it() {
        let place = tempfile::tempdir().unwrap();
        fs::write(pid_file(place.path(), Part::Kafka), std::process::id().to_string()).unwrap();
        assert_eq!(pid_of(place.path(), Part::Kafka), None);
        assert_eq!(pid_of(place.path(), Part::Connect), None);
    }

    #[test]
    fn a_second_program_on_the_same_directory_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let held = Directory::open(place.path()).unwrap();
        let error = Directory::open(place.path()).unwrap_err();
        assert!(matches!(error, Error::InUse { .. }), "{error}");
        drop(held);
        Directory::open(place.path()).unwrap();
    }
}

//! A running server: a direct child of this program, on the loopback interface only, with a random password.

use std::{
    fs, io,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        statvfs::statvfs,
    },
    unistd::Pid,
};

use crate::{
    Binaries, Error, Progress, Step,
    account::Account,
    caretaker::{Caretaker, LastWill},
    data_directory::DataDirectory,
    error::While,
    pid_file::{self, PidFile},
};

/// Recovery after a crash replays what the last checkpoint does not hold; that can take longer than a plain start.
const START_LIMIT: Duration = Duration::from_mins(2);
/// After a SIGKILL the server's other processes take a moment to notice.
const LINGER_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);
/// From 32768 on the system takes ports for outgoing connections: a client that tries again and again to reach a server
/// which is about to be back might be given that server's own port.
const LISTEN: std::ops::Range<u16> = 30_000..32_768;
const EXIT_POLL: Duration = Duration::from_millis(200);

/// For every server. `wal_level` and the delay serve readers of the write-ahead log.
///
/// A replication slot that nobody reads keeps log for 1 GB at most, else for ever, and then it is lost. That much because
/// `max_wal_size` has the same: the log may take 2 GB of a laptop, not its disk. A message costs about 1.6 kB, so a reader
/// may be away for 600,000 messages; what it misses then reaches people from the timeline.
const SETTINGS: [(&str, &str); 7] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("logging_collector", "off"),
    ("max_connections", "200"),
    ("wal_level", "logical"),
    ("max_slot_wal_keep_size", "1GB"),
    ("wal_writer_delay", "10ms"),
];
const DURABLE: [(&str, &str); 3] = [("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")];
/// Commits still wait for the write itself, so they survive a killed server and are only lost with the machine.
const NOT_DURABLE: [(&str, &str); 2] = [("fsync", "off"), ("full_page_writes", "off")];

/// How to run a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Holds database files (`pg18`), password, log and lock.
    pub data_dir: PathBuf,
    /// 0 takes a free one.
    pub port: u16,
    /// Whether what was committed survives a power cut.
    pub durable: bool,
    /// Removes existing data before the start.
    pub fresh: bool,
    /// Removes `data_dir` when the server stops or the program ends.
    pub temporary: bool,
    /// Server settings on top of the built-in ones.
    pub settings: Vec<(String, String)>,
    /// Told what takes time.
    pub progress: Progress,
}

impl Options {
    /// Keeps data, safely.
    pub fn durable(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            port: 0,
            durable: true,
            fresh: false,
            temporary: false,
            settings: Vec::new(),
            progress: Progress::silent(),
        }
    }

    /// Fast, and gone afterwards.
    pub fn temporary(data_dir: impl Into<PathBuf>) -> Self {
        Self { durable: false, temporary: true, ..Self::durable(data_dir) }
    }
}

/// A PostgreSQL that accepts connections. Dropping it stops it.
///
/// Starting and stopping block the thread, for seconds the first time: async code uses `spawn_blocking`.
#[derive(Debug)]
pub struct Server {
    binaries: Binaries,
    options: Options,
    directory: DataDirectory,
    password: String,
    port: u16,
    /// Signals are sent only while this lock is held and the child is not reaped, so never to a reused pid.
    child: Mutex<Child>,
    caretaker: Caretaker,
}

impl Server {
    /// Starts a server and returns when it accepts connections.
    pub fn start(binaries: &Binaries, options: &Options) -> Result<Self, Error> {
        let directory = DataDirectory::open(&options.data_dir, Account::choose()?)?;
        if options.fresh {
            directory.start_over(&options.progress)?;
        }
        let password = directory.initialise(binaries, options.durable, &options.progress)?;
        let pgdata = directory.pgdata(binaries.major);
        pid_file::clear_the_way(&pgdata, &options.progress)?;
        options.progress.tell(Step::Starting { major: binaries.major });
        let will = if options.temporary { LastWill::Remove(directory.path()) } else { LastWill::Stop };
        let mut caretaker = Caretaker::employ(&pgdata, will)?;
        match launch(binaries, options, &directory, options.port, &mut caretaker) {
            Ok((child, port)) => Ok(Self {
                binaries: binaries.clone(),
                options: options.clone(),
                directory,
                password,
                port,
                child: Mutex::new(child),
                caretaker,
            }),
            Err(error) => {
                caretaker.dismiss();
                Err(error)
            }
        }
    }

    /// The address of `database` on this server, password included.
    pub fn url(&self, database: &str) -> String {
        url(&self.password, self.port, database)
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.lock().id()
    }

    /// Where it says what it does.
    pub fn log(&self) -> PathBuf {
        self.directory.log()
    }

    /// What it runs from.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Returns when the server's process ended, which a program that did not stop it must report. Cancel-safe.
    pub async fn exited(&self) -> io::Result<ExitStatus> {
        loop {
            let ended = self.lock().try_wait()?;
            match ended {
                Some(status) => return Ok(status),
                None => tokio::time::sleep(EXIT_POLL).await,
            }
        }
    }

    /// Ends all sessions and stops in order (SIGINT); harder if that takes too long.
    pub fn stop(self) {
        drop(self);
    }

    /// Kills the server as a crash would, and leaves it dead. For tests of what others do then.
    pub fn kill(&self) -> io::Result<()> {
        let mut child = self.lock();
        child.kill()?;
        child.wait().map(drop)
    }

    /// Starts it again on the same port with the same data, stopping it first if it runs.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.end();
        pid_file::clear_the_way(&self.pgdata(), &self.options.progress)?;
        let (child, port) = launch(&self.binaries, &self.options, &self.directory, self.port, &mut self.caretaker)?;
        self.port = port;
        *self.lock() = child;
        Ok(())
    }

    fn pgdata(&self) -> PathBuf {
        self.directory.pgdata(self.binaries.major)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let ways: &[(Signal, u64)] = if self.options.temporary {
            &[(Signal::SIGQUIT, 10), (Signal::SIGKILL, 5)]
        } else {
            &[(Signal::SIGINT, 20), (Signal::SIGQUIT, 10), (Signal::SIGKILL, 5)]
        };
        for (signal, patience) in ways {
            let mut child = self.lock();
            if let Ok(None) = child.try_wait() {
                send(&child, *signal);
            }
            if wait_at_most(&mut child, Duration::from_secs(*patience)) {
                return;
            }
            tracing::warn!(%signal, "PostgreSQL did not stop within {patience} s");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if self.options.temporary {
            self.directory.remove();
        }
        self.caretaker.dismiss();
    }
}

pub(crate) fn url(password: &str, port: u16, database: &str) -> String {
    format!("postgres://postgres:{password}@127.0.0.1:{port}/{database}")
}

/// Starts the process and waits until it is ready. A free port can be taken by somebody else before the server binds it.
fn launch(
    binaries: &Binaries,
    options: &Options,
    directory: &DataDirectory,
    port: u16,
    caretaker: &mut Caretaker,
) -> Result<(Child, u16), Error> {
    let begin = Instant::now();
    let mut ports_left = if port == 0 { 5 } else { 1 };
    loop {
        let port = if port == 0 { free_port()? } else { port };
        match launch_on(binaries, options, directory, port, caretaker) {
            Ok(child) => return Ok((child, port)),
            Err(Error::Start { tail, .. }) if tail.contains("Address already in use") && ports_left > 1 => {
                ports_left -= 1;
            }
            Err(Error::Start { tail, .. }) if tail.contains("still in use") && begin.elapsed() < LINGER_LIMIT => {
                sleep(Duration::from_millis(50));
            }
            Err(error) => return Err(error),
        }
    }
}

fn free_port() -> Result<u16, Error> {
    let mut tries = 200;
    loop {
        let port = rand::random_range(LISTEN);
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return Ok(port),
            Err(error) if tries == 0 => {
                return Err(error).when(|| format!("find a free port of 127.0.0.1 in {LISTEN:?}"));
            }
            Err(_) => tries -= 1,
        }
    }
}

fn launch_on(
    binaries: &Binaries,
    options: &Options,
    directory: &DataDirectory,
    port: u16,
    caretaker: &mut Caretaker,
) -> Result<Child, Error> {
    let pgdata = directory.pgdata(binaries.major);
    let (log, output) = directory.new_log()?;
    let errors = output.try_clone().when(|| format!("open {}", log.display()))?;
    let program = binaries.directory.join("postgres");
    let mut command = Command::new(&program);
    command.arg("-D").arg(&pgdata).args(["-c", &format!("port={port}")]);
    let durability = if options.durable { &DURABLE[..] } else { &NOT_DURABLE[..] };
    for (name, value) in SETTINGS.iter().chain(durability) {
        command.args(["-c", &format!("{name}={value}")]);
    }
    for (name, value) in &options.settings {
        command.args(["-c", &format!("{name}={value}")]);
    }
    command
        .env_remove("PGDATA")
        .env("LC_ALL", "C")
        .current_dir("/")
        .process_group(0) // Ctrl-C in the terminal is for the program, which then stops the server in order
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    directory.account().apply(&mut command);
    let mut child = command.spawn().when(|| format!("run {}", program.display()))?;
    caretaker.watch(child.id());
    match wait_until_ready(&mut child, &pgdata) {
        Ok(()) => Ok(child),
        Err(reason) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(Error::Start { reason: with_the_disk(reason, &options.data_dir), tail: tail(&log), log })
        }
    }
}

fn wait_until_ready(child: &mut Child, pgdata: &Path) -> Result<(), String> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Err(status.to_string());
        }
        let ours = |file: &PidFile| file.pid().is_some_and(|pid| pid == raw_pid(child));
        if PidFile::read(pgdata).is_some_and(|file| ours(&file) && file.is_ready()) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("not ready within {} s", START_LIMIT.as_secs()));
        }
        sleep(POLL);
    }
}

/// A server that has no room for its log cannot say there what is wrong.
fn with_the_disk(reason: String, data_dir: &Path) -> String {
    const LITTLE: u128 = 1 << 20; // bytes
    let room = statvfs(data_dir)
        .map_or(u128::MAX, |disk| u128::from(disk.blocks_available()) * u128::from(disk.fragment_size()));
    if room > LITTLE {
        return reason;
    }
    format!("{reason}; the disk of {} is full: make room there", data_dir.display())
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

fn send(child: &Child, signal: Signal) {
    if let Err(error) = kill(Pid::from_raw(raw_pid(child)), signal) {
        tracing::warn!(%error, %signal, "could not signal PostgreSQL");
    }
}

fn raw_pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap_or(i32::MAX)
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Disk;

    #[test]
    fn a_start_that_failed_on_a_full_disk_names_the_disk() {
        let Some(disk) = Disk::mount(4) else { return };
        let reason = || with_the_disk("exit status: 1".to_owned(), disk.path());
        assert_eq!(reason(), "exit status: 1");
        disk.fill();
        let words = format!("exit status: 1; the disk of {} is full: make room there", disk.path().display());
        assert_eq!(reason(), words);
    }
}

//! One process of the product: started as a user would, ready when it says so, killed by its own id only.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// A debug build beside other tests needs some patience, the first start of an embedded PostgreSQL more.
const START: Duration = Duration::from_mins(2);
const STOP: Duration = Duration::from_secs(30);

/// A running process.
pub struct Process {
    child: Child,
    address: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts `roomcast` with these arguments and waits for its line "… is ready at http://…".
    pub async fn start(args: &[&str]) -> anyhow::Result<Self> {
        let mut child = command(args).spawn().with_context(|| format!("starting roomcast {}", args.join(" ")))?;

        let log = Arc::<Mutex<Vec<String>>>::default();
        let out = child.stdout.take().context("no standard output")?;
        let err = child.stderr.take().context("no standard error")?;
        let (ready, mut said) = tokio::sync::mpsc::channel(1);
        tokio::spawn(collect(BufReader::new(out), Arc::clone(&log), Some(ready)));
        tokio::spawn(collect(BufReader::new(err), Arc::clone(&log), None));
        match tokio::time::timeout(START, said.recv()).await {
            Ok(Some(address)) => Ok(Self { child, address, log }),
            _ => bail!("roomcast {} did not become ready:\n{}", args.join(" "), text(&log)),
        }
    }

    /// `host:port` where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        text(&self.log)
    }

    /// kill -9, and waits until the kernel has buried it.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("kill -9")
    }

    /// Ctrl-C; true when it ended by itself with success.
    pub async fn stop(&mut self) -> anyhow::Result<bool> {
        let interrupted = Command::new("kill").args(["-INT", &self.id().to_string()]).status().await?;
        anyhow::ensure!(interrupted.success(), "kill -INT failed");
        self.ended().await.context("after a Ctrl-C")
    }

    /// Waits until it has ended; true when with success.
    pub async fn ended(&mut self) -> anyhow::Result<bool> {
        let status = tokio::time::timeout(STOP, self.child.wait()).await.context("it did not end")??;
        Ok(status.success())
    }
}

/// Runs `roomcast` with these arguments to its end; an error unless it ends well, else what it printed.
pub async fn run(args: &[&str]) -> anyhow::Result<String> {
    let output = tokio::time::timeout(START, command(args).output()).await.context("did not end")??;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("roomcast {}: {}\n{said}{complained}", args.join(" "), output.status);
    }
    Ok(said.into_owned())
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(executable());
    // The settings of whoever runs the tests must not leak in.
    command
        .env_clear()
        .envs(std::env::vars().filter(|(name, _)| !name.starts_with("ROOMCAST_") && name != "DATABASE_URL"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn collect(
    reader: impl AsyncBufRead + Unpin,
    log: Arc<Mutex<Vec<String>>>,
    ready: Option<tokio::sync::mpsc::Sender<String>>,
) {
    let mut lines = reader.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let (Some(ready), Some(address)) = (&ready, address_in(&line)) {
            let _ = ready.try_send(address);
        }
        if let Ok(mut log) = log.lock() {
            log.push(line);
        }
    }
}

fn address_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(" is ready at ")?;
    let (_, rest) = rest.split_once("://")?;
    Some(rest.split(['/', ' ', ',']).next()?.to_owned())
}

fn text(log: &Mutex<Vec<String>>) -> String {
    log.lock().map(|lines| lines.join("\n")).unwrap_or_default()
}

/// The product's executable: `$ROOMCAST_BIN`, else built once a run with the profile of the tests.
fn executable() -> &'static PathBuf {
    static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();
    EXECUTABLE.get_or_init(|| {
        if let Some(named) = std::env::var_os("ROOMCAST_BIN") {
            return named.into();
        }
        let build = escargot::CargoBuild::new()
            .package("roomcast")
            .bin("roomcast")
            .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
        let build = if cfg!(debug_assertions) { build } else { build.release() };
        build.run().expect("the product builds").path().to_owned()
    })
}

/// A port that was free a moment ago, below the range that clients' sockets are given.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<std::sync::atomic::AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| {
        let spread = u16::try_from(std::process::id() % 97).unwrap_or(0) * 100;
        std::sync::atomic::AtomicU16::new(20_000 + spread)
    });
    loop {
        let port = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

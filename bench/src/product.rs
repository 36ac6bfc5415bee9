//! The product's processes in one of its two shapes, started as a user would start them, stopped by Ctrl-C.

use std::{
    fs::File,
    io::{Read, Seek},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::console;

const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_secs(30);

/// Backend, relay and hub, in one process or in three.
pub struct Product {
    processes: Vec<Process>,
    /// The backend's origin.
    pub url: String,
    /// The hub's WebSocket.
    pub websocket: String,
    /// The hub's origin.
    pub hub: String,
}

impl Product {
    /// `roomcast demo` on this database.
    pub async fn one_process(executable: &Path, database: &str) -> anyhow::Result<Self> {
        Self::one_process_with(executable, database, &[]).await
    }

    /// The same with more settings.
    pub async fn one_process_with(executable: &Path, database: &str, more: &[String]) -> anyhow::Result<Self> {
        let demo = ["demo", "--listen", ANY_PORT, "--database-url", database];
        let args: Vec<&str> = demo.into_iter().chain(more.iter().map(String::as_str)).collect();
        let demo = Process::start(executable, &args).await?;
        let (url, websocket) = (demo.origin(), demo.websocket());
        Ok(Self { processes: vec![demo], hub: url.clone(), url, websocket })
    }

    /// `roomcast backend` and `roomcast hub` on this database, without a relay.
    pub async fn without_relay(executable: &Path, database: &str) -> anyhow::Result<Self> {
        let backend = ["backend", "--listen", ANY_PORT, "--database-url", database, "--migrate", "--demo-users"];
        let backend = Process::start(executable, &backend).await?;
        let url = backend.origin();
        let hub = Process::start(executable, &["hub", "--listen", ANY_PORT, "--backend", &url]).await?;
        Ok(Self { url, websocket: hub.websocket(), hub: hub.origin(), processes: vec![backend, hub] })
    }

    /// As [`Product::without_relay`], and `roomcast relay`.
    pub async fn split(executable: &Path, database: &str) -> anyhow::Result<Self> {
        let mut product = Self::without_relay(executable, database).await?;
        product.processes.push(Relay::start(executable, database, &product.hub).await?.0);
        Ok(product)
    }

    /// The ids of its processes.
    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// Ctrl-C for each, the last one first.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        while let Some(process) = self.processes.pop() {
            process.stop().await?;
        }
        Ok(())
    }
}

/// A relay of its own.
pub struct Relay(Process);

impl Relay {
    /// Starts `roomcast relay` and returns when it is ready.
    pub async fn start(executable: &Path, database: &str, hub: &str) -> anyhow::Result<Self> {
        let relay = ["relay", "--listen", ANY_PORT, "--database-url", database, "--hub", hub];
        Process::start(executable, &relay).await.map(Self)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Ctrl-C, and waits for its end.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.0.stop().await
    }
}

const ANY_PORT: &str = "127.0.0.1:0";

/// One process. Killed when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    address: String,
    log: File,
    /// Kept open: a process that cannot write its last words would fail at the end.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts it and waits for its line "… is ready at http://…".
    pub(crate) async fn start(executable: &Path, args: &[&str]) -> anyhow::Result<Self> {
        let name = format!("roomcast {}", args[0]);
        let mut log = tempfile::tempfile()?;
        let mut command = Command::new(executable);
        // The settings of whoever measures must not leak in.
        let strangers = std::env::vars().filter(|(name, _)| name.starts_with("ROOMCAST_") || name == "DATABASE_URL");
        strangers.for_each(|(name, _)| {
            command.env_remove(name);
        });
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone()?).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("starting {}", executable.display()))?;
        let mut output = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        match tokio::time::timeout(START, ready(&mut output)).await {
            Ok(Ok(Some(address))) => Ok(Self { name, child, address, log, _output: output }),
            _ => bail!("{name} did not become ready:\n{}", tail(&mut log)),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    fn websocket(&self) -> String {
        format!("ws://{}/connection/websocket", self.address)
    }

    /// Ends it as a crash would.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id().context("it has ended by itself")?)?);
        kill(pid, Signal::SIGINT)?;
        let ended = tokio::time::timeout(STOP, self.child.wait()).await;
        let status = ended.with_context(|| format!("{} did not stop on Ctrl-C", self.name))??;
        ensure!(status.success(), "{} ended with {status}:\n{}", self.name, tail(&mut self.log));
        Ok(())
    }
}

async fn ready(output: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<Option<String>> {
    while let Some(line) = output.next_line().await? {
        if let Some(address) = address_in(&line) {
            return Ok(Some(address.to_owned()));
        }
    }
    Ok(None)
}

fn address_in(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(" is ready at ")?;
    rest.split_once("://")?.1.split(['/', ' ', ',']).next()
}

fn tail(log: &mut File) -> String {
    let mut text = String::new();
    let _ = log.rewind().and_then(|()| log.read_to_string(&mut text));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// The named executable, else one that is built now.
pub async fn product_or_build(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    console::progress("building the product in release mode");
    build().await
}

/// Builds the product in release mode and says where its executable is.
async fn build() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut build = Command::new(cargo);
    build.args([
        "build",
        "--release",
        "--package",
        "roomcast",
        "--bin",
        "roomcast",
        "--message-format=json-render-diagnostics",
    ]);
    build.current_dir(&workspace).stdout(Stdio::piped());
    let output = build.spawn().context("cargo is needed to build, or name an executable with --roomcast")?;
    let output = output.wait_with_output().await?;
    ensure!(output.status.success(), "the product does not build");
    let executables = String::from_utf8(output.stdout)?;
    let artifacts = executables.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let executable = artifacts.filter_map(|artifact| artifact["executable"].as_str().map(PathBuf::from)).next_back();
    executable.context("cargo built no executable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_in_the_line_that_says_ready() {
        for line in [
            "Roomcast is ready at http://127.0.0.1:8000",
            "Roomcast hub is ready at ws://127.0.0.1:8000/connection/websocket",
            "Roomcast relay is ready at http://127.0.0.1:8000, delivering to http://127.0.0.1:8001",
        ] {
            assert_eq!(address_in(line), Some("127.0.0.1:8000"));
        }
        assert_eq!(address_in("Ctrl-C stops everything."), None);
    }
}

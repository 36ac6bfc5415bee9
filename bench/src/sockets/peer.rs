//! Another server that speaks the protocol, started by a command for as long as it is measured.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::sleep,
};

const START: Duration = Duration::from_secs(30);

/// A running one. Killed when dropped.
pub(crate) struct Peer(Child);

impl Peer {
    /// Runs the command in a shell that it replaces, and waits until its port is open. What is there already is another.
    pub(crate) async fn start(command: &str, origin: &str) -> anyhow::Result<Self> {
        let address = address_of(origin)?;
        let begin = Instant::now();
        while TcpStream::connect(address).await.is_ok() {
            // The one before may still be on its way out.
            if begin.elapsed() > START {
                bail!("something listens at {address} already: --peer-command starts the peer itself");
            }
            sleep(Duration::from_millis(20)).await;
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec {command}")]).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let mut child = shell.spawn().context("starting the peer")?;
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("the peer ended with {status}: {command}");
            }
            if begin.elapsed() > START {
                bail!("nobody listens at {address} after {START:?}: {command}");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self(child))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id().unwrap_or_default()
    }
}

fn address_of(origin: &str) -> anyhow::Result<&str> {
    origin.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')).context("a peer's origin begins with http://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_that_ends_is_no_server() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Peer::start("false", &format!("http://{free}")).await.err().unwrap();
        assert!(error.to_string().contains("ended"), "{error}");
    }
}

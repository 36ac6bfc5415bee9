//! Another system that empties the table `chat_outbox` and speaks the protocol.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{
    latency::Latency,
    latency_writer::{Way, Writer},
};

const START: Duration = Duration::from_mins(1);

/// How a peer is run and reached.
#[derive(Args, Clone, Debug)]
pub struct PeerOptions {
    /// Starts a peer, which is measured as well; the shell runs it, with its database in `DATABASE_URL`
    #[arg(long = "peer-command", value_name = "COMMAND", requires_all = ["websocket", "secret"])]
    pub command: Option<String>,
    /// Its WebSocket
    #[arg(long = "peer-websocket", id = "websocket", value_name = "URL")]
    pub websocket: Option<String>,
    /// What its clients' tokens are signed with (HS256)
    #[arg(long = "peer-secret", id = "secret", value_name = "SECRET")]
    pub secret: Option<String>,
    /// The channel of NOTIFY that it listens on
    #[arg(long = "peer-notify-channel", default_value = relay::CHANNEL, value_name = "CHANNEL")]
    pub notify_channel: String,
}

/// A peer that runs. Killed when dropped.
pub(super) struct Peer {
    child: Child,
    options: PeerOptions,
    database: String,
}

impl Peer {
    pub(super) async fn start(command: &str, options: &PeerOptions, database: &str) -> anyhow::Result<Self> {
        // `exec`, so that the process that is watched and stopped is the peer and not its shell.
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec {command}")]).env("DATABASE_URL", database).kill_on_drop(true);
        let child = shell.spawn().context("starting the peer")?;
        let mut peer = Self { child, options: options.clone(), database: database.to_owned() };
        peer.listens().await?;
        Ok(peer)
    }

    async fn listens(&mut self) -> anyhow::Result<()> {
        let url = self.options.websocket.as_deref().context("--peer-websocket is missing")?;
        let address = url.split_once("://").and_then(|(_, rest)| rest.split('/').next()).context("not a URL")?;
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the peer ended with {status}");
            }
            if Instant::now() > deadline {
                bail!("the peer does not listen on {address} after {START:?}");
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    pub(super) fn latency(&self, rate: u32, seconds: u64, postgres_pid: u32) -> Latency {
        Latency {
            url: String::new(),
            websocket: self.options.websocket.clone(),
            rate,
            seconds,
            warm_up: 3,
            rooms: 50,
            subscribers: 5,
            server_pids: self.child.id().into_iter().collect(),
            postgres_pid: Some(postgres_pid),
            kafka_pids: Vec::new(),
            writer: Writer {
                way: Way::Sql,
                database_url: Some(self.database.clone()),
                token_secret: self.options.secret.clone(),
                notify_channel: self.options.notify_channel.clone(),
            },
        }
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

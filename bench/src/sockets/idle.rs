//! Connections that do nothing: bytes of the server's memory for each.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use super::{swarm::Swarm, target::Target};
use crate::{
    cpu, machine,
    table::{Table, thousands},
};

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Idle {
    /// Where to connect; needs --server-pid.
    #[command(flatten)]
    pub target: Target,
    /// Connections
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    pub connections: u32,
    /// Channels that each one is subscribed to
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub subscriptions: u32,
    /// Channels in all
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub channels: u32,
}

/// What came out.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Of memory, each.
    pub bytes: f64,
    /// CPU time of the server for each connect, with its token and subscriptions.
    pub connect: Duration,
    /// Connects a second, one after the other.
    pub rate: f64,
    /// Resident before the first connection.
    pub base: u64,
}

impl Idle {
    /// Connects a few for warmth, then the others; reads the server's resident memory before and after.
    pub async fn measure(&self) -> anyhow::Result<Outcome> {
        let pid = self.target.server_pid.context("--server-pid says whose memory")?;
        let warm = self.connect(0, self.connections.min(100)).await?;
        drop(warm);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (base, cpu, begin) = (machine::resident(pid)?, cpu::of_threads(pid), std::time::Instant::now());
        let swarm = self.connect(100, self.connections).await?;
        let (wall, cpu) = (begin.elapsed(), cpu::of_threads(pid).saturating_sub(cpu));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let resident = machine::resident(pid)?;
        ensure!(swarm.len() == self.connections as usize, "not everybody is connected");
        let connections = f64::from(self.connections);
        Ok(Outcome {
            bytes: resident.saturating_sub(base) as f64 / connections,
            connect: cpu / self.connections,
            rate: connections / wall.as_secs_f64(),
            base,
        })
    }

    async fn connect(&self, first: u32, count: u32) -> anyhow::Result<Swarm> {
        let this = self.clone();
        let channels = move |number: usize| {
            let name = |index| (number * this.subscriptions as usize + index) % this.channels as usize;
            (0..this.subscriptions as usize)
                .map(|index| (name(index), this.target.channel(&format!("idle-{}", name(index)))))
                .collect()
        };
        let target = self.target.clone();
        tokio::task::spawn_blocking(move || Swarm::connect(&target, first as usize, count as usize, channels)).await?
    }
}

/// The table of several outcomes, each with its server and settings.
pub fn table(outcomes: &[(String, Idle, Outcome)]) -> Table {
    let mut table = Table::new(&[
        "server",
        "connections",
        "subscriptions each",
        "bytes a connection",
        "before, MiB",
        "connects a second, one after the other",
        "server CPU a connect",
    ]);
    for (server, idle, outcome) in outcomes {
        table.row([
            server.clone(),
            thousands(f64::from(idle.connections)),
            idle.subscriptions.to_string(),
            thousands(outcome.bytes),
            format!("{:.1}", outcome.base as f64 / f64::from(1 << 20)),
            thousands(outcome.rate),
            format!("{:.3} ms", outcome.connect.as_secs_f64() * 1e3),
        ]);
    }
    table
}

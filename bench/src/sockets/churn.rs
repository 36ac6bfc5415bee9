//! Clients that come and go: how many a second, and what is left of them in the server's memory.

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use super::{swarm::Swarm, target::Target};
use crate::{
    cpu, machine,
    table::{Table, thousands},
};

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Churn {
    /// Where to connect; needs --server-pid.
    #[command(flatten)]
    pub target: Target,
    /// Clients in all
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub clients: u32,
    /// Threads that connect and disconnect them
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
}

/// What came out.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Connects, each with its disconnect, a second.
    pub rate: f64,
    /// CPU time of the server for each.
    pub cpu: Duration,
    /// By how much the server's memory grew over the second half, in bytes.
    pub growth: i64,
}

impl Churn {
    /// Each client connects with a token, subscribes to one channel and leaves.
    pub async fn measure(&self) -> anyhow::Result<Outcome> {
        let pid = self.target.server_pid.context("--server-pid says whose CPU time")?;
        let (begin, cpu) = (Instant::now(), cpu::of_threads(pid));
        self.half(0).await?;
        let middle = machine::resident(pid)?;
        self.half(1).await?;
        let (wall, cpu) = (begin.elapsed(), cpu::of_threads(pid).saturating_sub(cpu));
        let end = machine::resident(pid)?;
        let growth = i64::try_from(end)? - i64::try_from(middle)?;
        Ok(Outcome { rate: f64::from(self.clients) / wall.as_secs_f64(), cpu: cpu / self.clients, growth })
    }

    async fn half(&self, half: u32) -> anyhow::Result<()> {
        let each = self.clients / 2 / self.threads;
        let threads = (0..self.threads).map(|thread| {
            let target = self.target.clone();
            let first = (half * self.threads + thread) * each;
            tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
                for number in first..first + each {
                    let channel = number as usize % 100;
                    let channels = |_| vec![(channel, target.channel(&format!("churn-{channel}")))];
                    drop(Swarm::connect(&target, number as usize, 1, channels)?);
                }
                Ok(())
            })
        });
        for thread in futures_util::future::join_all(threads).await {
            thread??;
        }
        Ok(())
    }
}

/// The table of several outcomes.
pub fn table(outcomes: &[(String, Churn, Outcome)]) -> Table {
    let mut table = Table::new(&[
        "server",
        "clients",
        "come and gone a second",
        "server CPU each",
        "memory after, against the middle",
    ]);
    for (server, churn, outcome) in outcomes {
        table.row([
            server.clone(),
            thousands(f64::from(churn.clients)),
            thousands(outcome.rate),
            format!("{:.3} ms", outcome.cpu.as_secs_f64() * 1e3),
            format!("{:+} KiB", outcome.growth / 1024),
        ]);
    }
    table
}

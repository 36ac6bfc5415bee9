//! One channel, many subscribers, or many channels for each: at a steady rate, or as fast as it goes with a number of publications in flight.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use tokio::{task::JoinSet, time::sleep_until};

use super::{
    publisher::Publisher,
    swarm::{Reading, Swarm},
    target::Target,
};
use crate::{
    cpu,
    delivery::Faults,
    percentiles::{Durations, Millis},
    table::{Table, thousands},
};

/// The last deliveries may take this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Fanout {
    /// Who publishes.
    #[command(flatten)]
    pub target: Target,
    /// How.
    #[command(flatten)]
    pub load: Load,
}

/// How much.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Clients, each of which hears the channel
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    pub subscribers: u32,
    /// Publications a second
    #[arg(long, conflicts_with = "window", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: Option<u32>,
    /// Publications in flight: the next one goes out when the oldest of these has come to every client
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub window: Option<u32>,
    /// Publications in all
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub publications: u32,
    /// Bytes of each one's data
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(50..=30_000))]
    pub size: u32,
    /// Which channels they hear.
    #[arg(skip)]
    pub channels: Channels,
}

/// Each subscriber hears `each` of `all` channels; every channel has as many subscribers as any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// How many there are.
    pub all: u32,
    /// How many of them each client hears.
    pub each: u32,
}

impl Default for Channels {
    fn default() -> Self {
        Self { all: 1, each: 1 }
    }
}

impl Channels {
    /// The numbers of those that this client hears.
    fn of(self, client: usize) -> impl Iterator<Item = usize> {
        let (all, each) = (self.all as usize, self.each as usize);
        (0..each).map(move |index| (client * each + index) % all)
    }

    /// How many of this many subscribers hear a channel.
    fn audience(self, subscribers: u32) -> anyhow::Result<usize> {
        ensure!(self.each <= self.all, "nobody can hear {} of {} channels", self.each, self.all);
        let subscriptions = subscribers * self.each;
        ensure!(
            subscriptions.is_multiple_of(self.all),
            "{subscribers} clients with {} channels each: not the same number for each of {}",
            self.each,
            self.all
        );
        Ok((subscriptions / self.all) as usize)
    }
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Frames or parts of frames that clients read.
    pub deliveries: usize,
    /// From the first publication to the last delivery.
    pub wall: Duration,
    /// CPU time of the server.
    pub cpu: Duration,
    /// Before the request → read.
    pub latency: Durations,
    /// Over all clients.
    pub faults: Faults,
}

impl Outcome {
    /// Deliveries for each second of the server's CPU time.
    pub fn per_cpu_second(&self) -> f64 {
        self.deliveries as f64 / self.cpu.as_secs_f64()
    }

    /// Deliveries a second.
    pub fn rate(&self) -> f64 {
        self.deliveries as f64 / self.wall.as_secs_f64()
    }
}

impl Load {
    /// "1,000 subscribers, 20/s"
    pub fn name(&self) -> String {
        let subscribers = thousands(f64::from(self.subscribers));
        let who = match self.channels {
            Channels { all: 1, .. } => format!("{subscribers} subscribers"),
            Channels { all, each } if all == each => format!("{subscribers} clients, all in the same {all} rooms"),
            Channels { all, each } => format!("{subscribers} clients, each in {each} of {all} rooms"),
        };
        match self.rate {
            Some(rate) => format!("{who}, {rate}/s"),
            None => format!("{who}, {} in flight", self.window()),
        }
    }

    /// How many of the publications go to this channel, as they take turns.
    fn published(&self, channel: usize) -> u64 {
        let (publications, all) = (self.publications as usize, self.channels.all as usize);
        (publications / all + usize::from(channel < publications % all)) as u64
    }

    fn window(&self) -> u32 {
        self.window.unwrap_or(4)
    }
}

impl Fanout {
    /// Connects, publishes, waits for the last delivery.
    pub async fn measure(&self) -> anyhow::Result<Outcome> {
        let load @ Load { subscribers, publications, size, channels, .. } = self.load;
        let audience = channels.audience(subscribers)?;
        let run = rand::random::<u32>();
        let names: Vec<String> =
            (0..channels.all).map(|channel| self.target.channel(&format!("fanout-{run:08x}-{channel}"))).collect();
        let publisher = Publisher::new(&self.target, names.clone(), size as usize);
        let target = self.target.clone();
        let heard = move |client| channels.of(client).map(|channel| (channel, names[channel].clone())).collect();
        let connect = move || Swarm::connect(&target, 0, subscribers as usize, heard);
        let reading = tokio::task::spawn_blocking(connect).await??.read(audience);
        tokio::time::sleep(Duration::from_secs(1)).await; // what connecting left to do is not the fan-out's

        let (before, begin) = (self.cpu(), Instant::now());
        let outcome = match self.load.rate {
            Some(rate) => self.steadily(&publisher, &reading, rate).await,
            None => self.in_flight(&publisher, &reading).await,
        };
        let (wall, cpu) = (begin.elapsed(), self.cpu().saturating_sub(before));
        let seen = tokio::task::spawn_blocking(move || reading.stop(|channel| load.published(channel))).await??;
        outcome?;
        ensure!(seen.latencies.len() <= audience * publications as usize + seen.faults.repeated, "read too much");
        let deliveries = seen.latencies.len();
        Ok(Outcome { deliveries, wall, cpu, latency: Durations::of(seen.latencies), faults: seen.faults })
    }

    fn cpu(&self) -> Duration {
        self.target.server_pid.map_or(Duration::ZERO, cpu::of_threads)
    }

    async fn steadily(&self, publisher: &Publisher, reading: &Reading, rate: u32) -> anyhow::Result<()> {
        let start = tokio::time::Instant::now();
        for number in 0..self.load.publications {
            sleep_until(start + Duration::from_secs(1) * number / rate).await;
            publisher.publish(number).await?;
        }
        arrived(reading, self.load.publications).await
    }

    async fn in_flight(&self, publisher: &Publisher, reading: &Reading) -> anyhow::Result<()> {
        let (publications, window) = (self.load.publications, self.load.window());
        let mut requests = JoinSet::new();
        for number in 0..publications {
            if number >= window {
                arrived(reading, 1).await?;
            }
            let publisher = publisher.clone();
            requests.spawn(async move { publisher.publish(number).await });
        }
        while let Some(answer) = requests.join_next().await {
            answer??;
        }
        arrived(reading, window.min(publications)).await
    }
}

/// Waits until this many more publications have come to all clients.
async fn arrived(reading: &Reading, publications: u32) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        let permits = tokio::time::timeout(Duration::from_secs(1), reading.arrived.acquire_many(publications)).await;
        match permits {
            Ok(permits) => {
                permits?.forget();
                return Ok(());
            }
            // The thread's own error says why.
            Err(_) if !reading.goes_on() => return Ok(()),
            Err(_) if begin.elapsed() < PATIENCE => {}
            Err(late) => return Err(late).context("the last deliveries did not come"),
        }
    }
}

/// The table of several outcomes, each with its name and load.
pub fn table(outcomes: &[(String, Load, Outcome)]) -> Table {
    let mut table = Table::new(&[
        "server",
        "load",
        "deliveries/s",
        "deliveries per server CPU-second",
        "written → read p50 / p90 / p99 / max ms",
        "lost / repeated / out of order",
    ]);
    for (server, load, outcome) in outcomes {
        table.row([
            server.clone(),
            load.name(),
            thousands(outcome.rate()),
            if outcome.cpu.is_zero() { "–".to_owned() } else { thousands(outcome.per_cpu_second()) },
            outcome.latency.summary(),
            outcome.faults.to_string(),
        ]);
    }
    table
}

/// p99 in words.
pub(super) fn p99(outcome: &Outcome) -> Millis {
    Millis(outcome.latency.percentile(99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_has_the_same_number_of_subscribers() {
        for (subscribers, all, each) in [(200, 50, 50), (200, 500, 50), (3, 1, 1), (10, 4, 2)] {
            let channels = Channels { all, each };
            let mut heard = vec![0; all as usize];
            (0..subscribers).flat_map(|client| channels.of(client as usize)).for_each(|channel| heard[channel] += 1);
            assert_eq!(heard, vec![channels.audience(subscribers).unwrap(); all as usize]);
        }
        assert!(Channels { all: 3, each: 2 }.audience(2).is_err());
        assert!(Channels { all: 2, each: 3 }.audience(2).is_err());
    }
}

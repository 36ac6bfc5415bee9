//! From commit to client at a steady rate: open loop, exponential gaps, so that a slow answer delays no later message.
//!
//! Commit acknowledged → frame read, on the clock of one machine, over every delivery to every client. It can be
//! slightly negative: relay, hub and client may be quicker than the backend's task that hears of the commit.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use futures_util::future::try_join_all;
use sqlx::{Connection, PgConnection};
use tokio::{task::JoinSet, time::sleep_until};

use crate::{
    console,
    cpu::{CpuTime, Watched, per_message},
    delivery::{Faults, Line, Sighting, newest},
    latency_writer::{Pen, Writer, admit},
    percentiles::{Durations, Millis},
    person::Posted,
    stage::{Stage, websocket_of},
    subscriber::Subscriber,
    table::Table,
    token,
};

/// What is written: together with its envelope about the 200 bytes of the peer's measurement.
pub(crate) const TEXT: &str =
    "Fifty rooms, four people, and one sentence of an ordinary length, as it is said in a chat.";
/// One read of a client takes a few frames at most.
const READ_BUFFER: usize = 4 << 10;
/// How long the last deliveries may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Latency {
    /// The backend, with the demo's people
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    pub url: String,
    /// The hub's WebSocket [default: /connection/websocket of the backend's address]
    #[arg(long)]
    pub websocket: Option<String>,
    /// Messages a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub rate: u32,
    /// How long to measure
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// How long to send before, unmeasured
    #[arg(long, default_value_t = 3)]
    pub warm_up: u64,
    /// Rooms that the messages are spread over
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rooms: u16,
    /// Clients, each of which hears every room
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub subscribers: u16,
    /// Processes of the product whose CPU time is counted
    #[arg(long = "server-pid")]
    pub server_pids: Vec<u32>,
    /// PostgreSQL's first process, to count its CPU time as well
    #[arg(long)]
    pub postgres_pid: Option<u32>,
    /// Processes of Kafka and Connect whose CPU time is counted
    #[arg(long = "kafka-pid")]
    pub kafka_pids: Vec<u32>,
    /// Who writes.
    #[command(flatten)]
    pub writer: Writer,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Asked for, a second.
    pub rate: u32,
    /// Written while it was measured.
    pub messages: usize,
    /// Written in all, before it was measured too.
    pub written: usize,
    /// Commit acknowledged → frame read.
    pub from_commit: Durations,
    /// POST sent → frame read.
    pub from_post: Durations,
    /// POST sent → reply read.
    pub reply: Durations,
    /// Over all clients.
    pub faults: Faults,
    /// Used meanwhile.
    pub cpu: CpuTime,
    /// How long it took.
    pub wall: Duration,
}

impl Latency {
    /// Signs in, makes rooms, connects clients, and measures.
    pub async fn measure(&self) -> anyhow::Result<Outcome> {
        let rooms = usize::from(self.rooms);
        let stage = match (&self.writer.token_secret, &self.writer.database_url) {
            (Some(_), Some(database)) => Stage::by_sql(&mut PgConnection::connect(database).await?, rooms).await?,
            (Some(_), None) => bail!("--token-secret needs --database-url, where the rooms are made"),
            (None, _) => Stage::prepare(&self.url, rooms).await?,
        };
        self.measure_on(&stage).await
    }

    /// As [`Latency::measure`], in rooms that are there.
    pub async fn measure_on(&self, stage: &Stage) -> anyhow::Result<Outcome> {
        let websocket = self.websocket.clone().unwrap_or_else(|| websocket_of(&self.url));
        let pen = self.writer.pen(stage).await?;
        if let Pen::Sql { database, .. } = &pen {
            admit(database, stage).await?;
        }
        let clients = self.clients(stage, &websocket).await?;
        console::progress(format_args!(
            "latency: {} messages a second for {} s, {} rooms, {} clients",
            self.rate, self.seconds, self.rooms, self.subscribers
        ));
        let warm_up = write(&pen, stage, self.rate, Duration::from_secs(self.warm_up)).await?;
        wait(&clients, &warm_up).await?;

        let watched =
            Watched { server: self.server_pids.clone(), postgres: self.postgres_pid, kafka: self.kafka_pids.clone() };
        let (before, start) = (watched.read(), Instant::now());
        let posted = write(&pen, stage, self.rate, Duration::from_secs(self.seconds)).await?;
        let waited = wait(&clients, &posted).await;
        let (cpu, wall) = (watched.since(before), start.elapsed());
        if let Err(error) = waited {
            console::progress(format_args!("{error:#}"));
        }

        let seen = try_join_all(clients.into_iter().map(Subscriber::leave)).await?;
        Ok(self.evaluate(&warm_up, &posted, &seen, cpu, wall))
    }

    async fn clients(&self, stage: &Stage, websocket: &str) -> anyhow::Result<Vec<Subscriber>> {
        let count = usize::from(self.subscribers);
        let Some(secret) = &self.writer.token_secret else {
            return stage.subscribe(websocket, count, READ_BUFFER).await;
        };
        let token = token::sign("bench", secret)?;
        let clients = (0..count).map(|_| Subscriber::subscribe(websocket, &token, &stage.rooms, READ_BUFFER));
        try_join_all(clients).await
    }

    fn evaluate(
        &self,
        warm_up: &[Posted],
        posted: &[Posted],
        seen: &[Vec<Sighting>],
        cpu: CpuTime,
        wall: Duration,
    ) -> Outcome {
        let measured: HashMap<Line, &Posted> = posted.iter().map(|post| (post.line, post)).collect();
        let written: HashSet<Line> = warm_up.iter().chain(posted).map(|post| post.line).collect();
        let deliveries = || {
            let sightings = seen.iter().flatten();
            sightings.filter_map(|sighting| Some((sighting.at, *measured.get(&sighting.line)?)))
        };
        Outcome {
            rate: self.rate,
            messages: posted.len(),
            written: warm_up.len() + posted.len(),
            from_commit: Durations::of(deliveries().map(|(at, post)| at - post.committed_at).collect()),
            from_post: Durations::of(deliveries().map(|(at, post)| at - post.sent_at).collect()),
            reply: Durations::of(posted.iter().map(|post| post.answered_at - post.sent_at).collect()),
            faults: seen.iter().map(|seen| Faults::of(&written, seen)).fold(Faults::default(), Faults::and),
            cpu,
            wall,
        }
    }
}

/// Sends at random moments, `rate` a second on average, and returns when every reply has come.
async fn write(pen: &Pen, stage: &Stage, rate: u32, time: Duration) -> anyhow::Result<Vec<Posted>> {
    let (start, mut due) = (tokio::time::Instant::now(), Duration::ZERO);
    let mut posts = JoinSet::new();
    for number in 0_usize.. {
        due += exponential_gap(rate, rand::random());
        if due >= time {
            break;
        }
        sleep_until(start + due).await;
        let (pen, rooms) = (pen.clone(), stage.rooms.len());
        let room = stage.rooms[number % rooms];
        posts.spawn(async move { pen.post(room, number, rooms, TEXT).await });
    }
    let mut posted = Vec::new();
    while let Some(post) = posts.join_next().await {
        posted.push(post?.context("a message was not written")?);
    }
    Ok(posted)
}

/// The time until the next event of a Poisson process; `uniform` is in [0, 1).
fn exponential_gap(rate: u32, uniform: f64) -> Duration {
    Duration::from_secs_f64(-(1.0 - uniform).ln() / f64::from(rate))
}

async fn wait(clients: &[Subscriber], posted: &[Posted]) -> anyhow::Result<()> {
    let newest = newest(posted.iter().map(|post| post.line));
    for (number, client) in clients.iter().enumerate() {
        let complete = client.has_seen(&newest, PATIENCE).await;
        ensure!(complete, "client {number} has not read everything within {PATIENCE:?}");
    }
    Ok(())
}

/// The table of several outcomes, each with its name.
pub fn table(outcomes: &[(&str, Outcome)]) -> Table {
    let mut table = Table::new(&[
        "shape",
        "messages/s",
        "messages",
        "commit → read p50 / p90 / p99 / max ms",
        "POST → read p50 / p99",
        "POST → reply p50 / p99",
        "product CPU a message",
        "PostgreSQL CPU a message",
        "lost / repeated / out of order",
        "foreign CPU",
    ]);
    for (shape, outcome) in outcomes {
        table.row([
            (*shape).to_owned(),
            outcome.rate.to_string(),
            outcome.messages.to_string(),
            outcome.from_commit.summary(),
            p50_p99(&outcome.from_post),
            p50_p99(&outcome.reply),
            per_message(outcome.cpu.server, outcome.messages),
            per_message(outcome.cpu.postgres, outcome.messages),
            outcome.faults.to_string(),
            outcome.cpu.foreign(outcome.wall),
        ]);
    }
    table
}

fn p50_p99(durations: &Durations) -> String {
    format!("{} / {}", Millis(durations.percentile(50)), Millis(durations.percentile(99)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_have_the_mean_of_the_rate() {
        let gaps: Duration = (0..10_000_u32).map(|step| exponential_gap(500, f64::from(step) / 10_000.0)).sum();
        let mean = gaps / 10_000;
        assert!((Duration::from_micros(1990)..Duration::from_micros(2010)).contains(&mean), "{mean:?}");
    }

    #[test]
    fn every_delivery_counts_and_the_warm_up_does_not() {
        let post =
            |version, sent_at| Posted { line: (1, version), sent_at, committed_at: sent_at + 500, answered_at: 0 };
        let sight = |version, at| Sighting { line: (1, version), at };
        let latency = Latency {
            url: String::new(),
            websocket: None,
            rate: 1,
            seconds: 1,
            warm_up: 1,
            rooms: 1,
            subscribers: 2,
            server_pids: Vec::new(),
            postgres_pid: None,
            kafka_pids: Vec::new(),
            writer: Writer::default(),
        };
        let seen = [vec![sight(1, 9), sight(2, 1400)], vec![sight(2, 1600)]];
        let outcome = latency.evaluate(&[post(1, 0)], &[post(2, 1000)], &seen, CpuTime::default(), Duration::ZERO);
        assert_eq!(outcome.from_commit.summary(), "-0.10 / 0.10 / 0.10 / 0.10");
        assert_eq!(outcome.from_post.percentile(50), 400);
        assert_eq!(outcome.faults, Faults { lost: 1, ..Faults::default() });
    }
}

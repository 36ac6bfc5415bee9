//! How many messages a second are written: closed loop, many writers, over many rooms and in one, beside pgbench with
//! the same SQL.
//!
//! Without a relay nothing reads the outbox: that is the write path alone. With one, a relay in this process drains it
//! meanwhile into nothing and uses the same cores, as in the demo. Either way the tables are emptied between two runs.
//! The database is made for the run and dropped afterwards.

mod http;
mod pgbench;
mod poster;
mod scene;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use clap::Args;
use futures_util::future::try_join_all;

pub use self::http::through_http;
use self::{
    pgbench::Pgbench,
    poster::{Wake, through_poster},
    scene::Scene,
};
use crate::{
    console,
    cpu::{CpuTime, Watched, per_message},
    percentiles::{Durations, Millis, median},
    table::{Table, thousands},
};

/// What every writer says.
const TEXT: &str = "Fifty rooms, four people, and one sentence of an ordinary length, as it is said in a chat.";
/// What comes first, unmeasured: connections, plans, caches.
const WARM_UP: Duration = Duration::from_millis(500);

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Writes {
    /// A PostgreSQL where a database may be created
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// A running product, to measure its HTTP API as well
    #[arg(long)]
    pub url: Option<String>,
    /// Only the HTTP API
    #[arg(long, requires = "url")]
    pub http_only: bool,
    /// How much.
    #[command(flatten)]
    pub load: Load,
    /// PostgreSQL's first process, to count its CPU time as well
    #[arg(long)]
    pub postgres_pid: Option<u32>,
}

/// How much is written.
#[derive(Args, Clone, Copy, Debug)]
pub struct Load {
    /// Writers, each of which waits for its answer before it writes again
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub writers: u16,
    /// Rooms that they write to at random
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub write_rooms: u16,
    /// Seconds of each run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub write_seconds: u64,
    /// How often everything is run, in turns; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=10))]
    pub rounds: u16,
}

/// A way to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// PostgreSQL's own client, in C.
    Pgbench,
    /// The backend's `Poster`, with nobody to drain the outbox.
    Poster(Wake),
    /// The same while a relay drains it.
    Drained(Wake),
}

impl Way {
    const ALL: [Self; 7] = [
        Self::Pgbench,
        Self::Poster(Wake::Nobody),
        Self::Poster(Wake::InProcess),
        Self::Poster(Wake::Notify),
        Self::Drained(Wake::Nobody),
        Self::Drained(Wake::InProcess),
        Self::Drained(Wake::Notify),
    ];

    fn name(self) -> String {
        match self {
            Self::Pgbench => "pgbench, same SQL".to_owned(),
            Self::Poster(wake) => format!("Poster, {wake}"),
            Self::Drained(Wake::Nobody) => "Poster + relay that polls every 300 ms".to_owned(),
            Self::Drained(wake) => format!("Poster + relay, {wake}"),
        }
    }
}

/// One run.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Written and answered.
    pub messages: usize,
    /// In this time.
    pub wall: Duration,
    /// Of each answer.
    pub answers: Durations,
    /// Used meanwhile; the client is this program, or pgbench.
    pub cpu: CpuTime,
}

impl Figure {
    /// Messages a second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.wall.as_secs_f64()
    }
}

/// All runs of one way in one shape.
#[derive(Clone, Debug)]
pub struct Line {
    /// 1 or many.
    pub rooms: u16,
    /// How it was written.
    pub name: String,
    /// The way, unless it was HTTP.
    pub way: Option<Way>,
    /// Each run.
    pub figures: Vec<Figure>,
}

impl Line {
    /// The run in the middle.
    pub fn median(&self) -> Option<Figure> {
        median(&self.figures, Figure::rate)
    }
}

impl Writes {
    /// Runs every way in every shape, `rounds` times in turns.
    pub async fn measure(&self) -> anyhow::Result<Vec<Line>> {
        let mut lines = Vec::new();
        if !self.http_only {
            let scene = Scene::create(&self.database_url, self.load.write_rooms).await?;
            let measured = self.measure_on(&scene).await;
            scene.remove().await?;
            lines = measured?;
        }
        if let Some(url) = &self.url {
            lines.extend(
                through_http(url, self.load, &Watched { postgres: self.postgres_pid, ..Watched::default() }).await?,
            );
        }
        Ok(lines)
    }

    async fn measure_on(&self, scene: &Scene) -> anyhow::Result<Vec<Line>> {
        let pgbench = Pgbench::find();
        if pgbench.is_none() {
            console::progress(
                "pgbench is not installed (Debian: apt install postgresql-contrib), so nothing is compared",
            );
        }
        let ways = Way::ALL.into_iter().filter(|&way| way != Way::Pgbench || pgbench.is_some());
        let shapes = ways.flat_map(|way| [(self.load.write_rooms, way), (1, way)]);
        let mut lines: Vec<Line> =
            shapes.map(|(rooms, way)| Line { rooms, name: way.name(), way: Some(way), figures: Vec::new() }).collect();
        lines.sort_by_key(|line| line.rooms == 1);
        for round in 1..=self.load.rounds {
            for line in &mut lines {
                let (rooms, name) = (line.rooms, &line.name);
                console::progress(format_args!(
                    "writes: {rooms} room(s), {name}, round {round} of {}",
                    self.load.rounds
                ));
                let Some(way) = line.way else { continue };
                line.figures.push(self.run(scene, pgbench.as_ref(), rooms, way).await?);
            }
        }
        Ok(lines)
    }

    async fn run(&self, scene: &Scene, pgbench: Option<&Pgbench>, rooms: u16, way: Way) -> anyhow::Result<Figure> {
        scene.reset().await?;
        let load = Load { write_rooms: rooms, ..self.load };
        let watched = Watched { postgres: self.postgres_pid, ..Watched::default() };
        match (way, pgbench) {
            (Way::Pgbench, Some(pgbench)) => pgbench.run(scene, load, &watched).await,
            (Way::Pgbench, None) => anyhow::bail!("pgbench is not installed"),
            (Way::Poster(wake), _) => through_poster(scene, load, wake, false, &watched).await,
            (Way::Drained(wake), _) => through_poster(scene, load, wake, true, &watched).await,
        }
    }
}

/// Every writer writes, waits for the answer, and writes again. What began before the warm-up was over does not count.
async fn closed_loop<W, F>(load: Load, watched: &Watched, write: W) -> anyhow::Result<(Figure, usize)>
where
    W: Fn(usize) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = anyhow::Result<()>> + Send,
{
    let measured_from = Instant::now() + WARM_UP;
    let until = measured_from + Duration::from_secs(load.write_seconds);
    let writers = (0..usize::from(load.writers)).map(|writer| {
        let write = write.clone();
        tokio::spawn(async move {
            let (mut answers, mut all) = (Vec::new(), 0);
            loop {
                let begin = Instant::now();
                if begin >= until {
                    return anyhow::Ok((answers, all));
                }
                write(writer).await?;
                all += 1;
                if begin >= measured_from && Instant::now() <= until {
                    answers.push(i64::try_from(begin.elapsed().as_micros())?);
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    tokio::time::sleep_until(measured_from.into()).await;
    let (before, begin) = (watched.read(), Instant::now());
    tokio::time::sleep_until(until.into()).await;
    let (cpu, wall) = (watched.since(before), begin.elapsed());
    let (mut answers, mut all) = (Vec::new(), 0);
    for ended in try_join_all(writers).await? {
        let (more, count) = ended?;
        answers.extend(more);
        all += count;
    }
    let figure = Figure { messages: answers.len(), wall, answers: Durations::of(answers), cpu };
    Ok((figure, all))
}

/// The median of a way in a shape.
pub fn median_of(lines: &[Line], many_rooms: bool, way: Way) -> Option<Figure> {
    lines.iter().find(|line| (line.rooms > 1) == many_rooms && line.way == Some(way))?.median()
}

/// The table of all lines.
pub fn table(lines: &[Line]) -> Table {
    let mut table = Table::new(&[
        "rooms",
        "way",
        "messages/s, each run",
        "median",
        "of pgbench",
        "answer p50 / p99 ms",
        "PostgreSQL CPU a message",
        "client CPU a message",
        "foreign CPU",
    ]);
    for line in lines {
        let Some(middle) = line.median() else { continue };
        let pgbench = median_of(lines, line.rooms > 1, Way::Pgbench).map(|figure| figure.rate());
        let runs: Vec<String> = line.figures.iter().map(|figure| thousands(figure.rate())).collect();
        let (p50, p99) = (Millis(middle.answers.percentile(50)), Millis(middle.answers.percentile(99)));
        table.row([
            line.rooms.to_string(),
            line.name.clone(),
            runs.join(" · "),
            format!("**{}**", thousands(middle.rate())),
            pgbench.map_or("–".to_owned(), |pgbench| format!("{:.0} %", 100.0 * middle.rate() / pgbench)),
            format!("{p50} / {p99}"),
            per_message(middle.cpu.postgres, middle.messages),
            per_message(middle.cpu.client, middle.messages),
            middle.cpu.foreign(middle.wall),
        ]);
    }
    table
}

/// By how much a wake-up lowers the rate of the same shape without one, in percent of it.
pub fn wake_up_cost(lines: &[Line], many_rooms: bool, drained: bool, wake: Wake) -> Option<f64> {
    let way = |wake| if drained { Way::Drained(wake) } else { Way::Poster(wake) };
    let without = median_of(lines, many_rooms, way(Wake::Nobody))?.rate();
    let with = median_of(lines, many_rooms, way(wake))?.rate();
    Some(100.0 * (1.0 - with / without))
}

pub use poster::Wake as WakeUp;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(way: Way, rates: &[usize]) -> Line {
        let figure = |&messages| Figure {
            messages,
            wall: Duration::from_secs(1),
            answers: Durations::default(),
            cpu: CpuTime::default(),
        };
        Line { rooms: 200, name: way.name(), way: Some(way), figures: rates.iter().map(figure).collect() }
    }

    #[test]
    fn a_wake_up_costs_what_the_median_loses() {
        let lines =
            [line(Way::Poster(Wake::Nobody), &[900, 1000, 5000]), line(Way::Poster(Wake::InProcess), &[950, 990, 980])];
        let cost = wake_up_cost(&lines, true, false, Wake::InProcess).unwrap();
        assert!((cost - 2.0).abs() < 0.01, "{cost}");
        assert_eq!(wake_up_cost(&lines, true, false, Wake::Notify), None);
    }

    #[tokio::test]
    async fn only_what_begins_after_the_warm_up_counts() {
        let load = Load { writers: 2, write_rooms: 1, write_seconds: 1, rounds: 1 };
        let write = |_| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(())
        };
        let (figure, all) = closed_loop(load, &Watched::default(), write).await.unwrap();
        assert!(figure.messages < all && figure.answers.percentile(1) >= 20_000, "{} of {all}", figure.messages);
    }
}

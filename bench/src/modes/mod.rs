//! Every broadcast mode under the same loads, one after the other: from commit to client, saturation, and what a message
//! costs in CPU and write-ahead log.
//!
//! Each case has just what its mode needs: the outbox no Kafka, the log no Debezium. All of them share one PostgreSQL and
//! one database; the product, in one process, starts anew for each group of cases. Kafka and Connect run beside it, as
//! `./run --cdc` starts them, and warm up before anything of theirs is measured.

mod case;
mod figures;
mod flood;
mod product;
mod report;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use debezium::Profile;
use protocol::Mode;

use self::{case::Case, figures::Figures, flood::Flood};
pub(crate) use self::{case::Group, product::Running};
use crate::{
    console, machine,
    measurement::Measurement,
    postgres::{self, Postgres},
    stage::Stage,
};

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Modes {
    /// The executable and the report.
    #[command(flatten)]
    pub measurement: Measurement,
    /// Directory of `postgres` and `initdb` [default: as the demo finds them]
    #[arg(long, env = "ROOMCAST_POSTGRES_BIN")]
    pub postgres_bin: Option<PathBuf>,
    /// Only these: api, outbox, wal, cdc, `api_cdc`, message
    #[arg(long = "mode", value_delimiter = ',')]
    pub modes: Vec<Mode>,
    /// Debezium's settings: ours (tuned), those of the articles (seed)
    #[arg(long = "profile", value_delimiter = ',', default_values_t = [Profile::Tuned, Profile::Seed])]
    pub profiles: Vec<Profile>,
    /// Messages a second that latency is measured at
    #[arg(long = "rate", value_delimiter = ',', default_values_t = [1, 20, 200, 1000], value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub rates: Vec<u32>,
    /// Seconds of each rate
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Seconds that JVMs are warmed up for, at 200 messages a second
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub warm_up: u64,
    /// How the saturation is found.
    #[command(flatten)]
    pub flood: Flood,
}

/// Rooms that messages are spread over.
const ROOMS: u16 = 50;
/// Clients, each of which hears every room.
const CLIENTS: u16 = 5;

impl Modes {
    /// Runs every case and prints the report.
    pub async fn run(&self) -> anyhow::Result<()> {
        let executable = self.measurement.executable().await?;
        let load = machine::load();
        let (figures, version) =
            Postgres::lend(self.postgres_bin.clone(), async |postgres| self.measure(&executable, postgres).await)
                .await?;
        let head = [
            ("Roomcast", machine::first_line_of(&executable.to_string_lossy(), &["--version"])),
            ("PostgreSQL", format!("{}; {}", version, postgres::SETTINGS_TEXT)),
            ("Kafka, Debezium", format!("{}, {}", debezium::KAFKA_VERSION, debezium::DEBEZIUM_VERSION)),
            ("load average before the first run", load),
        ];
        let report = report::of(&figures, &machine::table(&head), self)?;
        self.measurement.report(&report)
    }

    async fn measure(&self, executable: &Path, postgres: &Postgres) -> anyhow::Result<Vec<Figures>> {
        let database = postgres::create_database(&postgres.url("postgres"), "modes").await?;
        let db = backend::connect(&database, 2).await?;
        backend::MIGRATOR.run(&db).await?;
        let mut figures = Vec::new();
        for group in Group::all(&self.profiles) {
            let cases: Vec<Case> = group.cases().filter(|case| self.wants(case.mode)).collect();
            if cases.is_empty() {
                continue;
            }
            let running = Running::start(group, executable, postgres, &db, &database).await?;
            let measured = self.measure_group(&running, &cases).await;
            running.stop(&db).await?;
            figures.extend(measured?);
        }
        Ok(figures)
    }

    fn wants(&self, mode: Mode) -> bool {
        self.modes.is_empty() || self.modes.contains(&mode)
    }

    async fn measure_group(&self, running: &Running, cases: &[Case]) -> anyhow::Result<Vec<Figures>> {
        let stage = Stage::prepare(running.url(), usize::from(ROOMS)).await?;
        let mut figures = Vec::new();
        for &case in cases {
            console::progress(format_args!("{case}: load average {}", machine::load()));
            stage.people[0].switch_to(case.mode).await.with_context(|| format!("switching to {case}"))?;
            if case.profile.is_some() && self.warm_up > 0 {
                running.latency(200, self.warm_up).measure_on(&stage).await.context("warming up")?;
            }
            figures.push(self.measure_case(running, case, &stage).await.with_context(|| case.to_string())?);
        }
        Ok(figures)
    }

    async fn measure_case(&self, running: &Running, case: Case, stage: &Stage) -> anyhow::Result<Figures> {
        let idle = running.idle(Duration::from_secs(5)).await;
        let before = running.counters().await?;
        let mut latencies = Vec::new();
        for &rate in &self.rates {
            // A quiet room needs its time, or there is nothing to take a percentile of.
            let seconds = if rate < 10 { self.seconds.max(20) } else { self.seconds };
            latencies.push(running.latency(rate, seconds).measure_on(stage).await?);
        }
        let flood = self.flood.measure(running, stage).await?;
        let counted = running.counters().await?.since(before);
        Ok(Figures { case, idle, latencies, flood, counted })
    }
}

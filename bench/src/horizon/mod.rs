//! What a held snapshot costs: a dump, an analyst or a forgotten psql keeps every dead row of a database, and a queue that
//! deletes what it carried walks over them.
//!
//! Each case is written to for as long without a snapshot as with one, at the same rate, and is measured at the end of that
//! time, when most is dead; the outbox drains a backlog then, too.

mod peer;
mod report;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use debezium::Profile;
use protocol::Mode;
use sqlx::{Connection, Executor, PgConnection};

use self::peer::{Peer, PeerOptions};
use crate::{
    console,
    drain::{Drain, Run},
    latency::{Latency, Outcome},
    latency_writer::{Way, Writer},
    machine,
    measurement::Measurement,
    modes::{Group, Running},
    postgres::{self, Postgres},
    stage::Stage,
};

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Horizon {
    /// The executable and the report.
    #[command(flatten)]
    pub measurement: Measurement,
    /// Directory of `postgres` and `initdb` [default: as the demo finds them]
    #[arg(long, env = "ROOMCAST_POSTGRES_BIN")]
    pub postgres_bin: Option<PathBuf>,
    /// Only these: outbox, wal, cdc
    #[arg(long = "mode", value_delimiter = ',', default_values_t = [Mode::Outbox, Mode::Wal, Mode::Cdc])]
    pub modes: Vec<Mode>,
    /// Messages a second
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub rate: u32,
    /// Seconds that are written before it is measured, without a snapshot and with one
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(5..=7200))]
    pub held: u64,
    /// Seconds that are measured
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(5..=600))]
    pub seconds: u64,
    /// Rows of the backlog
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(i64).range(50..=1_000_000))]
    pub rows: i64,
    /// A peer that empties the same table.
    #[command(flatten)]
    pub peer: PeerOptions,
}

/// One case in one of its two states.
pub(crate) struct Figures {
    pub(crate) case: String,
    pub(crate) held: bool,
    pub(crate) latency: Outcome,
    /// Of the outbox and of the peer.
    pub(crate) drain: Vec<Run>,
}

/// A snapshot of a database that is held until this is dropped.
struct Snapshot(#[expect(dead_code, reason = "held, not used")] PgConnection);

impl Snapshot {
    async fn take(database: &str) -> anyhow::Result<Self> {
        let mut connection = PgConnection::connect(database).await?;
        connection.execute("begin isolation level repeatable read; select 1").await?;
        Ok(Self(connection))
    }
}

impl Horizon {
    /// Runs every case and prints the report.
    pub async fn run(&self) -> anyhow::Result<()> {
        let executable = self.measurement.executable().await?;
        let load = machine::load();
        let (figures, version) =
            Postgres::lend(self.postgres_bin.clone(), async |postgres| self.measure(&executable, postgres).await)
                .await?;
        let head = machine::table(&[
            ("Roomcast", machine::first_line_of(&executable.to_string_lossy(), &["--version"])),
            ("PostgreSQL", format!("{}; {}", version, postgres::SETTINGS_TEXT)),
            ("load average before the first run", load),
        ]);
        self.measurement.report(&report::of(&figures, &head, self)?)
    }

    async fn measure(&self, executable: &Path, postgres: &Postgres) -> anyhow::Result<Vec<Figures>> {
        let mut figures = Vec::new();
        for &mode in &self.modes {
            figures.extend(self.measure_mode(mode, executable, postgres).await.with_context(|| mode.to_string())?);
        }
        if let Some(command) = &self.peer.command {
            figures.extend(self.measure_outbox_by_sql(executable, postgres).await?);
            figures.extend(self.measure_peer(command, postgres).await.context("the peer")?);
        }
        Ok(figures)
    }

    async fn measure_mode(&self, mode: Mode, executable: &Path, postgres: &Postgres) -> anyhow::Result<Vec<Figures>> {
        let database = postgres::create_database(&postgres.url("postgres"), &format!("horizon_{mode}")).await?;
        let db = backend::connect(&database, 2).await?;
        backend::MIGRATOR.run(&db).await?;
        let group = match mode {
            Mode::Api | Mode::Outbox => Group::Plain,
            Mode::Wal => Group::Log,
            Mode::Cdc | Mode::ApiCdc | Mode::Message => Group::Kafka(Profile::Tuned),
        };
        let running = Running::start(group, executable, postgres, &db, &database).await?;
        let latency = running.latency(self.rate, self.seconds);
        let measured = async {
            let stage = Stage::prepare(running.url(), usize::from(latency.rooms)).await?;
            stage.people[0].switch_to(mode).await?;
            let drains = mode == Mode::Outbox;
            self.both(&mode.to_string(), &latency, &stage, &database, drains).await
        };
        let measured = measured.await;
        running.stop(&db).await?;
        measured
    }

    /// As the peer is written to, so that both are measured on the same work.
    async fn measure_outbox_by_sql(&self, executable: &Path, postgres: &Postgres) -> anyhow::Result<Vec<Figures>> {
        let database = postgres::create_database(&postgres.url("postgres"), "horizon_sql").await?;
        let db = backend::connect(&database, 2).await?;
        let running = Running::start(Group::Plain, executable, postgres, &db, &database).await?;
        let writer = Writer { way: Way::Sql, database_url: Some(database.clone()), ..Writer::default() };
        let latency = Latency { writer, ..running.latency(self.rate, self.seconds) };
        let measured = async {
            let stage = Stage::prepare(running.url(), usize::from(latency.rooms)).await?;
            self.both("outbox, written by SQL", &latency, &stage, &database, true).await
        };
        let measured = measured.await;
        running.stop(&db).await?;
        measured
    }

    async fn measure_peer(&self, command: &str, postgres: &Postgres) -> anyhow::Result<Vec<Figures>> {
        let database = postgres::create_database(&postgres.url("postgres"), "horizon_peer").await?;
        let db = backend::connect(&database, 2).await?;
        backend::MIGRATOR.run(&db).await?;
        let peer = Peer::start(command, &self.peer, &database).await?;
        let latency = peer.latency(self.rate, self.seconds, postgres.pid());
        let stage = Stage::by_sql(&mut PgConnection::connect(&database).await?, usize::from(latency.rooms)).await?;
        let measured = self.both("the peer, written by SQL", &latency, &stage, &database, true).await;
        peer.stop().await?;
        measured
    }

    /// Without a snapshot, then with one.
    async fn both(
        &self,
        case: &str,
        latency: &Latency,
        stage: &Stage,
        database: &str,
        drains: bool,
    ) -> anyhow::Result<Vec<Figures>> {
        let mut figures = Vec::new();
        for held in [false, true] {
            let how = if held { "with a snapshot held" } else { "without" };
            console::progress(format_args!("{case}, {how}: {} s", self.held + self.seconds));
            let _snapshot = if held { Some(Snapshot::take(database).await?) } else { None };
            let latency = Latency { warm_up: self.held, ..latency.clone() };
            let outcome = latency.measure_on(stage).await?;
            let drain = if drains { self.drain(&latency, stage, database).await? } else { Vec::new() };
            figures.push(Figures { case: case.to_owned(), held, latency: outcome, drain });
        }
        Ok(figures)
    }

    async fn drain(&self, latency: &Latency, stage: &Stage, database: &str) -> anyhow::Result<Vec<Run>> {
        let drain = Drain {
            url: latency.url.clone(),
            websocket: latency.websocket.clone(),
            token_secret: latency.writer.token_secret.clone(),
            database_url: database.to_owned(),
            rows: self.rows,
            rooms: latency.rooms,
            runs: 3,
            no_subscriber: false,
            start_relay: None,
            hub: None,
            server_pids: latency.server_pids.clone(),
            postgres_pid: latency.postgres_pid,
        };
        drain.measure_on(stage).await
    }
}

//! Everything in one go: builds, starts, measures both shapes, compares with the aims, stops what it started.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;

use crate::{
    aims::Aims,
    console,
    cpu::Watched,
    drain::{self, Drain, Run},
    latency::{self, Latency, Outcome},
    machine,
    measurement::Measurement,
    postgres::{self, Postgres},
    product::Product,
    stage::Stage,
    table::Table,
    writes::{self, Line, Load, Writes, through_http},
};

/// Messages a second that latency is measured at.
const RATES: [u32; 2] = [50, 500];

/// What to run.
#[derive(Args, Clone, Debug)]
pub struct Suite {
    /// The executable and the report.
    #[command(flatten)]
    pub measurement: Measurement,
    /// Directory of `postgres` and `initdb` [default: as the demo finds them]
    #[arg(long, env = "ROOMCAST_POSTGRES_BIN")]
    pub postgres_bin: Option<PathBuf>,
    /// Seconds of each latency run
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub latency_seconds: u64,
    /// Rows of the drain
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(i64).range(50..=1_000_000))]
    pub rows: i64,
    /// Of the writes; `rounds` counts for the drain as well.
    #[command(flatten)]
    pub load: Load,
}

/// What was measured.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) latency: Vec<(&'static str, Outcome)>,
    pub(crate) drain: Vec<(&'static str, Vec<Run>)>,
    pub(crate) writes: Vec<Line>,
}

pub(crate) const ONE: &str = "one process";
pub(crate) const SPLIT: &str = "split";
pub(crate) const INTO_HUB: &str = "one process, no subscriber";

impl Suite {
    /// Runs everything and prints the report.
    pub async fn run(&self) -> anyhow::Result<()> {
        let executable = self.measurement.executable().await?;
        let load = machine::load();
        let (figures, version) =
            Postgres::lend(self.postgres_bin.clone(), async |postgres| self.measure(&executable, postgres).await)
                .await?;
        let report = self.report(&figures, &executable, &version, &load)?;
        self.measurement.report(&report)
    }

    async fn measure(&self, executable: &std::path::Path, postgres: &Postgres) -> anyhow::Result<Figures> {
        let mut figures = Figures::default();
        let database = postgres::create_database(&postgres.url("postgres"), "one").await?;
        let product = Product::one_process(executable, &database).await?;
        self.latencies(ONE, &product, postgres, &mut figures).await?;
        let drain = self.drain(&product, postgres, &database);
        figures.drain.push((ONE, drain.measure().await?));
        figures.drain.push((INTO_HUB, Drain { no_subscriber: true, ..drain }.measure().await?));
        let watched = Watched { server: product.pids(), postgres: Some(postgres.pid()), ..Watched::default() };
        let through_http = through_http(&product.url, self.load, &watched).await?;
        product.stop().await?;

        let database = postgres::create_database(&postgres.url("postgres"), "split").await?;
        let product = Product::split(executable, &database).await?;
        self.latencies(SPLIT, &product, postgres, &mut figures).await?;
        figures.drain.push((SPLIT, self.drain(&product, postgres, &database).measure().await?));
        product.stop().await?;

        let product = Product::without_relay(executable, &database).await?;
        let waiting = Drain {
            start_relay: Some(executable.to_owned()),
            hub: Some(product.hub.clone()),
            ..self.drain(&product, postgres, &database)
        };
        figures.drain.push(("split, relay started after the rows (its start included)", waiting.measure().await?));
        product.stop().await?;

        let writes = Writes {
            database_url: postgres.url("postgres"),
            url: None,
            http_only: false,
            load: self.load,
            postgres_pid: Some(postgres.pid()),
        };
        figures.writes = writes.measure().await?;
        figures.writes.extend(through_http);
        Ok(figures)
    }

    async fn latencies(
        &self,
        shape: &'static str,
        product: &Product,
        postgres: &Postgres,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        console::progress(format_args!("{shape}: load average {}", machine::load()));
        let settings = |rate| Latency {
            url: product.url.clone(),
            websocket: Some(product.websocket.clone()),
            rate,
            seconds: self.latency_seconds,
            warm_up: 3,
            rooms: 50,
            subscribers: 5,
            server_pids: product.pids(),
            postgres_pid: Some(postgres.pid()),
            kafka_pids: Vec::new(),
            writer: crate::latency_writer::Writer::default(),
        };
        let stage = Stage::prepare(&product.url, 50).await?;
        for rate in RATES {
            figures.latency.push((shape, settings(rate).measure_on(&stage).await?));
        }
        Ok(())
    }

    fn drain(&self, product: &Product, postgres: &Postgres, database: &str) -> Drain {
        Drain {
            token_secret: None,
            url: product.url.clone(),
            websocket: Some(product.websocket.clone()),
            database_url: database.to_owned(),
            rows: self.rows,
            rooms: 50,
            runs: self.load.rounds,
            no_subscriber: false,
            start_relay: None,
            hub: None,
            server_pids: product.pids(),
            postgres_pid: Some(postgres.pid()),
        }
    }

    fn report(
        &self,
        figures: &Figures,
        executable: &std::path::Path,
        postgres: &str,
        load: &str,
    ) -> anyhow::Result<String> {
        let machine = machine::table(&[
            ("Roomcast", machine::first_line_of(&executable.to_string_lossy(), &["--version"])),
            ("PostgreSQL", format!("{postgres}; {}", postgres::SETTINGS_TEXT)),
            ("pgbench", machine::first_line_of("pgbench", &["--version"])),
            ("load average before the first run", load.to_owned()),
        ]);
        let mut text = String::from("# Roomcast, measured\n\n");
        writeln!(text, "Client, product and PostgreSQL share one machine over 127.0.0.1.\n\n{machine}")?;
        writeln!(text, "## Aims\n\n{}", Aims::of(figures).table())?;
        writeln!(text, "## From commit to client\n\n{}", latency::table(&figures.latency))?;
        writeln!(text, "{LATENCY_NOTES}\n")?;
        writeln!(text, "## Drain of {} rows over 50 rooms\n\n{}", self.rows, drain::table(&figures.drain))?;
        writeln!(text, "{DRAIN_NOTES}\n")?;
        writeln!(
            text,
            "## Messages written a second, {} writers\n\n{}",
            self.load.writers,
            writes::table(&figures.writes)
        )?;
        writeln!(text, "{}", wake_up_costs(&figures.writes))?;
        text.push_str(WRITES_NOTES);
        Ok(text)
    }
}

fn wake_up_costs(lines: &[Line]) -> Table {
    let mut table = Table::new(&["cost of the wake-up, % of the rate", "many rooms", "one room"]);
    for (drained, relay) in [(false, "no relay"), (true, "with a relay, against one that polls")] {
        for wake in [writes::WakeUp::InProcess, writes::WakeUp::Notify] {
            let cost = |many| {
                let cost = writes::wake_up_cost(lines, many, drained, wake);
                cost.map_or("–".to_owned(), |cost| format!("{cost:.1} %"))
            };
            table.row([format!("{wake}, {relay}"), cost(true), cost(false)]);
        }
    }
    table
}

const LATENCY_NOTES: &str = "\
50 rooms, 5 clients that hear all of them, random gaps. *Commit* is the moment at which the backend hears that the
transaction is committed; a client can read the frame before that, hence negative values. *Foreign CPU* is what others
used of the machine meanwhile: above a few percent, read the tail with doubt.

On another day, on a like machine, Centrifugo 6.9.1 with its PostgreSQL consumer and a NOTIFY in a trigger, one INSERT a
transaction: p50 / p90 / p99 / max 0.51 / 0.67 / 0.99 / 4.8 ms at 50/s and 0.38 / 0.50 / 0.98 / 7.4 ms at 500/s.";

const DRAIN_NOTES: &str = "\
All rows are written by one transaction. Time runs from its acknowledged commit (or the start of the relay) to the last
frame that the client read, or, where nobody listens, to the empty outbox (looked at every 4 ms).

On another day, on a like machine, Centrifugo 6.9.1: 74,800 rows/s with one subscriber (running), 71,900 rows/s (started
after the rows, no subscriber).";

const WRITES_NOTES: &str = "
pgbench is a C client without a session, JSON, or a check of what comes back. *Poster* is the backend's writer called in
this program; rows stay in the outbox during a run. *Poster + relay*: a relay in this program drains them meanwhile into
nothing, on the same cores. Tables are emptied between runs. *HTTP API* is a closed loop against `roomcast demo` with its
relay and hub; the HTTP client, in this program, takes its share of the cores.

On another day, on a like machine: a NOTIFY inside the transaction took 62 % of the write throughput.
";

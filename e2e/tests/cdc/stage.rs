//! What all tests stand on: Kafka, Connect and a PostgreSQL with the connectors applied. Whole again for each test.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use debezium::{Bundle, Connector, Kind, Options, Profile, Stack};
use e2e::{App, Load, Part, Plan, Shape, eventually, metric, run};
use embedded_postgres::{Directories, Progress, Server, testkit};
use sqlx::{Connection, PgConnection};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// A JVM that starts beside other tests, and whatever it has to catch up with.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// The topics that the relay reads.
pub(crate) const CONNECTORS: [Kind; 2] = [Kind::Rows, Kind::Messages];

pub(crate) struct Stage {
    pub(crate) stack: Stack,
    pub(crate) server: Arc<std::sync::Mutex<Server>>,
    pub(crate) database_url: String,
}

/// The stage, to oneself, with everything running and the mode `outbox`.
pub(crate) async fn stage() -> anyhow::Result<MutexGuard<'static, Stage>> {
    static STAGE: OnceCell<Mutex<Stage>> = OnceCell::const_new();
    let set_up = async || anyhow::Ok(Mutex::new(Stage::set_up().await?));
    let stage = STAGE.get_or_try_init(set_up).await?.lock().await;
    stage.mend().await.context("mending what the test before has left")?;
    Ok(stage)
}

impl Stage {
    async fn set_up() -> anyhow::Result<Self> {
        let (server, stack) = tokio::join!(testkit::private_server(), start_stack());
        let database_url = server.url("postgres");
        run(&["migrate", "--database-url", &database_url]).await?;
        Ok(Self { stack: stack?, server: Arc::new(std::sync::Mutex::new(server)), database_url })
    }

    async fn mend(&self) -> anyhow::Result<()> {
        tokio::try_join!(self.stack.start_kafka(), self.stack.start_connect())?;
        for connector in self.connectors()? {
            // The worker finds its group again before it takes orders.
            let applied = async || Ok(self.stack.connect().apply(&connector).await.map(|_| true)?);
            eventually("Connect takes connectors", PATIENCE, applied).await?;
        }
        let mut db = self.database().await?;
        sqlx::query("select set_broadcast_mode('outbox')").execute(&mut db).await?;
        Ok(())
    }

    /// The connectors of the product, as they are.
    pub(crate) fn connectors(&self) -> anyhow::Result<Vec<Connector>> {
        let database = self.database_url.parse()?;
        let rendered = CONNECTORS.map(|kind| Connector::render(kind, Profile::Tuned, &database));
        Ok(rendered.into_iter().collect::<Result<_, _>>()?)
    }

    /// The product with all its sources.
    pub(crate) fn plan(&self, shape: Shape) -> Plan {
        let mut plan = Plan::new(shape, &self.database_url);
        plan.relay_args = ["--wal", "--kafka-brokers", &self.stack.bootstrap_servers()].map(str::to_owned).to_vec();
        plan
    }

    pub(crate) async fn database(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect(&self.database_url).await
    }

    /// Takes the server down as a crash does and starts it again, with the same data.
    pub(crate) async fn restart_postgres(&self) -> anyhow::Result<()> {
        let server = Arc::clone(&self.server);
        let restart = move || {
            let mut server = server.lock().map_err(|_| anyhow::anyhow!("a restart has failed before"))?;
            anyhow::Ok(server.restart()?)
        };
        tokio::task::spawn_blocking(restart).await?
    }
}

async fn start_stack() -> anyhow::Result<Stack> {
    #[expect(clippy::print_stderr, reason = "a download may take its time")]
    let progress = Progress::new(|step| eprintln!("{step}"));
    let cache = Directories::of_this_user()?.cache;
    let bundle = Bundle::find_or_fetch(&cache, &progress).await?;
    let directory = cache.join(format!("test-kafka-{}", std::process::id())); // its caretaker removes it
    Ok(Stack::start(&bundle, &Options::temporary(directory)).await?)
}

/// What the hub has done with publications.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Publications {
    /// In their turn.
    pub(crate) delivered: f64,
    /// Before their turn, and held until it came.
    pub(crate) early: f64,
    /// Had been delivered before, and were dropped.
    pub(crate) repeats: f64,
    /// Fetched from the timeline, because they did not come in time.
    pub(crate) filled: f64,
}

impl Publications {
    pub(crate) async fn of(app: &App) -> anyhow::Result<Self> {
        let address = app.address(Part::Hub);
        let count =
            async |outcome: &str| metric(&address, "hub_publications_total", &format!("outcome=\"{outcome}\"")).await;
        Ok(Self {
            delivered: count("delivered").await?,
            early: count("early").await?,
            repeats: count("repeat").await?,
            filled: count("filled").await?,
        })
    }

    /// What has come since, once the hub has reported `expected` publications. It reports once a second.
    pub(crate) async fn since(app: &App, before: Self, expected: usize) -> anyhow::Result<Self> {
        let expected = f64::from(u32::try_from(expected)?);
        let mut since = Self::default();
        eventually("the hub reports what it has delivered", PATIENCE, async || {
            let now = Self::of(app).await?;
            since = Self {
                delivered: now.delivered - before.delivered,
                early: now.early - before.early,
                repeats: now.repeats - before.repeats,
                filled: now.filled - before.filled,
            };
            Ok(since.delivered + since.early + since.filled >= expected)
        })
        .await?;
        Ok(since)
    }
}

/// Everybody is there and has seen all that preparing has caused.
pub(crate) async fn settled_load(app: &App, rooms: usize) -> anyhow::Result<Load> {
    let mut load = Load::prepare(app, rooms).await?;
    load.check().await?;
    Ok(load)
}

//! The product of one group of cases, with Kafka and Debezium where they are needed.

use std::{path::Path, time::Duration};

use anyhow::Context;
use debezium::{Bundle, Connector, Database, Kind, Options, Part, Profile, Stack};
use embedded_postgres::{Directories, Progress};
use sqlx::PgPool;

use super::{CLIENTS, ROOMS, case::Group, figures::Counters};
use crate::{
    console,
    cpu::{CpuTime, Watched},
    latency::Latency,
    person::Http,
    postgres::Postgres,
    product::Product,
};

/// What of Debezium the measured modes need.
const CONNECTORS: [Kind; 2] = [Kind::Rows, Kind::Messages];

pub(crate) struct Running {
    product: Product,
    kafka: Option<Kafka>,
    postgres_pid: u32,
    db: PgPool,
}

impl Running {
    pub(crate) async fn start(
        group: Group,
        executable: &Path,
        postgres: &Postgres,
        db: &PgPool,
        database: &str,
    ) -> anyhow::Result<Self> {
        let kafka = match group {
            Group::Kafka(profile) => Some(Kafka::start(profile, database).await?),
            Group::Plain | Group::Log => None,
        };
        let sources = match (group, &kafka) {
            (Group::Log, _) => vec!["--wal".to_owned()],
            (_, Some(kafka)) => vec!["--kafka-brokers".to_owned(), kafka.stack.bootstrap_servers()],
            (_, None) => Vec::new(),
        };
        let product = Product::one_process_with(executable, database, &sources).await?;
        Ok(Self { product, kafka, postgres_pid: postgres.pid(), db: db.clone() })
    }

    /// Stops everything, and leaves no slot that would hold the log back for the next group.
    pub(crate) async fn stop(self, db: &PgPool) -> anyhow::Result<()> {
        self.product.stop().await?;
        if let Some(kafka) = self.kafka {
            kafka.stop(db).await?;
        }
        let drop_slots = "select pg_drop_replication_slot(slot_name) from pg_replication_slots
                           where database = current_database() and not active";
        sqlx::query(drop_slots).execute(db).await.context("dropping the slots")?;
        Ok(())
    }

    pub(crate) fn url(&self) -> &str {
        &self.product.url
    }

    pub(super) fn websocket(&self) -> &str {
        &self.product.websocket
    }

    pub(super) fn watched(&self) -> Watched {
        let kafka = self.kafka.as_ref().map(Kafka::pids).unwrap_or_default();
        Watched { server: self.product.pids(), postgres: Some(self.postgres_pid), kafka }
    }

    pub(crate) fn latency(&self, rate: u32, seconds: u64) -> Latency {
        let watched = self.watched();
        Latency {
            url: self.product.url.clone(),
            websocket: Some(self.product.websocket.clone()),
            rate,
            seconds,
            warm_up: 3,
            rooms: ROOMS,
            subscribers: CLIENTS,
            server_pids: watched.server,
            postgres_pid: watched.postgres,
            kafka_pids: watched.kafka,
            writer: crate::latency_writer::Writer::default(),
        }
    }

    /// What is used while nothing happens.
    pub(super) async fn idle(&self, time: Duration) -> (CpuTime, Duration) {
        let watched = self.watched();
        let before = watched.read();
        tokio::time::sleep(time).await;
        (watched.since(before), time)
    }

    pub(super) async fn counters(&self) -> anyhow::Result<Counters> {
        let wal_bytes = sqlx::query_scalar::<_, i64>("select (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint");
        let wal_bytes = wal_bytes.fetch_one(&self.db).await?;
        let metrics = Http::new(&self.product.hub)?.text("/metrics").await?;
        let publications = |outcome| counter(&metrics, "hub_publications_total", outcome);
        Ok(Counters { wal_bytes, repeats: publications("repeat"), filled: publications("filled") })
    }
}

/// Kafka, Connect and the connectors.
struct Kafka {
    stack: Stack,
    connectors: Vec<Connector>,
}

impl Kafka {
    async fn start(profile: Profile, database: &str) -> anyhow::Result<Self> {
        let directories = Directories::of_this_user()?;
        let progress = Progress::new(console::progress);
        let bundle = Bundle::find_or_fetch(&directories.cache, &progress).await?;
        let data_dir = directories.cache.join(format!("bench-kafka-{}", std::process::id()));
        let options = Options { progress, optimise: true, ..Options::temporary(data_dir) };
        let stack = Stack::start(&bundle, &options).await.context("starting Kafka and Connect")?;
        let database: Database = database.parse()?;
        let connectors = CONNECTORS.map(|kind| Connector::render(kind, profile, &database));
        let connectors = connectors.into_iter().collect::<Result<Vec<_>, _>>()?;
        for connector in &connectors {
            stack.connect().apply(connector).await?;
        }
        Ok(Self { stack, connectors })
    }

    fn pids(&self) -> Vec<u32> {
        Part::ALL.into_iter().filter_map(|part| self.stack.pid(part)).collect()
    }

    async fn stop(self, db: &PgPool) -> anyhow::Result<()> {
        for connector in &self.connectors {
            self.stack.connect().remove(connector, db).await?;
        }
        self.stack.stop().await;
        Ok(())
    }
}

/// The value of a counter with this outcome, as Prometheus reads it; 0 when it has not been counted yet.
fn counter(metrics: &str, name: &str, outcome: &str) -> u64 {
    let start = format!("{name}{{outcome=\"{outcome}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&start)?.trim().parse().ok());
    value.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_outcome() {
        let metrics = "# TYPE hub_publications_total counter\n\
                       hub_publications_total{outcome=\"delivered\"} 12\nhub_publications_total{outcome=\"repeat\"} 3\n";
        assert_eq!(counter(metrics, "hub_publications_total", "repeat"), 3);
        assert_eq!(counter(metrics, "hub_publications_total", "filled"), 0);
    }
}

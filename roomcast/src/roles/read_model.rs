//! `roomcast read-model`: the consumer that keeps the room list of the query side, and what can be asked of it.

mod rebuild;
mod status;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use relay::events::{EventConsumer, EventConsumerHandle, EventsConfig, last_probe};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::demo;
use crate::{
    adapters::RoomList,
    config::{self, ReadModelAction, ReadModelOf, ReadModelRun},
    console,
    health::{self, Health},
    lifecycle::Lifecycle,
    server, telemetry,
};

/// A batch at a time, the events of two topics, and a cleaning.
const DATABASE_CONNECTIONS: u32 = 4;

/// The topic keeps its records for a week: an id that is older than this cannot come again.
const IDS_ARE_KEPT: Duration = Duration::from_hours(8 * 24);

/// As the relay believes its own, which sends them every five seconds.
const PROBES_ARE_BELIEVED: Duration = Duration::from_secs(30);

/// How often old ids are forgotten.
const FORGETTING: Duration = Duration::from_hours(1);

pub(super) async fn run(settings: config::ReadModel, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    match settings.action {
        ReadModelAction::Run(settings) => consume(&settings, lifecycle).await,
        ReadModelAction::Status(of) => status::show(&of).await,
        ReadModelAction::Rebuild(of) => rebuild::rebuild(&of).await,
    }
}

async fn consume(settings: &ReadModelRun, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let metrics = telemetry::metrics()?;
    let url = settings.database.url.expose();
    let db = backend::connect(url, DATABASE_CONNECTIONS).await?;
    backend::check_schema(&db).await?;
    let listener = server::bind(settings.listen)?;
    let address = listener.local_addr()?;
    let consumer = start(url, db.clone(), &settings.kafka_brokers, lifecycle);
    let app = health::router(health_of(Health::default(), consumer, db), metrics);
    lifecycle.run("the HTTP server", server::serve(listener, app, lifecycle.stopping()));
    console::say(format_args!(
        "Roomcast read model is ready at http://{address}, reading from {}",
        settings.kafka_brokers
    ));
    lifecycle.finished().await
}

/// Starts the consumer and the forgetting of old ids, and hands both to the lifecycle.
pub(super) fn start(url: &str, db: PgPool, brokers: &str, lifecycle: &Lifecycle) -> EventConsumerHandle {
    let consumer = EventConsumer::new(EventsConfig::new(url, brokers), Arc::new(RoomList(db.clone())));
    let handle = consumer.handle();
    let stopping = lifecycle.stopping();
    lifecycle.run("the read model's consumer", async move { Ok(consumer.run(stopping).await?) });
    let stopping = lifecycle.stopping();
    lifecycle.run("the read model's memory", async move {
        stopping.run_until_cancelled(forget_for_ever(&db)).await;
        Ok(())
    });
    handle
}

/// Connected, and what is sent comes through: a connector that calls itself RUNNING may carry nothing.
pub(super) fn health_of(health: Health, consumer: EventConsumerHandle, db: PgPool) -> Health {
    health.with("read_model", move || {
        let (status, db) = (consumer.status(), db.clone());
        async move {
            let probe = last_probe(&db).await.map_err(|error| error.to_string())?;
            let mut details = serde_json::to_value(&status).map_err(|error| error.to_string())?;
            details["probe_age_seconds"] = probe.map(|age| age.as_secs_f64()).into();
            match probe {
                _ if !status.ready => Err(details.to_string()),
                Some(age) if age < PROBES_ARE_BELIEVED => Ok(details),
                _ => {
                    Err(format!("no probe came through roomcast-events in the last {PROBES_ARE_BELIEVED:?}: {details}"))
                }
            }
        }
    })
}

async fn forget_for_ever(db: &PgPool) {
    let mut ticks = interval(FORGETTING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match backend::read_model::forget(db, IDS_ARE_KEPT).await {
            Ok(count) => debug!("forgot {count} events that cannot come again"),
            Err(error) => warn!(%error, "old ids of events stay another hour"),
        }
    }
}

/// A read model of a database, and the topic that it is made from.
struct Target {
    db: PgPool,
    config: EventsConfig,
}

/// What a command names, else the running demo's.
async fn target(of: &ReadModelOf) -> anyhow::Result<Target> {
    let url = super::running_database_url(&of.database)?;
    let brokers = match &of.kafka_brokers {
        Some(brokers) => brokers.clone(),
        None => demo::running_stack(of.database.data_dir.as_deref())?
            .map(|addresses| addresses.bootstrap_servers)
            .context("no demo runs with --cdc here: name the brokers with --kafka-brokers or ROOMCAST_KAFKA_BROKERS")?,
    };
    Ok(Target { db: super::running_database(&of.database).await?, config: EventsConfig::new(url, brokers) })
}

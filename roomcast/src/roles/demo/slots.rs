//! The replication slots of the demo's own server, left by earlier runs: what this run will not read is removed, as it would
//! keep log until the server gives it up; and what this run will read, and is not there any more, begins anew.

use anyhow::Context;
use debezium::{Kind, Slot};
use sqlx::postgres::PgPoolOptions;
use tracing::{info, warn};

use crate::config;

/// Whether this run reads what Debezium writes: its own, or somebody's beside it.
pub(super) fn reads_kafka(settings: &config::Demo) -> bool {
    settings.cdc || settings.sources.kafka_brokers.is_some()
}

/// To be called while nobody reads. Gives the connectors that cannot go on from where they were.
pub(super) async fn tidy(url: &str, settings: &config::Demo) -> anyhow::Result<Vec<Kind>> {
    let db = PgPoolOptions::new().max_connections(1).connect(url).await?;
    let slots = Slot::all(&db).await.context("looking at the replication slots")?;
    for Slot { name, retained_bytes, .. } in
        slots.iter().filter(|slot| !slot.active && !is_wanted(&slot.name, settings))
    {
        Slot::drop_from(&db, name).await.with_context(|| format!("removing the replication slot {name}"))?;
        info!(
            slot = name,
            retained_bytes, "removed the replication slot {name} of an earlier run: nobody reads it in this one"
        );
    }
    db.close().await;
    let goes_on = |kind: &Kind| slots.iter().any(|slot| slot.name == kind.slot_name() && !slot.lost);
    Ok(Kind::ALL.into_iter().filter(|kind| !goes_on(kind)).collect())
}

/// What is not called as we call slots is somebody else's.
fn is_wanted(name: &str, settings: &config::Demo) -> bool {
    let of_debezium = Kind::ALL.iter().any(|kind| kind.slot_name() == name);
    match name {
        _ if !name.starts_with("roomcast_") => true,
        _ if of_debezium => reads_kafka(settings),
        _ => settings.sources.wal.unwrap_or(true) && name == settings.sources.wal_slot,
    }
}

/// A mode that nobody carries any more would keep what is written from everybody: the next run would begin with silence.
pub(super) async fn leave_modes_of_kafka(db: &sqlx::PgPool) -> anyhow::Result<()> {
    use protocol::Mode;
    let mode = backend::mode::get(db).await?.mode;
    if matches!(mode, Mode::Cdc | Mode::ApiCdc | Mode::Message) {
        sqlx::query("select set_broadcast_mode($1)").bind(Mode::Outbox.as_str()).execute(db).await?;
        warn!("mode {mode} needs --cdc: messages travel by {} from now on", Mode::Outbox);
    }
    Ok(())
}

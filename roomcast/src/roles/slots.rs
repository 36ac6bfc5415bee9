//! `roomcast slots`: the replication slots of the database, and the removal of those that nobody reads.

use anyhow::bail;
use debezium::Slot;
use sqlx::PgPool;

use crate::{
    config::{self, SlotAction},
    console::{self, bytes},
};

pub(super) async fn run(settings: config::Slots) -> anyhow::Result<()> {
    let db = super::running_database(&settings.database).await?;
    match settings.action {
        SlotAction::List => list(&db).await,
        SlotAction::Remove { names } => remove(&db, &names).await,
    }
}

async fn list(db: &PgPool) -> anyhow::Result<()> {
    let slots = Slot::all(db).await?;
    if slots.is_empty() {
        console::say("No replication slots: the database keeps log for nobody.");
        return Ok(());
    }
    let width = slots.iter().map(|slot| slot.name.len()).max().unwrap_or(0);
    for Slot { name, active, lost, retained_bytes } in &slots {
        let state = match (lost, active) {
            (true, _) => "was given up by the server",
            (false, true) => "is read",
            (false, false) => "nobody reads it",
        };
        console::say(format_args!("{name:<width$}  keeps {:>8} of the log  {state}", bytes(*retained_bytes)));
    }
    Ok(())
}

async fn remove(db: &PgPool, names: &[String]) -> anyhow::Result<()> {
    let slots = Slot::all(db).await?;
    for name in names {
        match slots.iter().find(|slot| slot.name == *name) {
            None => bail!("there is no replication slot {name} in this database: see `roomcast slots list`"),
            Some(slot) if slot.active => bail!(
                "somebody reads the replication slot {name}: stop the relay, or remove the connector with \
                 `roomcast connectors remove`"
            ),
            Some(slot) => {
                Slot::drop_from(db, name).await?;
                console::say(format_args!("{name} is gone, and with it {} of the log", bytes(slot.retained_bytes)));
            }
        }
    }
    Ok(())
}

//! What a connector has in PostgreSQL: its replication slot, and the write-ahead log that is kept for it.

use std::time::Instant;

use serde::Serialize;
use sqlx::PgPool;
use tokio::time::sleep;

use crate::connect::{PATIENCE, POLL};

/// A replication slot of this database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Slot {
    /// Name.
    pub name: String,
    /// Whether somebody reads from it now.
    pub active: bool,
    /// Whether the server gave it up (`wal_status` lost): what it would have to send is removed.
    pub lost: bool,
    /// Write-ahead log that the server keeps for it.
    pub retained_bytes: i64,
}

impl Slot {
    /// All logical slots of this database.
    pub async fn all(database: &PgPool) -> Result<Vec<Self>, sqlx::Error> {
        let found: Vec<(String, bool, bool, i64)> = sqlx::query_as(
            "select slot_name::text, active, coalesce(wal_status = 'lost', false),
                    coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint
               from pg_replication_slots
              where slot_type = 'logical' and not temporary and database = current_database()
              order by slot_name",
        )
        .fetch_all(database)
        .await?;
        let slot = |(name, active, lost, retained_bytes)| Self { name, active, lost, retained_bytes };
        Ok(found.into_iter().map(slot).collect())
    }

    /// Drops it, if it is there. Its reader was told to go a moment ago and may still be there: it is waited for, up to a
    /// minute.
    pub async fn drop_from(database: &PgPool, name: &str) -> Result<(), sqlx::Error> {
        let begin = Instant::now();
        loop {
            let dropped = sqlx::query(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1 and database = current_database()",
            )
            .bind(name)
            .execute(database)
            .await;
            match dropped {
                Err(error) if is_in_use(&error) && begin.elapsed() < PATIENCE => sleep(POLL).await,
                other => return other.map(drop),
            }
        }
    }
}

fn is_in_use(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "55006")
}

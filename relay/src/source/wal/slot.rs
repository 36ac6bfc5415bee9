//! The replication slot, seen through an ordinary session: whether it is there, who holds it, what it keeps.

use protocol::{Mode, Partition};
use sqlx::PgConnection;

use crate::{
    RelayError, WalConfig,
    source::{Row, lane::LogRow, session::within},
};

/// Where a slot stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Nobody has made it, or somebody dropped it.
    Missing,
    /// The server gave it up (`wal_status` lost): what it would have to send is removed.
    Lost,
    /// The server's process with this number sends it to somebody, or still believes so.
    Held(Kept, i32),
    /// Anybody may take it.
    Free(Kept),
}

/// What the server keeps for a slot, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Of the log, because the slot may still need it.
    pub retained: i64,
    /// From the confirmed position on.
    pub unconfirmed: i64,
}

/// Looks at the slot.
pub(super) async fn look(connection: &mut PgConnection, name: &str) -> Result<Slot, RelayError> {
    let found = sqlx::query!(
        r#"select active_pid, coalesce(wal_status = 'lost', false) as "lost!",
                  database is not distinct from current_database() and plugin = 'pgoutput' as "ours!",
                  coalesce(database::text, 'the whole server') as "database!",
                  coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint as "retained!",
                  coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), 0)::bigint as "unconfirmed!"
             from pg_replication_slots where slot_name = $1"#,
        name,
    );
    let Some(found) = within(found.fetch_optional(connection)).await? else { return Ok(Slot::Missing) };
    if !found.ours {
        return Err(RelayError::ForeignSlot { slot: name.to_owned(), database: found.database });
    }
    let kept = Kept { retained: found.retained, unconfirmed: found.unconfirmed };
    Ok(match (found.lost, found.active_pid) {
        (true, _) => Slot::Lost,
        (false, Some(pid)) => Slot::Held(kept, pid),
        (false, None) => Slot::Free(kept),
    })
}

/// Refuses a database whose log has nothing for us.
pub(super) async fn check(connection: &mut PgConnection, config: &WalConfig) -> Result<(), RelayError> {
    let server = sqlx::query!(
        r#"select current_setting('wal_level') as "wal_level!",
                  exists(select from pg_publication where pubname = $1) as "published!""#,
        config.publication,
    );
    let server = within(server.fetch_one(connection)).await?;
    if server.wal_level != "logical" {
        return Err(RelayError::WalLevel(server.wal_level));
    }
    if !server.published {
        return Err(RelayError::NoPublication(config.publication.clone()));
    }
    Ok(())
}

/// Makes a slot that only this session sees and that ends with it. The log is kept for it from now on.
pub(super) async fn create_draft(connection: &mut PgConnection, draft: &str) -> Result<(), RelayError> {
    let created = sqlx::query!(
        r#"select slot_name::text as "name!" from pg_create_logical_replication_slot($1::text::name, 'pgoutput', true)"#,
        draft,
    );
    within(created.fetch_one(connection)).await?;
    Ok(())
}

/// Makes the draft the slot. False if somebody else was faster.
pub(super) async fn publish_draft(connection: &mut PgConnection, draft: &str, name: &str) -> Result<bool, RelayError> {
    let copied = sqlx::query!(
        r#"select slot_name::text as "name!"
             from pg_copy_logical_replication_slot($1::text::name, $2::text::name, false)"#,
        draft,
        name,
    );
    let copied = match within(copied.fetch_one(&mut *connection)).await {
        Ok(_) => true,
        Err(RelayError::Database(sqlx::Error::Database(error))) if error.code().as_deref() == Some("42710") => false,
        Err(error) => return Err(error),
    };
    drop_slot(connection, draft).await?;
    Ok(copied)
}

/// Drops a slot that nobody holds; another relay may have done so already.
pub(super) async fn drop_slot(connection: &mut PgConnection, name: &str) -> Result<(), RelayError> {
    let dropped = sqlx::query!(
        "select pg_drop_replication_slot(slot_name)::text as dropped from pg_replication_slots where slot_name = $1",
        name,
    );
    match within(dropped.fetch_optional(connection)).await {
        Err(RelayError::Database(sqlx::Error::Database(error))) if error.code().as_deref() == Some("42704") => Ok(()),
        dropped => dropped.map(|_| ()),
    }
}

/// Up to `limit` rows for the log's readers that the table still holds, by id.
pub(super) async fn rows_in_table(
    connection: &mut PgConnection,
    after: i64,
    limit: u16,
) -> Result<Vec<LogRow>, RelayError> {
    let rows = sqlx::query!(
        r#"select id, method, payload::text as "payload!", partition, created_at from chat_cdc
            where mode = $1 and aggregate_type <> 'probe' and id > $2 order by id limit $3"#,
        Mode::Wal.as_str(),
        after,
        i64::from(limit),
    );
    let rows = within(rows.fetch_all(connection)).await?.into_iter();
    Ok(rows
        .map(|row| LogRow {
            row: Row { id: row.id, partition: Partition(row.partition), method: row.method, payload: row.payload },
            origin: super::ORIGIN.into(),
            created_at: row.created_at,
        })
        .collect())
}

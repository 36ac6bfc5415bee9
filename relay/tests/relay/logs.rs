//! What the tests of the logs share: rows of `chat_cdc`, the slot, and relays that read only logs.

use embedded_postgres::testkit::TestDatabase;
use relay::{Phase, RelayConfig, WalConfig};
use sqlx::PgPool;

use crate::running::{Running, config};

/// A relay that reads only the write-ahead log, from a slot of this name.
pub(crate) fn wal_config(db: &TestDatabase, slot: &str) -> RelayConfig {
    let wal = WalConfig {
        slot: slot.to_owned(),
        status_interval: std::time::Duration::from_millis(20),
        standby_interval: std::time::Duration::from_millis(20),
        ..WalConfig::default()
    };
    RelayConfig { outbox: false, wal: Some(wal), ..config(db) }
}

/// Slots of one server have different names.
pub(crate) fn slot_name() -> String {
    format!("test_{:016x}", rand::random::<u64>())
}

impl Running {
    /// Until this source of it carries.
    pub(crate) async fn carrying(&self, source: &str) {
        self.until(|status| status.source(source).is_some_and(|source| source.phase == Phase::Carrying)).await;
    }
}

/// Writes a row of `chat_cdc` in a transaction of its own.
pub(crate) async fn announce(db: &PgPool, mode: &str, room: i64, version: i64) {
    announce_in(db, mode, room, version).await;
}

/// Writes a row of `chat_cdc`.
pub(crate) async fn announce_in(db: impl sqlx::PgExecutor<'_>, mode: &str, room: i64, version: i64) {
    sqlx::query(
        "insert into chat_cdc (method, partition, aggregate_id, event_type, mode, payload)
         values ('publish', partition_of($1), $1::text, 'message.text', $3, jsonb_build_object(
            'channel', 'room:' || $1, 'version', $2::bigint, 'version_epoch', 'e', 'data', '{}'::jsonb))",
    )
    .bind(room)
    .bind(version)
    .bind(mode)
    .execute(db)
    .await
    .unwrap();
}

/// Writes a row of `chat_cdc` of any shape.
pub(crate) async fn announce_raw(db: &PgPool, mode: &str, method: &str, payload: &str) {
    sqlx::query(
        "insert into chat_cdc (method, partition, aggregate_id, event_type, mode, payload)
         values ($1, 1, '1', 'message.text', $2, $3::jsonb)",
    )
    .bind(method)
    .bind(mode)
    .bind(payload)
    .execute(db)
    .await
    .unwrap();
}

/// How the server sees the slot: whether somebody reads from it, and the confirmed position.
pub(crate) async fn slot(db: &PgPool, name: &str) -> Option<(bool, i64)> {
    sqlx::query_as(
        "select active, pg_wal_lsn_diff(confirmed_flush_lsn, '0/0')::bigint
           from pg_replication_slots where slot_name = $1",
    )
    .bind(name)
    .fetch_optional(db)
    .await
    .unwrap()
}

/// The end of the log as a number.
pub(crate) async fn end_of_log(db: &PgPool) -> i64 {
    sqlx::query_scalar("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint").fetch_one(db).await.unwrap()
}

/// Until the slot has confirmed everything up to here.
pub(crate) async fn confirmed(db: &PgPool, name: &str, end: i64) {
    crate::running::until(async || {
        let confirmed: Option<bool> = sqlx::query_scalar(
            "select pg_wal_lsn_diff(confirmed_flush_lsn, '0/0') >= $2 from pg_replication_slots where slot_name = $1",
        )
        .bind(name)
        .bind(end)
        .fetch_optional(db)
        .await
        .unwrap();
        confirmed == Some(true)
    })
    .await;
}

/// Drops the slot once nobody reads from it.
pub(crate) async fn drop_slot(db: &PgPool, name: &str) {
    crate::running::until(async || slot(db, name).await.is_none_or(|(active, _)| !active)).await;
    sqlx::query("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1")
        .bind(name)
        .execute(db)
        .await
        .unwrap();
}

//! `chat_cdc` is pruned by age and tells nobody; what a relay carries is told while it runs.

use std::time::Duration;

use relay::{CleanerConfig, RelayConfig};
use sqlx::PgPool;

use crate::{
    logs::{announce, drop_slot, slot_name, wal_config},
    recorder::Recorder,
    running::{Running, config, database, until},
};

async fn rows(db: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from chat_cdc where aggregate_type <> 'probe'").fetch_one(db).await.unwrap()
}

#[tokio::test]
async fn old_rows_are_pruned_in_batches_and_are_no_news() {
    let (db, name) = (database().await, slot_name());
    sqlx::query(
        "insert into chat_cdc (method, partition, aggregate_id, event_type, mode, payload, created_at)
         select 'publish', 0, '1', 'message.text', 'cdc', '{}', now() - interval '2 hours' from generate_series(1, 25)",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    announce(&db.pool, "wal", 1, 1).await;
    let recorder = Recorder::new();
    let cleaner = Some(CleanerConfig { age: Duration::from_hours(1), batch_size: 10 });
    let relay = Running::start_beside(RelayConfig { cleaner, ..wal_config(&db, &name) }, recorder.clone());
    until(async || rows(&db.pool).await == 1).await;
    announce(&db.pool, "wal", 1, 2).await;
    recorder.arrived_one("room:1", 2).await;
    assert_eq!((recorder.in_order()["room:1"], rows(&db.pool).await), (2, 2), "young rows stay");
    relay.stop().await;
    drop_slot(&db.pool, &name).await;
}

async fn carriers(db: &PgPool) -> Vec<String> {
    sqlx::query_scalar("select source from carriers order by source").fetch_all(db).await.unwrap()
}

#[tokio::test]
async fn what_is_carried_is_told_while_it_is() {
    let (db, name) = (database().await, slot_name());
    let config = RelayConfig { outbox: true, ..wal_config(&db, &name) };
    let relay = Running::start(config, Recorder::new()).await;
    until(async || carriers(&db.pool).await == ["outbox", "wal"]).await;
    relay.stop().await;
    assert!(carriers(&db.pool).await.is_empty());
    drop_slot(&db.pool, &name).await;

    // Of one that died without a word.
    sqlx::query("insert into carriers values ('cdc', 'gone', now() - interval '2 hours')")
        .execute(&db.pool)
        .await
        .unwrap();
    let relay = Running::start(self::config(&db), Recorder::new()).await;
    until(async || carriers(&db.pool).await == ["outbox"]).await;
    relay.stop().await;
}

//! Exactly the committed rows, in order.

use std::{collections::HashMap, time::Duration};

use protocol::Partition;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::time::sleep;

use crate::{
    recorder::Recorder,
    running::{NEVER, Running, config, database, drained, waiting, write, write_many},
};

const ROOMS: i64 = 10;
/// The rooms of these tests have no lines: any number of a room's row counts what was announced, under its lock.
const NEXT_VERSION: &str =
    "update rooms set member_count = member_count + 1 where id = $1 returning member_count::bigint";
const VERSIONS: &str = "select 'room:' || id, member_count::bigint from rooms where member_count > 0";

/// One message as the backend writes it; ids are taken some time before the commit, so they commit out of order.
async fn post(db: &PgPool, room: i64) {
    let mut tx = db.begin().await.unwrap();
    let version: i64 = sqlx::query_scalar(NEXT_VERSION).bind(room).fetch_one(&mut *tx).await.unwrap();
    sqlx::query(
        "insert into chat_outbox (method, partition, payload)
         values ('publish', partition_of($1), jsonb_build_object(
            'channel', 'room:' || $1, 'version', $2::bigint, 'version_epoch', 'e', 'data', '{}'::jsonb))",
    )
    .bind(room)
    .bind(version)
    .execute(&mut *tx)
    .await
    .unwrap();
    sleep(Duration::from_millis(rand::random_range(0..4))).await;
    if rand::random_ratio(1, 10) {
        tx.rollback().await.unwrap();
    } else {
        tx.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_writers_committing_out_of_id_order_lose_nothing_and_keep_the_order_of_each_room() {
    let db = database().await;
    sqlx::query("insert into rooms (name) select 'room ' || n from generate_series(1, $1) n")
        .bind(ROOMS)
        .execute(&db.pool)
        .await
        .unwrap();
    let recorder = Recorder::new();
    let relay = Running::start(config(&db), recorder.clone()).await;

    let pool = PgPoolOptions::new().max_connections(30).connect(&db.url).await.unwrap();
    let writers = (0..50).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                post(&pool, rand::random_range(1..=ROOMS)).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    pool.close().await;
    drained(&db.pool).await;

    let committed: Vec<(String, i64)> = sqlx::query_as(VERSIONS).fetch_all(&db.pool).await.unwrap();
    let committed: HashMap<String, u64> =
        committed.into_iter().map(|(room, v)| (room, u64::try_from(v).unwrap())).collect();
    assert_eq!(recorder.in_order(), committed);
    assert_eq!(recorder.seen().len() as u64, committed.values().sum::<u64>(), "nothing was repeated");
    relay.stop().await;
}

#[tokio::test]
async fn a_backlog_drains_without_waiting_between_full_batches() {
    let db = database().await;
    write_many(&db.pool, 200, 20_000).await;
    let recorder = Recorder::new();
    // With this poll, a single wait would last for ever.
    let relay = Running::start_beside(relay::RelayConfig { poll_interval: NEVER, ..config(&db) }, recorder.clone());
    recorder.arrived(20_000).await;
    drained(&db.pool).await;
    assert_eq!(recorder.seen().len(), 20_000, "nothing was repeated");
    assert!(recorder.in_order().values().all(|version| *version == 100));
    relay.stop().await;
}

#[tokio::test]
async fn a_partition_with_a_long_backlog_does_not_starve_the_others() {
    let db = database().await;
    for version in 1..=300 {
        write(&db.pool, 1, version).await;
    }
    write(&db.pool, 2, 1).await;
    let recorder = Recorder::new();
    let config = relay::RelayConfig { workers: 1, batch_size: 20, ..config(&db) };
    let relay = Running::start_beside(config, recorder.clone());
    recorder.arrived(301).await;
    let place = recorder.seen().iter().position(|(channel, _)| channel == "room:2").unwrap();
    assert!(place <= 40, "the other partition had its turn only after {place} rows");
    assert_eq!(recorder.in_order()["room:1"], 300);
    relay.stop().await;
}

#[tokio::test]
async fn a_paused_relay_keeps_its_partitions_and_shows_the_lag() {
    let db = database().await;
    let recorder = Recorder::new();
    // One worker that only looks when it is woken: once it has looked, nothing is under way when it is paused.
    let config = relay::RelayConfig { workers: 1, poll_interval: NEVER, rebalance_interval: NEVER, ..config(&db) };
    let relay = Running::start(relay::RelayConfig { listen: false, ..config }, recorder.clone()).await;
    relay.until(|status| status.last_progress.is_some()).await;
    relay.handle.pause();
    for version in 1..=3 {
        write(&db.pool, 1, version).await;
        relay.wakeup.wake(Partition(1));
    }
    relay.until(|status| status.lag_rows == 3 && status.lag_seconds > 0.0).await;
    assert_eq!((recorder.seen().len(), waiting(&db.pool).await), (0, 3));
    assert!(relay.handle.status().paused && relay.handle.status().partitions.len() == 16);

    relay.handle.resume();
    recorder.arrived(3).await;
    relay.until(|status| status.lag_rows == 0 && !status.paused).await;
    assert_eq!(recorder.in_order()["room:1"], 3);
    relay.stop().await;
}

#[tokio::test]
async fn a_busy_outbox_is_vacuumed() {
    let db = database().await;
    // So that it can only be the relay.
    sqlx::query("alter table chat_outbox set (autovacuum_enabled = off)").execute(&db.pool).await.unwrap();
    let recorder = Recorder::new();
    let relay = Running::start(relay::RelayConfig { vacuum_after: 1000, ..config(&db) }, recorder.clone()).await;
    write_many(&db.pool, 10, 1000).await;
    crate::running::until(async || {
        let vacuums = sqlx::query_scalar::<_, i64>(
            "select pg_stat_get_vacuum_count(oid) from pg_class where oid = 'chat_outbox'::regclass",
        );
        vacuums.fetch_one(&db.pool).await.unwrap() > 0
    })
    .await;
    assert_eq!(recorder.in_order()["room:1"], 100);
    relay.stop().await;
}

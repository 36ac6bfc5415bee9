//! Partitions are shared by all workers of all relays, and move when one goes.

use std::collections::HashSet;

use protocol::Partition;
use relay::RelayConfig;
use sqlx::{Connection, PgConnection};

use crate::{
    recorder::Recorder,
    running::{NEVER, Running, config, database, drained, name, terminate, write, write_many},
};

fn partitions(relay: &Running) -> HashSet<Partition> {
    relay.handle.status().partitions.into_iter().collect()
}

#[tokio::test]
async fn two_relays_share_the_partitions_and_the_survivor_of_a_crash_takes_all() {
    let db = database().await;
    let recorder = Recorder::new();
    let first = Running::start(config(&db), recorder.clone()).await;
    let second = Running::start_beside(config(&db), recorder.clone());
    first.until(|status| status.partitions.len() == 8).await;
    second.until(|status| status.partitions.len() == 8).await;
    assert!(partitions(&first).is_disjoint(&partitions(&second)));

    let writer = tokio::spawn({
        let pool = db.pool.clone();
        async move {
            for version in 1..=40 {
                for room in 1..=16 {
                    write(&pool, room, version).await;
                }
            }
        }
    });
    recorder.arrived(200).await;
    first.kill().await;
    writer.await.unwrap();
    second.until(|status| status.partitions.len() == 16).await;
    drained(&db.pool).await;

    let newest = recorder.in_order();
    assert_eq!(newest.len(), 16);
    assert!(newest.values().all(|version| *version == 40), "{newest:?}");
    second.stop().await;
}

#[tokio::test]
async fn a_relay_that_stops_gives_its_partitions_back_and_repeats_nothing() {
    let db = database().await;
    let recorder = Recorder::new();
    let first = Running::start(config(&db), recorder.clone()).await;
    let second = Running::start_beside(config(&db), recorder.clone());
    second.until(|status| status.partitions.len() == 8).await;
    write_many(&db.pool, 16, 1600).await;
    first.stop().await;
    second.until(|status| status.partitions.len() == 16).await;
    drained(&db.pool).await;
    assert_eq!(recorder.seen().len(), 1600);
    assert!(recorder.in_order().values().all(|version| *version == 100));
    second.stop().await;
}

#[tokio::test]
async fn what_three_workers_cannot_share_evenly_they_share_completely() {
    let db = database().await;
    let recorder = Recorder::new();
    let relay = Running::start(RelayConfig { workers: 3, ..config(&db) }, recorder.clone()).await;
    write_many(&db.pool, 16, 16).await;
    recorder.arrived(16).await;
    relay.stop().await;
}

#[tokio::test]
async fn more_workers_than_partitions_stand_by() {
    let db = database().await;
    let recorder = Recorder::new();
    let relay = Running::start(RelayConfig { workers: 18, ..config(&db) }, recorder.clone()).await;
    write_many(&db.pool, 16, 32).await;
    recorder.arrived(32).await;
    relay.stop().await;
}

#[tokio::test]
async fn killed_worker_sessions_come_back_and_carry_on() {
    let db = database().await;
    let recorder = Recorder::new();
    let relay = Running::start(config(&db), recorder.clone()).await;
    write(&db.pool, 1, 1).await;
    recorder.arrived(1).await;
    drained(&db.pool).await;

    assert_eq!(terminate(&db.pool, "roomcast relay").await, 2);
    write(&db.pool, 1, 2).await;
    recorder.arrived_one("room:1", 2).await;
    relay.until(|status| status.is_ready() && status.partitions.len() == 16).await;
    assert_eq!(recorder.in_order()["room:1"], 2);
    relay.stop().await;
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for() {
    let db = database().await;
    let name = name(&db).await;
    // From another database, as a database cannot be closed from within.
    let mut admin = PgConnection::connect(&db.url.replace(&name, "postgres")).await.unwrap();
    let allow = |allowed: bool| sqlx::AssertSqlSafe(format!("alter database {name} allow_connections {allowed}"));
    let recorder = Recorder::new();
    let relay = Running::start(RelayConfig { poll_interval: NEVER, ..config(&db) }, recorder.clone()).await;

    sqlx::raw_sql(allow(false)).execute(&mut admin).await.unwrap();
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity
          where datname = $1 and application_name like 'roomcast%'",
    )
    .bind(&name)
    .execute(&mut admin)
    .await
    .unwrap();
    relay.until(|status| status.connected_workers == 0 && status.last_error.is_some()).await;
    assert!(!relay.handle.status().is_ready());

    sqlx::raw_sql(allow(true)).execute(&mut admin).await.unwrap();
    relay.until(|status| status.is_ready() && status.partitions.len() == 16 && status.last_error.is_none()).await;
    write(&db.pool, 1, 1).await;
    relay.wakeup.wake(Partition(1));
    recorder.arrived(1).await;
    relay.stop().await;
}

//! What wakes a relay before its poll would.

use std::time::Duration;

use embedded_postgres::testkit::TestDatabase;
use protocol::Partition;
use relay::{CHANNEL, Notifier, RelayConfig, WakeSource};
use sqlx::postgres::PgListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    recorder::Recorder,
    running::{NEVER, Running, config, database, terminate, write},
};

/// Without a wake-up, nothing would arrive while the test lives.
fn never_polling(db: &TestDatabase) -> RelayConfig {
    RelayConfig { poll_interval: NEVER, rebalance_interval: NEVER, workers: 1, ..config(db) }
}

async fn notify(db: &TestDatabase, payload: &str) {
    sqlx::query("select pg_notify($1, $2)").bind(CHANNEL).bind(payload).execute(&db.pool).await.unwrap();
}

#[tokio::test]
async fn a_wake_up_in_the_process_brings_each_row_at_once() {
    let db = database().await;
    let recorder = Recorder::new();
    let relay = Running::start(RelayConfig { listen: false, ..never_polling(&db) }, recorder.clone()).await;
    assert_eq!(relay.handle.status().wakes_by, WakeSource::Polling);
    for version in 1..=50 {
        write(&db.pool, 7, version).await;
        relay.wakeup.wake(Partition(7));
        recorder.arrived_one("room:7", u64::try_from(version).unwrap()).await;
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_notification_wakes_a_relay_elsewhere_also_after_its_connection_was_killed() {
    let db = database().await;
    let recorder = Recorder::new();
    let relay = Running::start(never_polling(&db), recorder.clone()).await;
    let listening = |status: &relay::RelayStatus| status.wakes_by == WakeSource::Listening;
    relay.until(listening).await;

    write(&db.pool, 3, 1).await;
    notify(&db, "3").await;
    recorder.arrived_one("room:3", 1).await;
    write(&db.pool, 3, 2).await;
    notify(&db, "1,3").await;
    recorder.arrived_one("room:3", 2).await;
    write(&db.pool, 3, 3).await;
    notify(&db, "").await; // any partition
    recorder.arrived_one("room:3", 3).await;

    assert_eq!(terminate(&db.pool, "roomcast relay listener").await, 1);
    write(&db.pool, 3, 4).await;
    notify(&db, "3").await; // nobody may hear this; the new connection looks by itself
    recorder.arrived_one("room:3", 4).await;
    relay.until(listening).await;
    write(&db.pool, 3, 5).await;
    notify(&db, "3").await;
    recorder.arrived_one("room:3", 5).await;
    relay.stop().await;
}

#[tokio::test]
async fn where_listen_is_not_possible_the_poll_carries_on() {
    let db = database().await;
    let recorder = Recorder::new();
    let relay = Running::start(config(&db), recorder.clone()).await;
    relay.until(|status| status.wakes_by == WakeSource::Listening).await;
    let mut sessions = 0;
    // No session named so is allowed to live for the length of this test.
    for version in 1..=20 {
        sessions += terminate(&db.pool, "roomcast relay listener").await;
        write(&db.pool, 1, version).await;
        recorder.arrived_one("room:1", u64::try_from(version).unwrap()).await;
    }
    assert!(sessions > 0);
    relay.stop().await;
}

#[tokio::test]
async fn a_thousand_commits_make_few_notifications_and_the_last_one_is_always_sent() {
    let db = database().await;
    let mut listener = PgListener::connect(&db.url).await.unwrap();
    listener.listen(CHANNEL).await.unwrap();
    let (notifier, task) = Notifier::new(&db.url);
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(task.run(shutdown.clone()));

    notifier.notify(Partition(5));
    assert_eq!(payload(&mut listener).await, "5", "the first goes out at once");
    for commit in 0..1000 {
        notifier.notify(Partition(commit % 4));
        tokio::task::yield_now().await;
    }
    notifier.notify(Partition(9)); // the last
    notifier.notify(Partition(99)); // no such partition
    let mut count = 0;
    let mut named = Vec::new();
    while !named.contains(&"9".to_owned()) {
        named.extend(payload(&mut listener).await.split(',').map(str::to_owned));
        count += 1;
    }
    assert!(count < 100, "{count} notifications for a thousand commits");
    assert!(["0", "1", "2", "3"].into_iter().all(|partition| named.contains(&partition.to_owned())), "{named:?}");

    assert_eq!(terminate(&db.pool, "roomcast notifier").await, 1);
    notifier.notify(Partition(11));
    assert_eq!(payload(&mut listener).await, "11", "a lost connection delays it and no more");
    shutdown.cancel();
    timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
}

async fn payload(listener: &mut PgListener) -> String {
    let heard = timeout(Duration::from_secs(10), listener.recv()).await.expect("a notification").unwrap();
    heard.payload().to_owned()
}

#[tokio::test]
async fn a_notifier_in_one_process_wakes_the_relay_in_another() {
    let db = database().await;
    let recorder = Recorder::new();
    let relay = Running::start(never_polling(&db), recorder.clone()).await;
    relay.until(|status| status.wakes_by == WakeSource::Listening).await;
    let (notifier, task) = Notifier::new(&db.url);
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(task.run(shutdown.clone()));
    for version in 1..=20 {
        write(&db.pool, 12, version).await;
        notifier.notify(Partition(12));
        recorder.arrived_one("room:12", u64::try_from(version).unwrap()).await;
    }
    shutdown.cancel();
    task.await.unwrap();
    relay.stop().await;
}

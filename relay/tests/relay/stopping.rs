//! A stop ends the batch in flight, but does not wait for ever.

use std::time::Duration;

use relay::RelayConfig;

use crate::{
    recorder::Recorder,
    running::{Running, config, database, waiting, write},
};

#[tokio::test]
async fn a_stop_lets_the_batch_in_flight_end() {
    let db = database().await;
    let recorder = Recorder::new();
    let relay = Running::start(config(&db), recorder.clone()).await;
    recorder.shut_behind();
    write(&db.pool, 1, 1).await;
    recorder.entered().await;
    relay.ask_to_stop();
    recorder.open();
    relay.ended().await.unwrap();
    assert_eq!(waiting(&db.pool).await, 0, "what was delivered was deleted");
    let locks: i64 = sqlx::query_scalar(
        "select count(*) from pg_locks where locktype = 'advisory'
            and database = (select oid from pg_database where datname = current_database())",
    )
    .fetch_one(&db.pool)
    .await
    .unwrap();
    assert_eq!(locks, 0, "and the partitions were given back");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_destination_that_hangs() {
    let db = database().await;
    let recorder = Recorder::new();
    let config = RelayConfig { stop_timeout: Duration::from_millis(50), ..config(&db) };
    let relay = Running::start(config, recorder.clone()).await;
    recorder.shut_behind();
    write(&db.pool, 1, 1).await;
    recorder.entered().await;
    relay.ask_to_stop();
    relay.ended().await.unwrap();
    assert_eq!(waiting(&db.pool).await, 1, "it comes again");
}

//! What breaks, and that nothing is lost.

use std::{collections::BTreeSet, time::Duration};

use debezium::Error;
use embedded_postgres::testkit::TestDatabase;

use crate::{
    harness::{Record, database, eventually, records, rows_as, stack, stack_alone, write_rows},
    supervising::watching,
};

#[tokio::test]
async fn a_worker_that_was_killed_under_load_goes_on_where_it_was() {
    let (stack, database) = (stack_alone().await, database().await);
    // Rows of others and heartbeats, so that the log moves on beyond what the connector has delivered.
    let connector = rows_as("killed", &database).with("heartbeat.interval.ms", "200");
    stack.connect().apply(&connector).await.unwrap();
    write_rows(&database, "before ", 100).await;
    let writing = async {
        for n in 0..40 {
            write_rows(&database, &format!("during {n} "), 5).await;
            sqlx::query("insert into elsewhere values ('x')").execute(&database.pool).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await; // so that the kill comes in the middle
        }
    };
    tokio::join!(writing, stack.kill_connect());
    write_rows(&database, "after ", 100).await;
    stack.start_connect().await.unwrap();

    // Repeats are allowed, losses are not.
    let (mut wanted, mut texts) = (400, BTreeSet::new());
    while texts.len() < 400 {
        let records = records(&stack, "killed.public.chat_cdc", wanted).await;
        assert_eq!(records.len(), wanted, "{} rows of 400 arrived, and no more come", texts.len());
        texts = records.iter().map(Record::text).collect();
        wanted += 400 - texts.len();
    }
    stack.connect().remove(&connector, &database.pool).await.unwrap();
}

#[tokio::test]
async fn a_broker_that_was_away_gets_everything_when_it_is_back() {
    let (stack, database) = (stack_alone().await, database().await);
    let connector = rows_as("brokerless", &database);
    stack.connect().apply(&connector).await.unwrap();
    write_rows(&database, "before ", 10).await;
    // The topic is there. A broker that goes while its topic is being made fails the task, which needs a restart.
    assert_eq!(records(&stack, "brokerless.public.chat_cdc", 10).await.len(), 10);
    stack.stop_kafka().await;
    write_rows(&database, "away ", 100).await;
    stack.start_kafka().await.unwrap();

    let records = records(&stack, "brokerless.public.chat_cdc", 110).await;
    let texts: BTreeSet<String> = records.iter().map(Record::text).collect();
    assert_eq!(texts.len(), 110);
    // The worker finds its group again before it takes orders.
    eventually("Connect takes orders", async || stack.connect().remove(&connector, &database.pool).await.is_ok()).await;
}

#[tokio::test]
async fn a_database_without_rows_for_the_connector_retains_no_log_and_a_restart_still_works() {
    let (stack, database) = (stack().await, database().await);
    let connector = rows_as("quiet", &database).with("heartbeat.interval.ms", "300");
    stack.connect().apply(&connector).await.unwrap();
    sqlx::query("insert into elsewhere select repeat('x', 100) from generate_series(1, 50000)")
        .execute(&database.pool)
        .await
        .unwrap();

    eventually("the slot moves on", async || {
        let behind: bool = sqlx::query_scalar(
            "select pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) > 1e6 from pg_replication_slots where slot_name = 'rows_quiet'",
        )
        .fetch_one(&database.pool)
        .await
        .unwrap();
        !behind
    })
    .await;

    // With `lsn.flush.mode` connector_and_driver the slot moves on too, and this fails for ever.
    stack.connect().restart(connector.name()).await.unwrap();
    stack.connect().remove(&connector, &database.pool).await.unwrap();
}

#[tokio::test]
async fn a_dropped_slot_is_a_loud_failure_and_removing_and_applying_is_the_way_back() {
    let (stack, database) = (stack().await, database().await);
    let connect = stack.connect();
    let connector = rows_as("slotless", &database);
    connect.apply(&connector).await.unwrap();
    write_rows(&database, "before ", 1).await;
    assert_eq!(records(&stack, "slotless.public.chat_cdc", 1).await.len(), 1);

    eventually("the slot is gone", async || drop_slot_in_use(&database, "rows_slotless").await).await;
    write_rows(&database, "missed ", 1).await;

    eventually("the task says so", async || connect.status("rows-slotless").await.unwrap().failure().is_some()).await;
    let (supervisor, watched) = watching(&stack, connector.name());
    eventually("the supervisor says what to do", async || {
        supervisor.report().to_string().contains("remove, then apply")
    })
    .await;
    drop(watched);
    assert_eq!(supervisor.report().of(connector.name()).unwrap().restarts, 0, "no restart would help");
    let error = connect.apply(&connector).await.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error}");
    assert!(error.to_string().contains("Remove the connector and apply it again"), "{error}");

    // A slot made anew by somebody hides the gap; it must be noticed all the same.
    sqlx::query("select pg_create_logical_replication_slot('rows_slotless', 'pgoutput')")
        .execute(&database.pool)
        .await
        .unwrap();
    let error = connect.apply(&connector).await.unwrap_err();
    assert!(error.to_string().contains("Remove the connector and apply it again"), "{error}");

    connect.remove(&connector, &database.pool).await.unwrap();
    connect.apply(&connector).await.unwrap();
    write_rows(&database, "after ", 1).await;
    assert_eq!(records(&stack, "slotless.public.chat_cdc", 2).await.len(), 2);
    connect.remove(&connector, &database.pool).await.unwrap();
}

/// Its reader comes back within a moment, so both at once.
async fn drop_slot_in_use(database: &TestDatabase, slot: &str) -> bool {
    let _ = sqlx::query("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1")
        .bind(slot)
        .execute(&database.pool)
        .await;
    sqlx::query("select pg_drop_replication_slot($1)").bind(slot).execute(&database.pool).await.is_ok()
}

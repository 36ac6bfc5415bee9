//! What can only be wrong fails at start, with what to do about it.

use relay::{RelayConfig, RelayError};

use crate::{
    recorder::Recorder,
    running::{Running, config, database, name},
};

async fn failure(config: RelayConfig) -> String {
    Running::start_beside(config, Recorder::new()).ended().await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_wrong_partition_setting_fails_at_start_with_the_settings_name_and_both_numbers() {
    let db = database().await;
    let error = failure(RelayConfig { partitions: Some(8), ..config(&db) }).await;
    assert!(["ROOMCAST_PARTITIONS", "8", "16"].iter().all(|part| error.contains(part)), "{error}");
    let running = Running::start(RelayConfig { partitions: Some(16), ..config(&db) }, Recorder::new()).await;
    running.stop().await;
}

#[tokio::test]
async fn a_database_with_another_number_of_partitions_is_refused_with_both_numbers() {
    let db = database().await;
    sqlx::raw_sql(
        "create or replace function partition_count() returns smallint language sql as 'select 32::smallint'",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    let error = failure(config(&db)).await;
    assert!(
        ["partition_count()", "32", "16", "ROOMCAST_PARTITIONS"].iter().all(|part| error.contains(part)),
        "{error}"
    );
}

#[tokio::test]
async fn a_database_without_the_tables_says_what_to_run() {
    let db = database().await;
    sqlx::raw_sql("drop table dead_letters").execute(&db.pool).await.unwrap();
    let error = failure(config(&db)).await;
    assert!(error.contains("run `roomcast migrate`"), "{error}");
}

#[tokio::test]
async fn an_address_that_cannot_work_fails_at_start() {
    let db = database().await;
    let missing = RelayConfig { database_url: db.url.replace(&name(&db).await, "missing"), ..config(&db) };
    let error = failure(missing).await;
    assert!(error.contains("does not exist"), "{error}");
    let nonsense = RelayConfig { database_url: "not an address".into(), ..config(&db) };
    let ended = Running::start_beside(nonsense, Recorder::new()).ended().await;
    assert!(matches!(ended, Err(RelayError::Database(_))), "{ended:?}");
}

#[tokio::test]
async fn settings_without_sense_are_refused() {
    let db = database().await;
    assert!(failure(RelayConfig { workers: 0, ..config(&db) }).await.contains("at least one worker"));
    assert!(failure(RelayConfig { batch_size: 0, ..config(&db) }).await.contains("at least one row"));
}

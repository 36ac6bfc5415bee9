//! Databases for tests.

use embedded_postgres::testkit::{database, database_on, private_server};
use sqlx::migrate::Migrator;

static MIGRATOR: Migrator = sqlx::migrate!("tests/server/migrations");

#[tokio::test]
async fn every_test_has_a_migrated_database_of_its_own() {
    let (one, two) = tokio::join!(database(&MIGRATOR), database(&MIGRATOR));
    sqlx::query("insert into note (text) values ('one')").execute(&one.pool).await.unwrap();
    let count = |pool| sqlx::query_scalar::<_, i64>("select count(*) from note").fetch_one(pool);
    assert_eq!(count(&one.pool).await.unwrap(), 1);
    assert_eq!(count(&two.pool).await.unwrap(), 0);
}

#[tokio::test]
async fn a_database_can_be_reached_by_its_address() {
    let database = database(&MIGRATOR).await;
    crate::harness::write_note(&database.url, "hello").await;
    let text: String = sqlx::query_scalar("select text from note").fetch_one(&database.pool).await.unwrap();
    assert_eq!(text, "hello");
}

#[tokio::test]
async fn tests_that_start_together_make_the_template_once() {
    let server = private_server().await;
    let url = server.url("postgres");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        tasks.spawn(async move { database_on(&url, &MIGRATOR).await });
    }
    tasks.join_all().await;
    let templates: i64 = sqlx::query_scalar("select count(*) from pg_database where datname like '%template\\_%'")
        .fetch_one(&mut crate::harness::connect(&url).await)
        .await
        .unwrap();
    assert_eq!(templates, 1);
}

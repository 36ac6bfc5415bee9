//! The database and the program agree, or the program says why not.

use backend::{MIGRATOR, SchemaError, check_schema};
use embedded_postgres::testkit;
use protocol::{Partition, RoomId};
use sqlx::Executor;

#[tokio::test]
async fn a_room_has_the_same_partition_in_sql_and_in_rust() {
    let db = testkit::database(&MIGRATOR).await.pool;
    let ids: Vec<i64> = (-40..=40)
        .chain((0..64).map(|bit| 1_i64.wrapping_shl(bit)))
        .chain((0..64).map(|bit| 1_i64.wrapping_shl(bit).wrapping_sub(1)))
        .chain([i64::MIN, i64::MAX])
        .chain((0..1000).map(|number| number * 7_919_777))
        .collect();
    let partitions: Vec<i16> =
        sqlx::query_scalar("select partition_of(id) from unnest($1::bigint[]) with ordinality as t (id, n) order by n")
            .bind(&ids)
            .fetch_all(&db)
            .await
            .unwrap();
    for (id, partition) in ids.into_iter().zip(partitions) {
        assert_eq!(Partition::of(RoomId(id)), Partition(partition), "room {id}");
    }
}

#[tokio::test]
async fn a_database_of_another_build_is_refused_with_its_reason() {
    let db = testkit::database(&MIGRATOR).await.pool;
    check_schema(&db).await.unwrap();

    db.execute(
        "create or replace function partition_count() returns smallint immutable language sql as 'select 4::smallint'",
    )
    .await
    .unwrap();
    let error = check_schema(&db).await.unwrap_err();
    assert!(matches!(error, SchemaError::Partitions { database: 4, program: 16 }), "{error}");
    db.execute("update _sqlx_migrations set checksum = '\\x00' where version = 2").await.unwrap();
    let error = check_schema(&db).await.unwrap_err();
    assert!(matches!(error, SchemaError::Changed(2)), "{error}");
    db.execute("delete from _sqlx_migrations where version = 2").await.unwrap();
    let error = check_schema(&db).await.unwrap_err();
    assert!(matches!(error, SchemaError::Missing(2)), "{error}");
}

#[tokio::test]
async fn an_outbox_row_needs_no_luck_to_be_found() {
    let db = testkit::database(&MIGRATOR).await.pool;
    let indexes: Vec<String> = sqlx::query_scalar("select indexdef from pg_indexes where tablename = 'chat_outbox'")
        .fetch_all(&db)
        .await
        .unwrap();
    assert_eq!(indexes.len(), 1, "a second index costs each message 17 µs");
    assert!(indexes[0].ends_with("(partition, id)"), "{indexes:?}");
}

//! What arrives in the topics, from connectors and tables exactly as the product has them, written by its own functions.

use std::collections::{BTreeMap, BTreeSet};

use debezium::{Applied, Kind};
use embedded_postgres::testkit::TestDatabase;
use serde_json::Value;
use sqlx::Executor;

use crate::harness::{assert_rooms_are_in_order, connector, database, post, records, stack, write_rows};

#[tokio::test]
async fn rows_arrive_whole_keyed_by_their_partition_and_spread_evenly() {
    let (stack, database) = (stack().await, database().await);
    let connector = connector(Kind::Rows, &database);
    assert_eq!(stack.connect().apply(&connector).await.unwrap(), Applied::Created);
    write_rows(&database, "row ", 32).await;
    post(&database.pool, "message", "not a row ", 16).await;
    clean_up(&database).await;
    write_rows(&database, "later ", 16).await;

    let records = records(&stack, Kind::Rows.topic(), 48).await;

    let texts: BTreeSet<String> = records.iter().map(super::harness::Record::text).collect();
    assert_eq!((records.len(), texts.len()), (48, 48), "only inserts are records");
    let mut keys_of_partition: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for record in &records {
        assert_eq!(record.key, format!(r#"{{"partition":{}}}"#, record.value["partition"]));
        assert_eq!((record.value["method"].as_str(), record.value["mode"].as_str()), (Some("publish"), Some("cdc")));
        assert_eq!(record.headers, "NO_HEADERS");
        keys_of_partition.entry(record.partition).or_default().insert(&record.key);
    }
    let even: BTreeMap<u32, usize> = (0..8).map(|partition| (partition, 2)).collect();
    let spread: BTreeMap<u32, usize> = keys_of_partition.iter().map(|(at, keys)| (*at, keys.len())).collect();
    assert_eq!(spread, even, "16 partitions of rooms on 8 of Kafka");
    assert_rooms_are_in_order(&records);

    stack.connect().remove(&connector, &database.pool).await.unwrap();
}

#[tokio::test]
async fn events_arrive_by_room_with_id_type_and_mode_in_headers_and_the_payload_as_it_was_stored() {
    let (stack, database) = (stack().await, database().await);
    let connector = connector(Kind::Events, &database);
    stack.connect().apply(&connector).await.unwrap();
    write_rows(&database, "event ", 16).await;
    clean_up(&database).await;
    write_rows(&database, "later ", 32).await;
    let announce =
        "select announce('wal', 100, 'member.subscribe', 'subscribe', '{\"user\": \"1\", \"channel\": \"room:100\"}')";
    database.pool.execute(announce).await.unwrap();

    let mut records = records(&stack, Kind::Events.topic(), 49).await;

    assert_eq!(records.len(), 49, "deletes are no events");
    let stored: Vec<(String, String, Value, String)> = sqlx::query_as(
        "select format('id:%s,eventType:%s,mode:%s', event_id, event_type, mode), aggregate_id, payload, event_type
           from chat_cdc order by id",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(stored.len(), 33);
    for (headers, room, payload, _) in &stored {
        let found = records.iter().find(|record| record.headers == *headers).expect("a record of each row");
        assert_eq!((&found.key, &found.value), (room, payload));
    }
    assert_eq!(stored[32].3, "member.subscribe");
    records.retain(|record| record.headers.contains("eventType:message.text"));
    assert_eq!(records.len(), 48);
    assert_rooms_are_in_order(&records);

    stack.connect().remove(&connector, &database.pool).await.unwrap();
}

#[tokio::test]
async fn logical_messages_arrive_in_order_without_a_table_if_they_are_ours_and_were_committed() {
    let (stack, database) = (stack().await, database().await);
    let connector = connector(Kind::Messages, &database);
    stack.connect().apply(&connector).await.unwrap();
    post(&database.pool, "message", "first ", 16).await;
    let mut transaction = database.pool.begin().await.unwrap();
    post(&mut *transaction, "message", "rolled back ", 16).await;
    emit(&mut *transaction, false, "roomcast.7", r#"{"payload": "not taken back"}"#).await;
    transaction.rollback().await.unwrap();
    emit(&database.pool, true, "stranger", "not ours").await;
    write_rows(&database, "a row ", 16).await;
    post(&database.pool, "message", "later ", 48).await;

    let mut records = records(&stack, Kind::Messages.topic(), 65).await;

    assert_eq!(records.len(), 65);
    let at_once =
        records.iter().position(|record| record.command() == "not taken back").expect("what no rollback undoes");
    assert_eq!(records.remove(at_once).key, r#"{"prefix":"roomcast.7"}"#);
    let texts: BTreeSet<String> = records.iter().map(super::harness::Record::text).collect();
    assert_eq!(texts.len(), 64);
    assert!(texts.iter().all(|text| text.starts_with("first ") || text.starts_with("later ")), "{texts:?}");
    for record in &records {
        let room = record.command()["data"]["room"].as_i64().unwrap();
        assert_eq!(record.key, format!(r#"{{"prefix":"roomcast.{}"}}"#, room % 16));
        assert_eq!(record.value["op"], "m");
    }
    assert_rooms_are_in_order(&records);

    stack.connect().remove(&connector, &database.pool).await.unwrap();
}

async fn emit(connection: impl sqlx::PgExecutor<'_>, transactional: bool, prefix: &str, content: &str) {
    let emit = sqlx::query("select pg_logical_emit_message($1, $2, $3)").bind(transactional).bind(prefix).bind(content);
    emit.execute(connection).await.unwrap();
}

/// What a cleaner does, and what the tables forbid: an update.
async fn clean_up(database: &TestDatabase) {
    for statement in [
        "alter table chat_cdc disable trigger chat_cdc_is_written_once",
        "update chat_cdc set mode = 'wal' where partition = 1",
        "alter table chat_cdc enable trigger chat_cdc_is_written_once",
        "delete from chat_cdc where partition = 2",
        "truncate chat_cdc",
    ] {
        database.pool.execute(statement).await.unwrap();
    }
}

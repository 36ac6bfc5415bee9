//! What arrives in the topics, from connectors exactly as the product has them.

use std::collections::{BTreeMap, BTreeSet};

use debezium::{Applied, Kind};

use crate::harness::{connector, database, records, stack, write_rows};

#[tokio::test]
async fn rows_arrive_whole_keyed_by_their_partition_and_spread_evenly() {
    let (stack, database) = (stack().await, database().await);
    let connector = connector(Kind::Rows, &database);
    assert_eq!(stack.connect().apply(&connector).await.unwrap(), Applied::Created);
    write_rows(&database, "row ", 32).await;
    sqlx::query("update chat_cdc set mode = 'wal' where partition = 1").execute(&database.pool).await.unwrap();
    sqlx::query("delete from chat_cdc where partition = 2").execute(&database.pool).await.unwrap();
    sqlx::query("select pg_logical_emit_message(true, 'roomcast.3', 'not a row')")
        .execute(&database.pool)
        .await
        .unwrap();
    write_rows(&database, "later ", 16).await;

    let records = records(&stack, Kind::Rows.topic(), 48).await;

    assert_eq!(records.len(), 48, "only inserts are records");
    let mut kafka_partition_of = BTreeMap::new();
    for record in &records {
        assert_eq!(record.key, format!(r#"{{"partition":{}}}"#, record.value["partition"]));
        assert_eq!(record.value["method"], "publish");
        assert_eq!(record.headers, "NO_HEADERS");
        let first = *kafka_partition_of.entry(record.key.clone()).or_insert(record.partition);
        assert_eq!(first, record.partition, "a partition's rows must stay in order");
    }
    let used: BTreeSet<u32> = kafka_partition_of.values().copied().collect();
    assert_eq!(used, (0..8).collect(), "16 keys leave none of 8 partitions empty");
    assert!(records.iter().any(|record| record.text() == "row 0"));

    stack.connect().remove(&connector, &database.pool).await.unwrap();
}

#[tokio::test]
async fn events_arrive_by_room_with_id_type_and_mode_in_headers_and_the_payload_as_it_was_stored() {
    let (stack, database) = (stack().await, database().await);
    let connector = connector(Kind::Events, &database);
    stack.connect().apply(&connector).await.unwrap();
    write_rows(&database, "event ", 16).await;
    sqlx::query("delete from chat_cdc").execute(&database.pool).await.unwrap();
    write_rows(&database, "later ", 1).await;

    let records = records(&stack, Kind::Events.topic(), 17).await;

    assert_eq!(records.len(), 17, "deletes are no events");
    let ids: Vec<String> =
        sqlx::query_scalar("select event_id::text from chat_cdc").fetch_all(&database.pool).await.unwrap();
    let last = records.iter().find(|record| record.value["data"]["text"] == "later 0").expect("the last event");
    assert_eq!(last.headers, format!("id:{},eventType:message.text,mode:cdc", ids[0]));
    assert_eq!(last.key, "100");
    assert!(last.value["data"]["nothing"].is_null() && last.value["data"].get("nothing").is_some());

    stack.connect().remove(&connector, &database.pool).await.unwrap();
}

#[tokio::test]
async fn logical_messages_arrive_without_a_table_if_they_are_ours_and_were_committed() {
    let (stack, database) = (stack().await, database().await);
    let connector = connector(Kind::Messages, &database);
    stack.connect().apply(&connector).await.unwrap();
    for (prefix, content, transactional, ending) in [
        ("roomcast.1", "rolled back", true, "rollback"),
        ("stranger", "not ours", true, "commit"),
        ("roomcast.2", "at once", false, "rollback"),
        ("roomcast.3", "committed", true, "commit"),
    ] {
        let mut transaction = database.pool.begin().await.unwrap();
        sqlx::query("select pg_logical_emit_message($1, $2, $3)")
            .bind(transactional)
            .bind(prefix)
            .bind(content)
            .execute(&mut *transaction)
            .await
            .unwrap();
        if ending == "commit" { transaction.commit().await.unwrap() } else { transaction.rollback().await.unwrap() }
    }

    let mut records = records(&stack, Kind::Messages.topic(), 2).await;

    records.sort_by_key(|record| record.key.clone());
    let found: Vec<_> =
        records.iter().map(|record| (record.key.as_str(), record.value["message"]["content"].as_str())).collect();
    assert_eq!(
        found,
        [(r#"{"prefix":"roomcast.2"}"#, Some("YXQgb25jZQ==")), (r#"{"prefix":"roomcast.3"}"#, Some("Y29tbWl0dGVk"))],
        "base64 of `at once` and `committed`"
    );
    assert_eq!(records[0].value["op"], "m");

    stack.connect().remove(&connector, &database.pool).await.unwrap();
}

//! Kafka as a source, on a real broker. The records are written here, as Debezium writes them; with Debezium itself:
//! `probes`.

use std::{ops::RangeInclusive, time::Duration};

use embedded_postgres::testkit::TestDatabase;
use rdkafka::producer::FutureRecord;
use relay::{
    KafkaConfig, Phase, RelayConfig, RelayStatus, Verdict,
    dead_letter::{self, DeadLetterError, Selection},
};

use crate::{
    recorder::Recorder,
    running::{Running, config, database},
    stack::{Topic, stack, stack_alone},
    starting::Starting,
};

const PARTITIONS: i32 = 4;

/// A topic of the test's own and a writer to it.
struct Kafka {
    topic: Topic,
}

impl Kafka {
    async fn on(stack: &debezium::Stack) -> Self {
        Self { topic: Topic::make(stack, PARTITIONS).await }
    }

    /// A relay that reads only this topic.
    fn config(&self, db: &TestDatabase) -> RelayConfig {
        config_of(db, &[&self.topic])
    }

    /// A record as Debezium writes it, the rooms spread over the partitions.
    async fn write(&self, room: i64, version: i64) {
        self.write_raw(i32::try_from(room).unwrap() % PARTITIONS, Some(&row(room, version))).await;
    }

    async fn write_raw(&self, partition: i32, value: Option<&str>) -> i64 {
        let record = FutureRecord::<str, str> { payload: value, ..FutureRecord::to(&self.topic.name) };
        let record = record.partition(partition).key("{}");
        self.topic.producer.send(record, Duration::from_secs(20)).await.unwrap().offset
    }

    /// Each of these versions for each room.
    async fn write_many(&self, rooms: i64, versions: RangeInclusive<i64>) {
        write_many(&self.topic, 1..=rooms, versions).await;
    }
}

/// A relay that reads only these topics, as one of a group of the test's own.
pub(crate) fn config_of(db: &TestDatabase, topics: &[&Topic]) -> RelayConfig {
    let kafka = KafkaConfig {
        group: topics[0].name.clone(),
        topics: topics.iter().map(|topic| topic.name.clone()).collect(),
        partitions: PARTITIONS,
        session_timeout: Duration::from_secs(6), // the least that a broker allows
        commit_interval: Duration::from_millis(50),
        ..KafkaConfig::new(&topics[0].brokers)
    };
    RelayConfig { outbox: false, kafka: Some(kafka), ..config(db) }
}

pub(crate) async fn write_many(topic: &Topic, rooms: RangeInclusive<i64>, versions: RangeInclusive<i64>) {
    let mut pending = Vec::new();
    for (room, version) in versions.flat_map(|version| rooms.clone().map(move |room| (room, version))) {
        let (partition, value) = (i32::try_from(room).unwrap() % PARTITIONS, row(room, version));
        let record = FutureRecord::<str, str>::to(&topic.name).partition(partition).key("{}").payload(&value);
        pending.push(topic.producer.send_result(record).unwrap());
    }
    for sent in pending {
        sent.await.unwrap().unwrap();
    }
}

fn row(room: i64, version: i64) -> String {
    let payload = format!(r#"{{"channel":"room:{room}","version":{version},"version_epoch":"e","data":{{}}}}"#);
    serde_json::json!({
        "id": version, "method": "publish", "payload": payload, "partition": room % 16, "mode": "cdc",
        "created_at": "2026-11-22T10:11:12.345678Z", "event_type": "message.text", "aggregate_id": room.to_string(),
    })
    .to_string()
}

fn carries(status: &RelayStatus, partitions: usize) -> bool {
    status.source("kafka").is_some_and(|kafka| kafka.lag.partitions.len() == partitions)
}

/// Until nothing waits in Kafka.
async fn caught_up(relay: &Running) {
    let waiting = |status: &RelayStatus| status.source("kafka").and_then(|kafka| kafka.lag.rows);
    relay.until(|status| carries(status, 4) && waiting(status) == Some(0)).await;
}

#[tokio::test]
async fn rows_arrive_in_order_and_a_stop_repeats_nothing_and_a_crash_only_what_was_not_committed() {
    let (db, recorder) = (database().await, Recorder::new());
    let stack = stack().await;
    let kafka = Kafka::on(&stack).await;
    kafka.write_many(8, 1..=100).await;
    let relay = Running::start_beside(kafka.config(&db), recorder.clone());
    recorder.arrived(800).await;
    kafka.write(1, 101).await;
    recorder.arrived_one("room:1", 101).await;
    assert_eq!(recorder.seen().len(), 801);
    relay.stop().await;

    let relay = Running::start_beside(kafka.config(&db), recorder.clone());
    caught_up(&relay).await;
    recorder.shut_behind();
    kafka.write(1, 102).await;
    recorder.entered().await;
    assert_eq!(recorder.seen().len(), 802, "nothing came again after the stop");
    relay.kill().await;

    recorder.open();
    kafka.write(1, 103).await;
    let relay = Running::start_beside(kafka.config(&db), recorder.clone());
    recorder.arrived(804).await;
    assert_eq!(recorder.seen()[801..].iter().map(|(_, version)| *version).collect::<Vec<_>>(), [102, 102, 103]);
    relay.stop().await;
}

#[tokio::test]
async fn a_poison_record_is_put_aside_with_its_place_and_its_partition_goes_on() {
    let (db, recorder) = (database().await, Recorder::new());
    let stack = stack().await;
    let kafka = Kafka::on(&stack).await;
    let of_size = |bytes| row(1, 1).replace("{}", &format!("\\\"{}\\\"", "x".repeat(bytes)));
    let (large, huge) = (of_size(2000), of_size(3_000_000)); // a record that is larger than one fetch
    for value in ["{oops", &row(1, 1).replace("publish", "shout"), &large, r#"{"method":"publish"}"#, &huge] {
        kafka.write_raw(1, Some(value)).await;
    }
    // No news, and no poison either.
    let other_mode = row(1, 1).replace("\"cdc\"", "\"wal\"");
    let snapshot = format!(r#"{{"op":"r","after":{}}}"#, row(1, 1));
    for value in
        [None, Some("null"), Some(r#"{"before":{"id":1},"after":null,"op":"d"}"#), Some(&other_mode), Some(&snapshot)]
    {
        kafka.write_raw(1, value).await;
    }
    kafka.write(1, 1).await;
    let config = RelayConfig { largest_payload: 1000, ..kafka.config(&db) };
    let relay = Running::start_beside(config, recorder.clone());
    recorder.arrived(1).await;
    caught_up(&relay).await;

    let mut letters = dead_letter::list(&db.pool, 0, 10).await.unwrap();
    letters.sort_by_key(|letter| letter.source_id);
    let offsets: Vec<_> = letters.iter().map(|letter| letter.source_id).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
    assert!(letters.iter().all(|letter| letter.source == format!("kafka:{}/1", kafka.topic.name)), "{letters:?}");
    let reasons = ["not JSON", "unknown method \"shout\"", "the limit is 1000", "no payload", "the limit is 1000"];
    for (letter, reason) in letters.iter().zip(reasons) {
        assert!(letter.reason.contains(reason), "{}", letter.reason);
    }
    assert_eq!(letters[0].payload, "{oops");
    assert_eq!(recorder.seen(), [("room:1".to_owned(), 1)]);
    relay.stop().await;

    // Put back, a letter travels by the outbox, and passes if its reason is gone.
    assert_eq!(dead_letter::replay(&db.pool, Selection::One(letters[2].id)).await.unwrap().rows, 1);
    let refused = dead_letter::replay(&db.pool, Selection::One(letters[0].id)).await.unwrap().refused;
    assert!(matches!(refused[..], [DeadLetterError::NotJson { .. }]), "{refused:?}");
    let relay = Running::start(self::config(&db), recorder.clone()).await;
    recorder.arrived(2).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_partition_whose_rows_are_not_accepted_is_paused_and_holds_no_other() {
    let (db, recorder) = (database().await, Recorder::new());
    let stack = stack().await;
    let kafka = Kafka::on(&stack).await;
    recorder.judge(|publish| {
        let refused = publish.channel.as_str() == "room:1";
        if refused { Verdict::Retry { reason: "shard is behind".into() } } else { Verdict::Accepted }
    });
    let mut config = kafka.config(&db);
    config.batch_size = 10;
    if let Some(kafka) = &mut config.kafka {
        kafka.queue_rows = 100;
    }
    kafka.write_many(4, 1..=500).await;
    let relay = Running::start_beside(config, recorder.clone());
    recorder.arrived(1500).await;
    kafka.write(2, 501).await;
    recorder.arrived_one("room:2", 501).await;
    relay.until(|status| status.source("kafka").is_some_and(|kafka| kafka.lag.rows == Some(500))).await;
    // Nothing is fetched from it, and yet its lag is seen to grow.
    write_many(&kafka.topic, 1..=1, 501..=700).await;
    relay.until(|status| status.source("kafka").is_some_and(|kafka| kafka.lag.rows == Some(700))).await;

    recorder.judge(|_| Verdict::Accepted);
    recorder.arrived(2201).await;
    caught_up(&relay).await;
    assert_eq!(recorder.seen().len(), 2201, "nothing was repeated");
    assert_eq!(recorder.in_order()["room:1"], 700);
    relay.stop().await;
}

#[tokio::test]
async fn an_outage_of_kafka_is_waited_for_and_makes_no_dead_letter() {
    let (db, recorder) = (database().await, Recorder::new());
    let stack = stack_alone().await;
    let kafka = Kafka::on(&stack).await;
    let relay = Running::start_beside(kafka.config(&db), recorder.clone());
    kafka.write(1, 1).await;
    recorder.arrived(1).await;
    relay.carrying("kafka").await;
    stack.stop_kafka().await;
    relay.until(|status| status.source("kafka").is_some_and(|kafka| kafka.phase == Phase::Connecting)).await;
    assert!(!relay.handle.status().is_ready());
    stack.start_kafka().await.unwrap();
    kafka.write_many(4, 2..=20).await;
    relay.carrying("kafka").await;
    recorder.arrived_one("room:1", 20).await;
    caught_up(&relay).await;
    assert_eq!(recorder.seen().iter().filter(|(room, _)| room == "room:1").count(), 20);
    relay.until(|status| status.source("kafka").is_some_and(|kafka| kafka.last_error.is_none())).await;
    assert!(dead_letter::list(&db.pool, 0, 10).await.unwrap().is_empty());
    relay.stop().await;
}

#[tokio::test]
async fn a_relay_that_a_starting_broker_has_told_of_no_broker_reads_on_when_it_has_started() {
    let (db, recorder) = (database().await, Recorder::new());
    let stack = stack_alone().await;
    let kafka = Kafka::on(&stack).await;
    let relay = Running::start_beside(kafka.config(&db), recorder.clone());
    kafka.write_many(4, 1..=10).await;
    recorder.arrived(40).await;
    caught_up(&relay).await;
    stack.stop_kafka().await;
    let starting = Starting::at(&stack.bootstrap_servers()).await;
    starting.has_told("roomcast-relay", &kafka.topic.name).await;
    starting.end().await;
    stack.start_kafka().await.unwrap();

    // Who wrote before may have been told the same.
    write_many(&Topic::named(&stack, kafka.topic.name.clone()), 1..=4, 11..=20).await;
    for room in 1..=4 {
        recorder.arrived_one(&format!("room:{room}"), 20).await;
    }
    caught_up(&relay).await;
    relay.until(|status| status.source("kafka").is_some_and(|kafka| kafka.last_error.is_none())).await;
    relay.stop().await;
}

#[tokio::test]
async fn kafka_that_is_not_there_at_all_does_not_keep_a_relay_from_stopping() {
    let (db, recorder) = (database().await, Recorder::new());
    let config = RelayConfig { kafka: Some(KafkaConfig::new("127.0.0.1:1")), ..config(&db) };
    let relay = Running::start_beside(config, recorder.clone());
    relay.until(|status| status.source("kafka").is_some_and(|kafka| kafka.last_error.is_some())).await;
    relay.until(|status| status.source("outbox").is_some_and(|outbox| outbox.ready)).await;
    crate::running::write(&db.pool, 1, 1).await;
    recorder.arrived(1).await;
    relay.stop().await;

    let mut settings = KafkaConfig::new("127.0.0.1:1");
    settings.settings.insert("no.such.setting".to_owned(), "1".to_owned());
    let config = RelayConfig { kafka: Some(settings), ..self::config(&db) };
    let error = Running::start_beside(config, recorder).ended().await.unwrap_err().to_string();
    assert!(error.contains("no.such.setting"), "{error}");
}

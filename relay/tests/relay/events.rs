//! Events for read models, on a real broker. The sink is the trait's other side: it remembers what it is given. With
//! Debezium and the read model itself: the tests of `roomcast`.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use embedded_postgres::testkit::TestDatabase;
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::FutureRecord,
};
use relay::{
    KafkaConfig,
    dead_letter::{self, DeadLetterError, Selection},
    events::{
        Event, EventConsumer, EventConsumerHandle, EventSink, EventVerdict, EventsConfig, Progress, SinkError,
        last_probe, positions, replay,
    },
};
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    running::{database, until},
    stack::{Topic, stack, stack_alone},
    starting::Starting,
};

const PARTITIONS: i32 = 3;

/// Remembers the ids of what it was given, in order.
#[derive(Default)]
struct Sink {
    seen: Mutex<Vec<(i32, String)>>,
    /// How often it shall fail before it works.
    failures: AtomicUsize,
    /// Applies, and never says so.
    silent: AtomicBool,
    applied: Notify,
}

#[async_trait]
impl EventSink for Sink {
    async fn apply(&self, events: &[Event]) -> Result<Vec<EventVerdict>, SinkError> {
        if self.failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(SinkError::new("the database is away"));
        }
        self.seen.lock().unwrap().extend(events.iter().map(|event| (event.partition, event.id.clone())));
        self.applied.notify_waiters();
        while self.silent.load(SeqCst) {
            self.applied.notified().await;
        }
        let verdict = |event: &Event| match event.payload.as_str() {
            "poison" => EventVerdict::Poison { reason: "it is poison".to_owned() },
            _ => EventVerdict::Done("newest"),
        };
        Ok(events.iter().map(verdict).collect())
    }
}

impl Sink {
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(_, id)| id.clone()).collect()
    }

    fn seen_in(&self, partition: i32) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(of, _)| *of == partition).map(|(_, id)| id.clone()).collect()
    }

    async fn arrived(&self, count: usize) {
        until(async || self.seen.lock().unwrap().len() >= count).await;
    }
}

/// A topic of the test's own with a group of its own.
struct Kafka(Topic);

impl Kafka {
    async fn start() -> Self {
        Self::on(&*stack().await).await
    }

    async fn on(stack: &debezium::Stack) -> Self {
        Self(Topic::make(stack, PARTITIONS).await)
    }

    fn config(&self, db: &TestDatabase) -> EventsConfig {
        let kafka = KafkaConfig {
            group: self.0.name.clone(),
            topics: vec![self.0.name.clone()],
            session_timeout: Duration::from_secs(6),
            commit_interval: Duration::from_millis(50),
            ..KafkaConfig::new(&self.0.brokers)
        };
        EventsConfig {
            kafka,
            probes: None,
            longest_backoff: Duration::from_millis(100),
            ..EventsConfig::new(&db.url, "")
        }
    }

    /// Events with these numbers, spread over the partitions.
    async fn write(&self, numbers: std::ops::Range<i32>) {
        for number in numbers {
            let headers = [("id", number.to_string()), ("eventType", "message.text".to_owned())];
            self.write_raw(number % PARTITIONS, &headers, Some(b"{}")).await;
        }
    }

    async fn write_raw(&self, partition: i32, headers: &[(&str, String)], value: Option<&[u8]>) -> i64 {
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        let record = FutureRecord::<str, [u8]> { payload: value, ..FutureRecord::to(&self.0.name) };
        let record = record.partition(partition).key("7").headers(headers);
        self.0.producer.send(record, Duration::from_secs(20)).await.unwrap().offset
    }

    /// Until the group has committed everything.
    async fn committed(&self, config: &EventsConfig) {
        let is_done = async || {
            let positions = positions(&config.kafka).await.unwrap();
            positions.len() == 3 && positions.iter().all(|position| position.lag() == 0)
        };
        until(is_done).await;
    }
}

struct Running {
    handle: EventConsumerHandle,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), relay::RelayError>>,
}

impl Running {
    fn start(config: EventsConfig, sink: &Arc<Sink>) -> Self {
        let consumer = EventConsumer::new(config, Arc::clone(sink) as _);
        let (handle, shutdown) = (consumer.handle(), CancellationToken::new());
        Self { handle, task: tokio::spawn(consumer.run(shutdown.clone())), shutdown }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// As a crash would.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

fn ids(numbers: std::ops::Range<i32>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn events_are_applied_in_order_and_a_crash_before_the_commit_repeats_only_what_was_not_committed() {
    let (db, kafka, sink) = (database().await, Kafka::start().await, Arc::new(Sink::default()));
    let config = kafka.config(&db);
    kafka.write(0..300).await;
    let consumer = Running::start(config.clone(), &sink);
    sink.arrived(300).await;
    for partition in 0..PARTITIONS {
        let expected: Vec<_> =
            (0..300).filter(|number| number % PARTITIONS == partition).map(|n| n.to_string()).collect();
        assert_eq!(sink.seen_in(partition), expected);
    }
    until(async || consumer.handle.status().ready && consumer.handle.status().lag.rows == Some(0)).await;
    consumer.stop().await;

    let consumer = Running::start(config.clone(), &sink);
    until(async || consumer.handle.status().ready).await;
    sink.silent.store(true, SeqCst);
    kafka.write(300..301).await;
    sink.arrived(301).await;
    assert_eq!(sink.seen()[300..], ids(300..301), "nothing came again after the stop");
    consumer.kill().await;

    sink.silent.store(false, SeqCst);
    kafka.write(303..304).await;
    let consumer = Running::start(config, &sink);
    sink.arrived(303).await;
    assert_eq!(sink.seen()[300..], ["300", "300", "303"], "applied, not committed, and applied again");
    consumer.stop().await;
}

#[tokio::test]
async fn a_poison_event_is_put_aside_with_its_place_and_its_partition_goes_on() {
    let (db, kafka, sink) = (database().await, Kafka::start().await, Arc::new(Sink::default()));
    let config = kafka.config(&db);
    let header = |name: &'static str| (name, name.to_owned());
    let (id, event_type) = (header("id"), header("eventType"));
    kafka.write_raw(1, std::slice::from_ref(&event_type), Some(b"{}")).await;
    kafka.write_raw(1, std::slice::from_ref(&id), Some(b"{}")).await;
    kafka.write_raw(1, &[id.clone(), event_type.clone()], Some(b"\xff{}")).await;
    kafka.write_raw(1, &[id.clone(), event_type.clone()], Some(b"poison")).await;
    kafka.write_raw(1, &[id, event_type], None).await; // a deletion is no event, and no poison
    kafka.write(1..2).await;
    let consumer = Running::start(config.clone(), &sink);
    sink.arrived(2).await;
    kafka.committed(&config).await;

    let mut letters = dead_letter::list(&db.pool, 0, 10).await.unwrap();
    letters.sort_by_key(|letter| letter.source_id);
    assert_eq!(letters.iter().map(|letter| letter.source_id).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(letters.iter().all(|letter| letter.source == format!("events:{}/1", kafka.0.name)), "{letters:?}");
    for (letter, reason) in
        letters.iter().zip(["no header \"id\"", "no header \"eventType\"", "not text", "it is poison"])
    {
        assert!(letter.reason.contains(reason), "{}", letter.reason);
    }
    assert_eq!((letters[3].payload.as_str(), letters[3].method.as_str()), ("poison", "eventType"));
    consumer.stop().await;

    // No hub ever waited for it: it is not put into the outbox.
    let replayed = dead_letter::replay(&db.pool, Selection::All).await.unwrap();
    assert_eq!((replayed.rows, replayed.refused.len()), (0, 4));
    assert!(matches!(replayed.refused[0], DeadLetterError::NotForTheHub(id) if id == letters[0].id));
    assert_eq!(dead_letter::list(&db.pool, 0, 10).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_sink_that_is_away_is_waited_for_while_the_lag_grows() {
    let (db, kafka, sink) = (database().await, Kafka::start().await, Arc::new(Sink::default()));
    let config = EventsConfig { batch_records: 10, ..kafka.config(&db) };
    sink.failures.store(usize::MAX, SeqCst);
    let consumer = Running::start(config.clone(), &sink);
    kafka.write(0..100).await;
    until(async || consumer.handle.status().last_error.is_some_and(|error| error.contains("is away"))).await;
    let lag: i64 = positions(&config.kafka).await.unwrap().iter().map(relay::events::Position::lag).sum();
    assert_eq!((lag, sink.seen().len()), (100, 0));

    sink.failures.store(0, SeqCst);
    kafka.committed(&config).await;
    assert_eq!(sink.seen().len(), 100, "nothing was lost and nothing came twice");
    until(async || consumer.handle.status().last_error.is_none()).await;
    assert!(dead_letter::list(&db.pool, 0, 10).await.unwrap().is_empty());
    consumer.stop().await;
}

#[tokio::test]
async fn a_replay_reads_everything_from_the_beginning_and_moves_nobodys_position() {
    let (db, kafka, sink) = (database().await, Kafka::start().await, Arc::new(Sink::default()));
    let config = kafka.config(&db);
    kafka.write(0..200).await;
    let consumer = Running::start(config.clone(), &sink);
    kafka.committed(&config).await;
    let before = positions(&config.kafka).await.unwrap();

    let (again, mut steps) = (Arc::new(Sink::default()), Vec::new());
    again.failures.store(2, SeqCst); // a database that comes back
    let small = EventsConfig { batch_records: 16, ..config.clone() };
    let replayed = replay(&small, Arc::clone(&again) as _, |progress| steps.push(progress)).await.unwrap();
    assert_eq!((replayed.records, replayed.dead_letters), (200, 0));
    for partition in 0..PARTITIONS {
        assert_eq!(again.seen_in(partition), sink.seen_in(partition));
    }
    assert_eq!(steps.first(), Some(&Progress { records: 0, total: 200 }));
    assert_eq!(steps.last(), Some(&Progress { records: 200, total: 200 }));
    assert!(steps.is_sorted_by_key(|step| step.records) && steps.len() > 10, "{steps:?}");

    assert_eq!(positions(&config.kafka).await.unwrap(), before);
    kafka.write(200..201).await;
    sink.arrived(201).await;
    assert_eq!(sink.seen().len(), 201, "the consumer kept its partitions");
    consumer.stop().await;

    let nothing = EventsConfig { kafka: KafkaConfig { topics: vec!["nobody-s".to_owned()], ..config.kafka }, ..config };
    assert_eq!(positions(&nothing.kafka).await.unwrap(), []);
    assert_eq!(replay(&nothing, sink as _, |_| ()).await.unwrap().records, 0);
}

#[tokio::test]
async fn a_probe_is_noted_and_given_to_nobody() {
    let (db, kafka, sink) = (database().await, Kafka::start().await, Arc::new(Sink::default()));
    let probes = Kafka::start().await;
    assert_eq!(last_probe(&db.pool).await.unwrap(), None);
    let config = EventsConfig { probes: Some(probes.0.name.clone()), ..kafka.config(&db) };
    let consumer = Running::start(config, &sink);
    let probe = [("id", "1".to_owned()), ("eventType", "probe".to_owned())];
    for value in
        [r#"{"probe":"cdc","sent_at":"2026-11-22T10:11:12.345678+00:00"}"#, "what is no probe is nobody's loss"]
    {
        probes.write_raw(0, &probe, Some(value.as_bytes())).await;
    }
    until(async || last_probe(&db.pool).await.unwrap().is_some()).await;
    kafka.write(0..1).await;
    sink.arrived(1).await;
    assert_eq!(sink.seen(), ids(0..1));
    assert!(dead_letter::list(&db.pool, 0, 10).await.unwrap().is_empty());
    consumer.stop().await;
}

#[tokio::test]
async fn a_consumer_that_a_starting_broker_has_told_of_no_broker_reads_on_when_it_has_started() {
    let (db, sink, stack) = (database().await, Arc::new(Sink::default()), stack_alone().await);
    let kafka = Kafka::on(&stack).await;
    let config = kafka.config(&db);
    let consumer = Running::start(config.clone(), &sink);
    kafka.write(0..30).await;
    sink.arrived(30).await;
    kafka.committed(&config).await;
    stack.stop_kafka().await;
    let starting = Starting::at(&stack.bootstrap_servers()).await;
    starting.has_told("roomcast-relay", &kafka.0.name).await;
    starting.end().await;
    stack.start_kafka().await.unwrap();

    // Who wrote before may have been told the same.
    Kafka(Topic::named(&stack, kafka.0.name.clone())).write(30..60).await;
    sink.arrived(60).await;
    let mut seen = sink.seen();
    seen.sort_by_key(|id| id.parse::<i32>().unwrap());
    assert_eq!(seen, ids(0..60), "each once");
    consumer.stop().await;
}

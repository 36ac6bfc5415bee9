//! Relays of one consumer group: each gets work of each topic, and who comes or goes disturbs nobody.

use std::{collections::HashMap, time::Duration};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
};
use relay::{Phase, RelayStatus};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    kafka::{config_of, write_many},
    recorder::Recorder,
    running::{Running, database},
    stack::{Topic, stack},
};

const ROOMS: i64 = 8;

/// How many partitions of the topic this relay carries.
fn carried(status: &RelayStatus, topic: &Topic) -> usize {
    let partitions = status.source("kafka").map(|kafka| kafka.lag.partitions.clone()).unwrap_or_default();
    partitions.keys().filter(|place| place.starts_with(&format!("{}/", topic.name))).count()
}

/// Until the relay has this many partitions of each.
async fn shares(relay: &Running, topics: [&Topic; 2], count: usize) {
    relay.until(|status| topics.iter().all(|topic| carried(status, topic) == count)).await;
}

/// Writes to both topics, other rooms in each, until it is told to stop. Gives the last version.
fn writing(topics: [&Topic; 2], enough: &CancellationToken) -> tokio::task::JoinHandle<u64> {
    let (topics, enough) = (topics.map(Topic::clone), enough.clone());
    tokio::spawn(async move {
        let mut version = 0;
        while !enough.is_cancelled() {
            version += 1;
            tokio::join!(
                write_many(&topics[0], 1..=ROOMS, version..=version),
                write_many(&topics[1], 101..=100 + ROOMS, version..=version)
            );
            sleep(Duration::from_millis(5)).await; // a steady load rather than a full one
        }
        version.try_into().unwrap()
    })
}

fn all_at(version: u64) -> HashMap<String, u64> {
    (1..=ROOMS).chain(101..=100 + ROOMS).map(|room| (format!("room:{room}"), version)).collect()
}

#[tokio::test]
async fn two_relays_share_each_topic_and_coming_and_going_under_load_loses_and_reorders_nothing() {
    let (db, recorder, stack) = (database().await, Recorder::new(), stack().await);
    let (rows, messages) = (Topic::make(&stack, 4).await, Topic::make(&stack, 4).await);
    let topics = [&rows, &messages];
    let first = Running::start_beside(config_of(&db, &topics), recorder.clone());
    shares(&first, topics, 4).await;
    let enough = CancellationToken::new();
    let writer = writing(topics, &enough);

    let second = Running::start_beside(config_of(&db, &topics), recorder.clone());
    shares(&first, topics, 2).await;
    shares(&second, topics, 2).await;
    first.stop().await;
    shares(&second, topics, 4).await;
    let third = Running::start_beside(config_of(&db, &topics), recorder.clone());
    shares(&third, topics, 2).await;
    second.kill().await;
    shares(&third, topics, 4).await;

    enough.cancel();
    let last = writer.await.unwrap();
    for channel in all_at(last).keys() {
        recorder.arrived_one(channel, last).await;
    }
    assert_eq!(recorder.in_order(), all_at(last));
    third.stop().await;
}

/// A member of the group that never answers when partitions are to be shared anew, so that it takes until it is gone.
struct Sluggish(BaseConsumer);

impl Sluggish {
    /// A member with half of the topic.
    async fn join(topic: &Topic, beside: &Running) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &topic.brokers)
            .set("group.id", &topic.name)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        consumer.subscribe(&[&topic.name]).unwrap();
        while consumer.assignment().unwrap().count() < 2 || carried(&beside.handle.status(), topic) > 2 {
            consumer.poll(Duration::ZERO);
            sleep(Duration::from_millis(5)).await;
        }
        consumer.pause(&consumer.assignment().unwrap()).unwrap();
        Self(consumer)
    }
}

#[tokio::test]
async fn while_a_slow_member_keeps_the_group_from_sharing_the_others_carry_on() {
    let (db, recorder, stack) = (database().await, Recorder::new(), stack().await);
    let topic = Topic::make(&stack, 4).await;
    let first = Running::start_beside(config_of(&db, &[&topic]), recorder.clone());
    first.until(|status| carried(status, &topic) == 4).await;
    let sluggish = Sluggish::join(&topic, &first).await;
    let kept = first.handle.status().source("kafka").unwrap().lag.partitions.clone();
    let rooms: Vec<i64> = (1..=4).filter(|room| kept.contains_key(&format!("{}/{}", topic.name, room % 4))).collect();
    assert_eq!(rooms.len(), 2);

    let second = Running::start_beside(config_of(&db, &[&topic]), recorder.clone());
    second.until(|status| status.source("kafka").is_some_and(|kafka| kafka.last_error.is_none())).await;
    write_many(&topic, 1..=4, 1..=100).await;
    for room in &rooms {
        recorder.arrived_one(&format!("room:{room}"), 100).await;
    }
    assert_eq!(
        second.handle.status().source("kafka").unwrap().phase,
        Phase::Connecting,
        "it still waits for its share"
    );
    assert_eq!(recorder.seen().len(), 200);

    drop(sluggish.0); // leaves
    recorder.arrived(400).await;
    second.carrying("kafka").await;
    assert!(recorder.in_order().values().all(|version| *version == 100));
    first.stop().await;
    second.stop().await;
}

//! The consumer of librdkafka: its settings, and what it tells about itself between records.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance, StreamConsumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    statistics::{ConsumerGroup, Partition},
};
use tokio::{sync::mpsc, task::spawn_blocking, time::sleep};
use tracing::{debug, error, info};

use crate::{
    KafkaConfig,
    clients::{self, Outage, Pulse},
    metrics,
    status::{Phase, SourceLag, SourceState},
};

pub(crate) type Consumer = StreamConsumer<Context>;

/// A partition of a topic.
pub(crate) type Place = (String, i32);

/// The name under which a reader's troubles with the brokers are kept.
pub(crate) fn brokers_of(topic: &str) -> String {
    format!("{topic} at its brokers")
}

/// How often the end of a paused partition is asked for, and how long that may take.
const LOOK: Duration = Duration::from_secs(2);

/// Listens to the consumer.
pub(crate) struct Context {
    topic: String,
    state: Arc<SourceState>,
    pulse: Pulse,
    outage: Arc<Outage>,
    /// It has had a partition: the topic was there.
    had: AtomicBool,
    revoked: mpsc::UnboundedSender<Vec<Place>>,
    /// The paused partitions, each with its end where that is known: librdkafka only learns it by fetching.
    paused: Mutex<BTreeMap<i32, Option<i64>>>,
}

/// A consumer for this topic that has not subscribed yet, and the partitions that it will have to give up.
pub(crate) fn consumer(
    config: &KafkaConfig,
    topic: &str,
    outage: &Arc<Outage>,
    state: Arc<SourceState>,
) -> KafkaResult<(Consumer, mpsc::UnboundedReceiver<Vec<Place>>)> {
    let (revoked, given_up) = mpsc::unbounded_channel();
    let context = Context {
        topic: topic.to_owned(),
        state,
        pulse: Pulse::new(outage.client()),
        outage: Arc::clone(outage),
        had: AtomicBool::default(),
        revoked,
        paused: Mutex::default(),
    };
    let consumer = settings(config, topic).create_with_context(context)?;
    Ok((consumer, given_up))
}

impl Context {
    pub(crate) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Whether an error means that the topic was there and is gone. Who makes it again, and reads on, is another consumer:
    /// this one would take what it knew of the old one for true.
    pub(crate) fn is_bereft(&self, error: &KafkaError) -> bool {
        matches!(error, KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition))
            && self.had.load(Ordering::Relaxed)
    }

    pub(super) fn paused(&self, partition: i32) {
        self.lock().insert(partition, None);
    }

    /// It is fetched from again, or elsewhere.
    pub(super) fn resumed(&self, partition: i32) {
        self.lock().remove(&partition);
    }

    fn ends(&self, partition: i32, end: i64) {
        self.lock().entry(partition).and_modify(|known| *known = Some(end));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Option<i64>>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits in the partitions that are ours: from what we have settled to the high watermark.
    fn lag_of(&self, statistics: &Statistics) -> SourceLag {
        let mut partitions = BTreeMap::new();
        for (topic, partition) in statistics.topics.values().flat_map(|topic| ours(&topic.partitions, &topic.topic)) {
            let settled = [partition.stored_offset, partition.committed_offset, partition.lo_offset];
            let Some(settled) = settled.into_iter().find(|offset| *offset >= 0) else { continue };
            let paused = self.lock().get(&partition.partition).copied().flatten();
            let end = partition.hi_offset.max(paused.unwrap_or(0));
            let lag = (end - settled).max(0);
            let (topic, number) = (topic.to_owned(), partition.partition.to_string());
            partitions.insert(format!("{topic}/{number}"), lag);
            ::metrics::gauge!(metrics::KAFKA_LAG, "topic" => topic, "partition" => number).set(as_gauge(lag));
        }
        SourceLag { rows: Some(partitions.values().sum()), partitions, ..SourceLag::default() }
    }
}

/// Asks for the ends of paused partitions, so that their lag is seen to grow.
pub(super) async fn watch_paused(consumer: &Arc<Consumer>) -> Infallible {
    loop {
        sleep(LOOK).await;
        let paused: Vec<i32> = consumer.context().lock().keys().copied().collect();
        for partition in paused {
            let asked = Arc::clone(consumer);
            let ask = move || asked.fetch_watermarks(&asked.context().topic, partition, LOOK);
            match spawn_blocking(ask).await {
                Ok(Ok((_, end))) => consumer.context().ends(partition, end),
                Ok(Err(error)) => debug!(%error, partition, "the end of a paused partition is not known"),
                Err(error) => debug!(%error, partition, "could not ask for the end of a paused partition"),
            }
        }
    }
}

fn settings(config: &KafkaConfig, topic: &str) -> ClientConfig {
    let millis = |duration: Duration| duration.as_millis().to_string();
    let mut settings = clients::named("roomcast-relay", &config.brokers);
    settings
        .set("group.id", &config.group)
        // Who comes or goes moves only the partitions that have to move; the others are carried on meanwhile.
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", millis(config.session_timeout))
        .set("heartbeat.interval.ms", millis(config.session_timeout / 5))
        // What nobody has confirmed yet was never carried.
        .set("auto.offset.reset", "earliest")
        // Only what was settled is stored; librdkafka commits what is stored, also before a partition goes elsewhere.
        .set("enable.auto.offset.store", "false")
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", millis(config.commit_interval))
        // Where others make the topics: look for them often.
        .set("topic.metadata.refresh.interval.ms", "2000")
        .set("fetch.error.backoff.ms", "100")
        // What is fetched ahead is thrown away when its partition is paused, so it is little; and therefore looked at often,
        // as the default of a second would let through a thousand records a second.
        .set("queued.min.messages", "1000")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "5")
        // A partition that is resumed is asked for when the request under way returns: without news after this time.
        .set("fetch.wait.max.ms", "100")
        .set_log_level(RDKafkaLogLevel::Info);
    if let Some(instance) = &config.instance {
        settings.set("group.instance.id", format!("{instance}/{topic}"));
    }
    clients::told(settings, &config.settings)
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        clients::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, "Kafka: {reason}");
        self.state.suffers(&brokers_of(&self.topic), format!("{error}: {reason}"));
    }

    fn stats(&self, statistics: Statistics) {
        self.pulse.take(&statistics);
        let connected = statistics.brokers.values().any(|broker| broker.nodeid >= 0 && broker.state == "UP");
        if connected {
            self.outage.passes();
            self.state.recovered(&brokers_of(&self.topic));
        }
        let phase = match &statistics.cgrp {
            Some(ConsumerGroup { join_state, assignment_size, .. }) if connected && join_state == "steady" => {
                if *assignment_size > 0 {
                    Phase::Carrying
                } else {
                    Phase::StandingBy
                }
            }
            _ => Phase::Connecting,
        };
        self.state.is_at(&self.topic, phase);
        let lag = self.state.lags(&self.topic, self.lag_of(&statistics));
        ::metrics::gauge!(metrics::KAFKA_LAG_ALL).set(as_gauge(lag.rows.unwrap_or(0)));
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) if list.count() > 0 => {
                self.had.store(true, Ordering::Relaxed);
                info!(partitions = ?places(list), "carrying more partitions");
            }
            Rebalance::Revoke(list) if list.count() > 0 => {
                let places = places(list);
                info!(partitions = ?places, "giving partitions up");
                for (topic, partition) in &places {
                    let (topic, partition) = (topic.clone(), partition.to_string());
                    ::metrics::gauge!(metrics::KAFKA_LAG, "topic" => topic, "partition" => partition).set(0.0);
                }
                // Nobody hears it any more at the end, when all lanes have ended.
                let _ = self.revoked.send(places);
            }
            Rebalance::Assign(_) | Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => error!(%error, "the partitions could not be shared"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            debug!(%error, "a commit failed; the next one says it all again");
        }
    }
}

pub(super) fn places(list: &TopicPartitionList) -> Vec<Place> {
    list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; a count of records stays below 2^52")]
fn as_gauge(records: i64) -> f64 {
    records as f64
}

fn ours<'a>(partitions: &'a HashMap<i32, Partition>, topic: &'a str) -> impl Iterator<Item = (&'a str, &'a Partition)> {
    let ours = |partition: &&Partition| partition.partition >= 0 && partition.fetch_state == "active";
    partitions.values().filter(ours).map(move |partition| (topic, partition))
}

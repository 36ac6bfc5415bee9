//! Kafka: reads what Debezium wrote there, as a member of a consumer group.
//!
//! - Relays of one group share the partitions of the topics; who comes or goes moves only what has to move. With a name of
//!   its own (`instance`) a relay that is back within the session's time finds its partitions waiting.
//! - Each topic has a consumer of its own, so the partitions of each are shared: one for all topics could leave one relay
//!   with all of a busy topic, and the other with all of a quiet one.
//! - Each Kafka partition has a lane: in order within, parallel to the others. All rows of a room have the same key, hence
//!   the same Kafka partition.
//! - An offset is stored only when everything before it was taken by the destination or put aside. A crash repeats the rest.
//! - A record that can never be a row goes to `dead_letters` with its topic, partition and offset; the partition goes on.
//!   Kafka being away makes none: the consumer looks for it for ever.

pub(crate) mod client;
mod lanes;
pub mod topics;

use std::{sync::Arc, thread};

use protocol::{Mode, Partition};
use rdkafka::{
    Message,
    consumer::{Consumer as _, ConsumerContext, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use time::OffsetDateTime;
use tokio::{
    select,
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span};

use self::{
    client::{Consumer, Place},
    lanes::Lanes,
    topics::Topic,
};
use super::{
    Row,
    debezium::{self, Announcement, Reading},
    lane::{Carrier, Content, Entry, LogRow},
};
use crate::{
    KafkaConfig, RelayError,
    clients::{self, Outage},
    letter_box::Letter,
    metrics,
    probe::Way,
    retry::{Decision, decide},
    status::Phase,
};

/// Reads one topic.
pub(crate) struct KafkaSource {
    pub config: KafkaConfig,
    /// Also the name of the task that reads, beside those of the lanes.
    pub topic: String,
    pub carrier: Carrier,
    pub shutdown: CancellationToken,
}

impl KafkaSource {
    /// Runs until the shutdown, or until an error that only a person can help with.
    pub(crate) async fn run(self) -> Result<(), RelayError> {
        let span = info_span!("relay.kafka", kafka.group = self.config.group, kafka.topic = self.topic);
        self.sessions().instrument(span).await
    }

    async fn sessions(self) -> Result<(), RelayError> {
        let backoff = self.carrier.backoff();
        let mut failures = 0;
        let outage = Arc::new(Outage::of("source"));
        while !self.shutdown.is_cancelled() {
            let ended = self.session(&mut failures, &outage).await;
            self.carrier.state.is_at(&self.topic, Phase::Connecting);
            let Err(error) = ended else { break };
            self.carrier.state.suffers(&self.topic, error.to_string());
            if decide(&error) == Decision::Stop {
                return Err(error);
            }
            ::metrics::counter!(metrics::RECONNECTS, "source" => "kafka").increment(1);
            outage.fails(&error);
            failures += 1;
            let pause = backoff.pause(failures);
            debug!(%error, failures, "the consumer cannot go on; another one in {pause:?}");
            select! { () = self.shutdown.cancelled() => {}, () = sleep(pause) => {} }
        }
        Ok(())
    }

    /// The life of one consumer: until the shutdown, or an error that it cannot get over.
    async fn session(&self, failures: &mut u32, outage: &Arc<Outage>) -> Result<(), RelayError> {
        select! {
            () = self.shutdown.cancelled() => return Ok(()),
            made = self.make_topic() => made?,
        }
        let (consumer, mut given_up) =
            client::consumer(&self.config, &self.topic, outage, Arc::clone(&self.carrier.state))?;
        let consumer = Leaving(Some(Arc::new(consumer)));
        let Some(reader) = &consumer.0 else { return Ok(()) };
        reader.subscribe(&[&self.topic])?;
        info!("joining the consumer group");
        let stop = self.shutdown.child_token();
        let mut lanes = Lanes::new(reader, self.carrier.clone(), self.config.queue_rows, stop.clone());
        let ended = select! {
            () = self.shutdown.cancelled() => Ok(()),
            ended = self.read(reader, &mut lanes, &mut given_up, failures, outage) => ended,
            never = client::watch_paused(reader) => match never {},
            () = clients::watch(reader.context().pulse(), &self.config.brokers, &self.config.settings) => {
                Err(RelayError::KafkaClientLost)
            }
        };
        stop.cancel();
        lanes.ended().await;
        let _ = timeout(self.carrier.config.stop_timeout, consumer.leave()).await;
        ended
    }

    /// So that it can be read before its first record, and the modes that need it be chosen.
    async fn make_topic(&self) -> Result<(), RelayError> {
        let topic = Topic::new(&self.topic, self.config.partitions);
        topics::ensure(&self.config.brokers, &self.config.settings, &[topic]).await?;
        Ok(())
    }

    async fn read(
        &self,
        consumer: &Consumer,
        lanes: &mut Lanes,
        given_up: &mut mpsc::UnboundedReceiver<Vec<Place>>,
        failures: &mut u32,
        outage: &Outage,
    ) -> Result<(), RelayError> {
        loop {
            let received = select! {
                biased;
                Some(places) = given_up.recv() => {
                    lanes.give_up(&places);
                    continue;
                }
                settled = lanes.settled() => {
                    settled.map_err(|error| RelayError::Panicked(error.to_string()))?;
                    lanes.resume();
                    continue;
                }
                received = consumer.recv() => received,
            };
            // What was given up while we waited may have come back since: its lane must not go on where it stood.
            while let Ok(places) = given_up.try_recv() {
                lanes.give_up(&places);
            }
            match received {
                Ok(record) => {
                    *failures = 0;
                    self.carrier.state.recovered(&self.topic);
                    let place = (record.topic().to_owned(), record.partition());
                    lanes.take(place, self.entry_of(&record)).await;
                }
                Err(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(error.into()),
                Err(error) if consumer.context().is_bereft(&error) => return Err(error.into()),
                Err(error) => self.endure(&error, outage),
            }
        }
    }

    /// Nothing that the consumer does not get over by itself: a topic that is not there yet, brokers that are away.
    fn endure(&self, error: &KafkaError, outage: &Outage) {
        if let KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition) = error {
            info!("the topic does not exist; waiting until somebody makes it");
            return;
        }
        self.carrier.state.suffers(&client::brokers_of(&self.topic), error.to_string());
        outage.fails(error);
    }

    /// What a record is to its lane.
    fn entry_of(&self, record: &BorrowedMessage<'_>) -> Entry<i64> {
        let content = match debezium::read(record.payload()) {
            Ok(Reading::Row(row)) if is_ours(row.mode) => {
                read_as("row");
                row_of(record, row)
            }
            Ok(Reading::Row(_)) => {
                read_as("other mode");
                Content::Nothing
            }
            Ok(Reading::Probe(probe)) => {
                read_as("probe");
                // The rows of other ways pass here as well.
                if matches!(probe.way, Way::Cdc | Way::Message) {
                    self.carrier.probes.came(probe);
                }
                Content::Nothing
            }
            Ok(Reading::Ignored(kind)) => {
                read_as(kind);
                Content::Nothing
            }
            Err(error) => {
                read_as("unreadable");
                poison_of(record, error.to_string())
            }
        };
        Entry { content, mark: record.offset() }
    }
}

/// The consumer, which takes its time to leave its group, so it does that in a thread of its own: at a stop this is waited
/// for, and when everything is dropped it is not.
pub(crate) struct Leaving<C: ConsumerContext + 'static>(pub(crate) Option<Arc<StreamConsumer<C>>>);

impl<C: ConsumerContext> Leaving<C> {
    pub(crate) async fn leave(mut self) {
        let (left, leaving) = oneshot::channel();
        if let Some(consumer) = self.0.take() {
            thread::spawn(move || {
                consumer.unsubscribe();
                drop(consumer);
                left.send(())
            });
        }
        let _ = leaving.await;
    }
}

impl<C: ConsumerContext> Drop for Leaving<C> {
    fn drop(&mut self) {
        if let Some(consumer) = self.0.take() {
            thread::spawn(move || drop(consumer));
        }
    }
}

fn read_as(kind: &'static str) {
    ::metrics::counter!(metrics::KAFKA_RECORDS, "kind" => kind).increment(1);
}

/// Other modes have other carriers. A row without a mode is from a writer that knows of none.
fn is_ours(mode: Option<Mode>) -> bool {
    matches!(mode, None | Some(Mode::Cdc | Mode::ApiCdc | Mode::Message))
}

fn row_of(record: &BorrowedMessage<'_>, row: Announcement) -> Content {
    let Announcement { method, payload, partition, created_at, .. } = row;
    Content::Row(LogRow {
        row: Row { id: record.offset(), partition, method, payload },
        origin: origin_of(record).into(),
        created_at: created_at.unwrap_or_else(|| appended_at(record)),
    })
}

fn poison_of(record: &BorrowedMessage<'_>, reason: String) -> Content {
    Content::Poison(Letter {
        source: origin_of(record),
        source_id: record.offset(),
        method: String::new(),
        payload: String::from_utf8_lossy(record.payload().unwrap_or_default()).into_owned(),
        partition: Partition(0),
        reason,
        attempts: 0,
        created_at: appended_at(record),
    })
}

/// Together with the offset the record's place, and nobody else's.
fn origin_of(record: &BorrowedMessage<'_>) -> String {
    format!("kafka:{}/{}", record.topic(), record.partition())
}

pub(crate) fn appended_at(record: &BorrowedMessage<'_>) -> OffsetDateTime {
    let millis = record.timestamp().to_millis().unwrap_or(0);
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

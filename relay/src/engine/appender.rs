//! Appends records to one topic and waits until Kafka answers for them.
//!
//! The producer is idempotent: within a partition records stand in the order in which they were handed over, each once,
//! however often they had to be sent. One that is of no more use is thrown away, and the next call opens another.

use std::{
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::Duration,
};

use rdkafka::{
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _},
};
use tokio::{select, sync::Mutex, task::spawn_blocking, time::sleep};
use tracing::{debug, info};

use super::{EngineConfig, context::Quiet, record::Record};
use crate::{
    clients::{Outage, Pulse},
    source::kafka::topics::{self, Topic, partitions_of},
};

/// How long the brokers may take to tell about the topic.
const LOOK: Duration = Duration::from_secs(2);

/// Until the queue of the producer is looked at again when it was full.
const FULL: Duration = Duration::from_millis(2);

pub(super) struct Appender {
    config: EngineConfig,
    topic: Topic,
    patience: Duration,
    outage: Outage,
    open: RwLock<Option<Arc<Open>>>,
    opening: Mutex<()>,
}

/// A producer, and how many partitions there are.
pub(super) struct Open {
    /// Taken when it is dropped.
    producer: Option<FutureProducer<Quiet>>,
    pulse: Arc<Pulse>,
    topic: String,
    pub partitions: i32,
}

/// A record on its way.
pub(super) struct Sent {
    delivery: DeliveryFuture,
    pulse: Arc<Pulse>,
}

impl Sent {
    /// Until Kafka has acknowledged it, or it is known that it will not.
    pub(super) async fn arrived(self) -> KafkaResult<()> {
        select! {
            biased;
            delivered = self.delivery => match delivered {
                Ok(Ok(_)) => Ok(()),
                Ok(Err((error, _))) => Err(error),
                Err(_) => Err(KafkaError::Canceled),
            },
            () = self.pulse.lost() => Err(KafkaError::MessageProduction(RDKafkaErrorCode::AllBrokersDown)),
        }
    }
}

impl Appender {
    /// Opened by its first use. `what_for` is what its clients are counted under.
    pub(super) fn new(config: EngineConfig, topic: Topic, patience: Duration, what_for: &'static str) -> Self {
        let (outage, open, opening) = (Outage::of(what_for), RwLock::default(), Mutex::default());
        Self { config, topic, patience, outage, open, opening }
    }

    /// The producer; makes the topic if it is missing.
    pub(super) async fn open(&self) -> KafkaResult<Arc<Open>> {
        self.opened().await.inspect_err(|error| self.outage.fails(error))
    }

    async fn opened(&self) -> KafkaResult<Arc<Open>> {
        if let Some(open) = self.present() {
            return Ok(open);
        }
        let _only_one = self.opening.lock().await;
        if let Some(open) = self.present() {
            return Ok(open);
        }
        let topic = std::slice::from_ref(&self.topic);
        topics::ensure(&self.config.brokers, &self.config.settings, topic).await?;
        let pulse = Arc::new(Pulse::new(self.outage.client()));
        let quiet = Quiet(Arc::clone(&pulse));
        let producer: FutureProducer<Quiet> = self.config.producer(self.patience).create_with_context(quiet)?;
        let (asked, name) = (producer.clone(), self.topic.name.clone());
        let found = spawn_blocking(move || partitions_of(asked.client(), &name, LOOK)).await;
        let found = found.map_err(|_| KafkaError::Canceled)??;
        if found.is_empty() {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        let partitions = i32::try_from(found.len()).unwrap_or(i32::MAX);
        info!(topic = self.topic.name, partitions, "publishing to {} partitions of {}", partitions, self.topic.name);
        let open = Arc::new(Open { producer: Some(producer), pulse, topic: self.topic.name.clone(), partitions });
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&open));
        Ok(open)
    }

    /// A record has arrived.
    pub(super) fn passes(&self) {
        self.outage.passes();
    }

    /// A record has not arrived: whether this producer is of any more use.
    ///
    /// One that could not send it in its time may have stopped to try, and it may be the only one. What else it has under
    /// way it still brings to its end.
    pub(super) fn fails(&self, failed: &Open, error: &KafkaError) {
        use RDKafkaErrorCode as Code;
        self.outage.fails(error);
        if let Some((_, reason)) = failed.producer.as_ref().and_then(|producer| producer.client().fatal_error()) {
            failed.pulse.retire(&reason);
        }
        match error.rdkafka_error_code() {
            Some(Code::MessageTimedOut) => failed.pulse.retire("nothing has arrived in its time"),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                failed.pulse.retire("its topic is gone");
            }
            _ => {}
        }
    }

    fn present(&self) -> Option<Arc<Open>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone().filter(|open| !open.pulse.is_retired())
    }
}

impl Open {
    /// Hands a record over. Waits only while too much is on its way.
    pub(super) async fn append(&self, record: &Record) -> KafkaResult<Sent> {
        self.hand_over(record.partition, &record.key, record.value.as_bytes()).await
    }

    pub(super) async fn hand_over(&self, partition: i32, key: &str, value: &[u8]) -> KafkaResult<Sent> {
        loop {
            let record = FutureRecord::to(&self.topic).partition(partition).key(key).payload(value);
            let Some(producer) = &self.producer else { return Err(KafkaError::Canceled) };
            match producer.send_result(record) {
                Ok(delivery) => return Ok(Sent { delivery, pulse: Arc::clone(&self.pulse) }),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    debug!(topic = self.topic, "too much is on its way to Kafka; waiting");
                    sleep(FULL).await;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}

/// Which takes its time.
impl Drop for Open {
    fn drop(&mut self) {
        let producer = self.producer.take();
        thread::spawn(move || drop(producer));
    }
}

/// The record itself is refused, whoever sends it and whenever.
pub(super) fn never_passes(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidRecord)
}

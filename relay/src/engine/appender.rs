//! Appends records to one topic and waits until Kafka answers for them.
//!
//! The producer is idempotent: within a partition records stand in the order in which they were handed over, each once,
//! however often they had to be sent. One that fails beyond repair is thrown away, and the next call opens another.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rdkafka::{
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _},
};
use tokio::{sync::Mutex, task::spawn_blocking, time::sleep};
use tracing::{debug, info, warn};

use super::{EngineConfig, context::Quiet, record::Record};
use crate::source::kafka::topics::{self, Topic, partitions_of};

/// How long the brokers may take to tell about the topic.
const LOOK: Duration = Duration::from_secs(2);

/// Until the queue of the producer is looked at again when it was full.
const FULL: Duration = Duration::from_millis(2);

pub(super) struct Appender {
    config: EngineConfig,
    topic: Topic,
    patience: Duration,
    open: RwLock<Option<Arc<Open>>>,
    opening: Mutex<()>,
}

/// A producer, and how many partitions there are.
pub(super) struct Open {
    producer: FutureProducer<Quiet>,
    topic: String,
    pub partitions: i32,
}

/// A record on its way.
pub(super) struct Sent(DeliveryFuture);

impl Sent {
    /// Until Kafka has acknowledged it, or it is known that it will not.
    pub(super) async fn arrived(self) -> KafkaResult<()> {
        match self.0.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(error),
            Err(_) => Err(KafkaError::Canceled),
        }
    }
}

impl Appender {
    /// Opened by its first use.
    pub(super) fn new(config: EngineConfig, topic: Topic, patience: Duration) -> Self {
        Self { config, topic, patience, open: RwLock::default(), opening: Mutex::default() }
    }

    /// The producer; makes the topic if it is missing.
    pub(super) async fn open(&self) -> KafkaResult<Arc<Open>> {
        if let Some(open) = self.present() {
            return Ok(open);
        }
        let _only_one = self.opening.lock().await;
        if let Some(open) = self.present() {
            return Ok(open);
        }
        let topic = std::slice::from_ref(&self.topic);
        topics::ensure(&self.config.brokers, &self.config.settings, topic).await?;
        let producer: FutureProducer<Quiet> = self.config.producer(self.patience).create_with_context(Quiet)?;
        let (asked, name) = (producer.clone(), self.topic.name.clone());
        let found = spawn_blocking(move || partitions_of(asked.client(), &name, LOOK)).await;
        let found = found.map_err(|_| KafkaError::Canceled)??;
        if found.is_empty() {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        let partitions = i32::try_from(found.len()).unwrap_or(i32::MAX);
        info!(topic = self.topic.name, partitions, "publishing to {} partitions of {}", partitions, self.topic.name);
        let open = Arc::new(Open { producer, topic: self.topic.name.clone(), partitions });
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&open));
        Ok(open)
    }

    /// Something has failed: whether this producer is of any more use.
    pub(super) fn look_at(&self, failed: &Arc<Open>, error: &KafkaError) {
        use RDKafkaErrorCode as Code;
        let fatal = failed.producer.client().fatal_error().map(|(_, reason)| reason);
        let gone = matches!(
            error.rdkafka_error_code(),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition)
        );
        if fatal.is_none() && !gone {
            return;
        }
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|open| Arc::ptr_eq(open, failed)) {
            *open = None;
            warn!(topic = self.topic.name, %error, reason = fatal, "the producer is of no more use; opening another");
        }
    }

    fn present(&self) -> Option<Arc<Open>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
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
            match self.producer.send_result(record) {
                Ok(sent) => return Ok(Sent(sent)),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    debug!(topic = self.topic, "too much is on its way to Kafka; waiting");
                    sleep(FULL).await;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}

/// The record itself is refused, whoever sends it and whenever.
pub(super) fn never_passes(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidRecord)
}

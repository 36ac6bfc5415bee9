//! Reads one topic as a member of the group: a batch is fetched, applied, its offsets stored, and then the next.
//!
//! One batch at a time is all that order and back-pressure need. While one is under way nothing is asked of librdkafka, so
//! partitions come and go between batches only, and what was applied of them is stored by then. A sink that is away for
//! minutes loses the partitions to a consumer whose sink is not.

use std::{pin::pin, sync::Arc};

use rdkafka::{
    consumer::Consumer as _,
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::{
    select,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

use super::{
    EventsConfig,
    batch::{Applier, Batch},
};
use crate::{
    RelayError,
    clients::{self, Outage},
    metrics,
    retry::{Decision, decide},
    source::kafka::{
        Leaving,
        client::{self, Consumer},
        topics::{self, Topic},
    },
    status::{Phase, SourceState},
};

pub(super) struct Reader {
    pub(super) config: Arc<EventsConfig>,
    /// How many the topic gets if it is not there yet.
    pub(super) partitions: i32,
    pub(super) applier: Applier,
    pub(super) state: Arc<SourceState>,
    pub(super) shutdown: CancellationToken,
}

impl Reader {
    /// Runs until the shutdown, or until an error that only a person can help with.
    pub(super) async fn run(self) -> Result<(), RelayError> {
        let span = info_span!("events", kafka.group = self.config.kafka.group, kafka.topic = self.topic());
        self.sessions().instrument(span).await
    }

    async fn sessions(self) -> Result<(), RelayError> {
        let mut failures = 0;
        let outage = Arc::new(Outage::of("events"));
        while !self.shutdown.is_cancelled() {
            let ended = self.session(&mut failures, &outage).await;
            self.state.is_at(self.topic(), Phase::Connecting);
            let Err(error) = ended else { break };
            self.state.suffers(self.topic(), error.to_string());
            if decide(&error) == Decision::Stop {
                return Err(error);
            }
            ::metrics::counter!(metrics::RECONNECTS, "source" => "events").increment(1);
            outage.fails(&error);
            failures += 1;
            let pause = self.config.backoff().pause(failures);
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
        let (consumer, _) = client::consumer(&self.config.kafka, self.topic(), outage, Arc::clone(&self.state))?;
        let consumer = Leaving(Some(Arc::new(consumer)));
        let Some(reader) = &consumer.0 else { return Ok(()) };
        reader.subscribe(&[self.topic()])?;
        info!("joining the consumer group");
        let ended = self.read(reader, failures, outage).await;
        let _ = timeout(self.config.stop_timeout, consumer.leave()).await;
        ended
    }

    async fn read(&self, consumer: &Consumer, failures: &mut u32, outage: &Outage) -> Result<(), RelayError> {
        let kafka = &self.config.kafka;
        let mut lost = pin!(clients::watch(consumer.context().pulse(), &kafka.brokers, &kafka.settings));
        loop {
            let mut batch = select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(()),
                () = &mut lost => return Err(RelayError::KafkaClientLost),
                batch = self.next(consumer, outage) => batch?,
            };
            *failures = 0;
            if !self.settle(&mut batch).await {
                return Ok(()); // the stop came first: the records come again
            }
            self.store(consumer, &batch);
            self.state.progressed(self.topic());
        }
    }

    /// At least one record, and what else is there. Waits for the first alone, so it is cancel-safe.
    async fn next(&self, consumer: &Consumer, outage: &Outage) -> Result<Batch, RelayError> {
        let mut batch = Batch::default();
        while batch.records < self.config.batch_records && batch.bytes < self.config.batch_bytes {
            let received = select! {
                biased;
                received = consumer.recv() => received,
                () = std::future::ready(()), if batch.records > 0 => break,
            };
            match received {
                Ok(record) => batch.add(&self.applier.topic, &record),
                Err(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(error.into()),
                Err(error) if consumer.context().is_bereft(&error) => return Err(error.into()),
                Err(error) => self.endure(&error, outage),
            }
        }
        Ok(batch)
    }

    /// Tries until all is applied. False: the stop came first.
    async fn settle(&self, batch: &mut Batch) -> bool {
        let mut failures = 0;
        loop {
            let tried = select! {
                tried = self.applier.apply(batch) => tried,
                () = self.stop_timeout() => return false,
            };
            let Err(error) = tried else { return true };
            failures += 1;
            let pause = self.config.backoff().pause(failures);
            warn!(%error, failures, "events wait for {pause:?}");
            self.state.suffers(self.topic(), error.to_string());
            select! { () = self.shutdown.cancelled() => return false, () = sleep(pause) => {} }
        }
    }

    /// Only what is stored is committed, soon or when the partition goes elsewhere.
    fn store(&self, consumer: &Consumer, batch: &Batch) {
        for (&partition, &offset) in &batch.offsets {
            if let Err(error) = consumer.store_offset(self.topic(), partition, offset) {
                debug!(%error, partition, "applied after the partition was given up: it comes again elsewhere");
            }
        }
    }

    async fn make_topic(&self) -> Result<(), RelayError> {
        let kafka = &self.config.kafka;
        topics::ensure(&kafka.brokers, &kafka.settings, &[Topic::new(self.topic(), self.partitions)]).await?;
        Ok(())
    }

    /// Nothing that the consumer does not get over by itself.
    fn endure(&self, error: &KafkaError, outage: &Outage) {
        if let KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition) = error {
            info!("the topic does not exist; waiting until somebody makes it");
        } else {
            self.state.suffers(&client::brokers_of(self.topic()), error.to_string());
            outage.fails(error);
        }
    }

    async fn stop_timeout(&self) {
        self.shutdown.cancelled().await;
        sleep(self.config.stop_timeout).await;
    }

    fn topic(&self) -> &str {
        &self.applier.topic
    }
}

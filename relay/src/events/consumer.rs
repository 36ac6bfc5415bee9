//! A consumer of events: a [`Reader`] for each topic, started together and ended together.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{EventSink, EventsConfig, batch::Applier, probes::ProbeSink, reader::Reader};
use crate::{RelayError, SourceStatus, letter_box::LetterBox, status::SourceState};

/// Reads events for one sink. Any number of consumers of a group shares the partitions.
pub struct EventConsumer {
    config: Arc<EventsConfig>,
    sink: Arc<dyn EventSink>,
    letters: Arc<LetterBox>,
    state: Arc<SourceState>,
}

/// Looks at a consumer from anywhere in the process.
#[derive(Clone)]
pub struct EventConsumerHandle(Arc<SourceState>);

impl EventConsumerHandle {
    /// What the consumer is doing, and how far it is behind.
    pub fn status(&self) -> SourceStatus {
        self.0.status()
    }
}

impl EventConsumer {
    /// A consumer that has not started.
    pub fn new(config: EventsConfig, sink: Arc<dyn EventSink>) -> Self {
        let letters = Arc::new(LetterBox::new(&config.database_url));
        let topics = config.kafka.topics.iter().chain(&config.probes).map(String::as_str);
        let state = Arc::new(SourceState::new("events", topics));
        Self { config: Arc::new(config), sink, letters, state }
    }

    /// A handle that outlives [`EventConsumer::run`].
    pub fn handle(&self) -> EventConsumerHandle {
        EventConsumerHandle(Arc::clone(&self.state))
    }

    /// Reads until `shutdown`: then batches in flight end, within `stop_timeout`, and the partitions are given back.
    ///
    /// An error is one that only a person can help with. Kafka or the sink being away is waited for. Dropping the future
    /// drops everything where it stands, which repeats what was in flight.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RelayError> {
        let stop = shutdown.child_token();
        let mut readers = JoinSet::new();
        for topic in &self.config.kafka.topics {
            readers.spawn(self.reader(topic, self.config.kafka.partitions, Arc::clone(&self.sink), &stop).run());
        }
        if let Some(topic) = &self.config.probes {
            let sink = Arc::new(ProbeSink::new(&self.config.database_url));
            readers.spawn(self.reader(topic, 1, sink, &stop).run());
        }
        let mut outcome = Ok(());
        while let Some(ended) = readers.join_next().await {
            let ended = ended.unwrap_or_else(|error| Err(RelayError::Panicked(error.to_string())));
            if ended.is_err() && outcome.is_ok() {
                outcome = ended;
                stop.cancel();
            }
        }
        info!("the consumer of events stopped");
        outcome
    }

    fn reader(&self, topic: &str, partitions: i32, sink: Arc<dyn EventSink>, shutdown: &CancellationToken) -> Reader {
        let applier = Applier {
            topic: topic.into(),
            sink,
            letters: Arc::clone(&self.letters),
            timeout: self.config.apply_timeout,
        };
        let (config, state) = (Arc::clone(&self.config), Arc::clone(&self.state));
        Reader { config, partitions, applier, state, shutdown: shutdown.clone() }
    }
}

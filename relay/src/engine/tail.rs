//! Reads what is appended to the engine's topics, from the moment that it is placed, for one hub.
//!
//! It begins at the end and keeps its position in memory: Kafka may go and come back, consumers may fail and be made anew,
//! and it goes on where it stood. A place that is gone (the topic was pruned beyond it, or made anew) is left for the end,
//! and the listener is told that it has missed something.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use protocol::Command;
use rdkafka::consumer::StreamConsumer;
use tokio::{select, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{EngineConfig, TailHandle, context::Heard, reader::Reader, state::State};
use crate::{
    RelayError,
    clients::{self, Pulse},
    retry::{Backoff, Decision, decide},
    source::kafka::{Leaving, topics},
};

/// Who hears what a tail reads. While it does not return, nothing more is read.
#[async_trait]
pub trait Listener: Send + Sync + 'static {
    /// Commands in their order, as far as they are of one room. Repeats are the listener's to drop.
    async fn publications(&self, commands: Vec<Command>);

    /// What nodes said, this one included; in order as far as it was said with one key.
    async fn said(&self, messages: Vec<Vec<u8>>);

    /// Something was gone before it could be read. From here on nothing is missing again.
    async fn missed(&self);
}

/// A tail that has not started.
pub struct Tail {
    config: EngineConfig,
    listener: Arc<dyn Listener>,
    state: Arc<State>,
}

impl Tail {
    /// Reads for this listener.
    pub fn new(config: EngineConfig, listener: Arc<dyn Listener>) -> Self {
        Self { config, listener, state: Arc::new(State::new()) }
    }

    /// A handle that outlives [`Tail::run`].
    pub fn handle(&self) -> TailHandle {
        TailHandle(Arc::clone(&self.state))
    }

    /// Reads until `shutdown`. An error is one that only a person can help with; Kafka being away is waited for.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RelayError> {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let mut failures = 0;
        loop {
            let ended = select! {
                () = shutdown.cancelled() => return Ok(()),
                ended = self.session(&mut failures) => ended,
            };
            let Err(error) = ended else { continue };
            if decide(&error) == Decision::Stop {
                return Err(error);
            }
            failures += 1;
            let pause = backoff.pause(failures);
            self.state.suffers(error.to_string());
            debug!(%error, failures, "the engine's tail cannot go on; another try in {pause:?}");
            select! { () = shutdown.cancelled() => return Ok(()), () = sleep(pause) => {} }
        }
    }

    /// The life of one consumer.
    async fn session(&self, failures: &mut u32) -> Result<(), RelayError> {
        let topics = [self.config.publications(), self.config.nodes()];
        topics::ensure(&self.config.brokers, &self.config.settings, &topics).await?;
        let pulse = Arc::new(Pulse::new("tail"));
        let context = Heard { state: Arc::clone(&self.state), pulse: Arc::clone(&pulse) };
        let consumer: Arc<StreamConsumer<Heard>> = Arc::new(self.config.consumer().create_with_context(context)?);
        let _leaving = Leaving(Some(Arc::clone(&consumer)));
        let mut reader = Reader {
            consumer,
            publications: topics[0].name.clone(),
            nodes: topics[1].name.clone(),
            listener: Arc::clone(&self.listener),
            state: Arc::clone(&self.state),
        };
        reader.begin().await?;
        *failures = 0;
        select! {
            ended = reader.run(self.config.look_interval) => ended,
            () = clients::watch(&pulse, &self.config.brokers, &self.config.settings) => Err(RelayError::KafkaClientLost),
        }
    }
}

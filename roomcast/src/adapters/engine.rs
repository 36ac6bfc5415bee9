//! Hubs that Kafka joins: what a hub does with what its tail reads, and how it speaks to the others.

use async_trait::async_trait;
use bytes::Bytes;
use hub::{Bus, BusError, Hub};
use protocol::Command;
use relay::engine::{EngineConfig, Listener, NodeBus, Unsaid};
use tracing::warn;

/// The hub of this process as one of many.
pub struct Node(pub Hub);

#[async_trait]
impl Listener for Node {
    async fn publications(&self, commands: Vec<Command>) {
        for outcome in self.0.execute(commands).await {
            if let Err(rejection) = outcome {
                warn!(code = rejection.code, "a command from Kafka was not carried out: {}", rejection.message);
            }
        }
    }

    async fn said(&self, messages: Vec<Vec<u8>>) {
        for message in messages {
            self.0.hear(&message).await;
        }
    }

    async fn missed(&self) {
        self.0.missed().await;
    }
}

/// The bus between hubs, on Kafka.
pub struct KafkaBus(NodeBus);

impl KafkaBus {
    /// Connects with the first message.
    pub fn new(engine: EngineConfig) -> Self {
        Self(NodeBus::new(engine))
    }
}

#[async_trait]
impl Bus for KafkaBus {
    async fn say(&self, key: &str, message: Bytes) -> Result<(), BusError> {
        self.0.say(key, &message).await.map_err(|unsaid| match unsaid {
            Unsaid::TooLarge => BusError::TooLarge,
            unavailable @ Unsaid::Unavailable(_) => BusError::unavailable(unavailable),
        })
    }
}

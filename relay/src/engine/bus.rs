//! What hubs say to each other: through a topic that each of them reads from its end.

use rdkafka::error::{KafkaError, KafkaResult};

use super::{
    EngineConfig,
    appender::{Appender, never_passes},
    record::partition_of,
};

/// Says things to every node, oneself included. Messages of one key are heard in the order in which they were said.
pub struct NodeBus(Appender);

/// Why something was not said.
#[derive(Debug, thiserror::Error)]
pub enum Unsaid {
    /// It never can be.
    #[error("the message is larger than Kafka takes")]
    TooLarge,
    /// It may have to be said again. Whether somebody heard it all the same is not known.
    #[error("Kafka: {0}")]
    Unavailable(#[source] KafkaError),
}

impl NodeBus {
    /// Connects with the first message.
    pub fn new(config: EngineConfig) -> Self {
        let (topic, patience) = (config.nodes(), config.node_patience);
        Self(Appender::new(config, topic, patience, "nodes"))
    }

    /// Returns when every node is sure to hear it, as long as it lives and reaches Kafka.
    pub async fn say(&self, key: &str, message: &[u8]) -> Result<(), Unsaid> {
        self.append(key, message).await.map_err(|error| match error.rdkafka_error_code() {
            Some(code) if never_passes(code) => Unsaid::TooLarge,
            _ => Unsaid::Unavailable(error),
        })
    }

    async fn append(&self, key: &str, message: &[u8]) -> KafkaResult<()> {
        let open = self.0.open().await?;
        let said = async { open.hand_over(partition_of(key, open.partitions), key, message).await?.arrived().await };
        said.await.inspect(|()| self.0.passes()).inspect_err(|error| self.0.fails(&open, error))
    }
}

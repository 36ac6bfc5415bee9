//! The bus between the nodes of one hub, as a hub wants it. Who builds one (on Kafka, or within a process) promises
//! what stands here.

use async_trait::async_trait;
use bytes::Bytes;

/// Carries messages between the nodes of one hub.
///
/// Every node hears every message once, its own too: it is handed to [`Hub::hear`](crate::Hub::hear) of each. Messages
/// of one key are heard everywhere in the same order; among those that one node says one after the other (it waits for
/// `say` to return) that is the order in which it said them. Messages of different keys have no order.
///
/// A node hears what is said while it listens, nothing from before. A bus that has lost something that a node should
/// have heard tells it with [`Hub::missed`](crate::Hub::missed).
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Says a message; returns once the bus has it and will let every node hear it. Called on the runtime that started
    /// the hub, and given up (dropped) when it takes too long or the hub stops: the message may then be heard or not.
    async fn say(&self, key: &str, message: Bytes) -> Result<(), BusError>;
}

/// Why a message was not said.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// It may pass later.
    #[error("the bus between the nodes cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It never passes.
    #[error("the message is larger than the bus between the nodes carries")]
    TooLarge,
}

impl BusError {
    /// An error that may be gone at the next try.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }
}

//! Says messages in the name of this node, on the runtime that started the hub, and not for longer than is sensible.

use std::{sync::Arc, time::Duration};

use tokio::{runtime, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{
    bus::{Bus, BusError},
    message::Message,
    metrics,
};

#[derive(Clone)]
pub(crate) struct Voice {
    pub(crate) node: Uuid,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) patience: Duration,
    pub(crate) runtime: runtime::Handle,
    pub(crate) tasks: TaskTracker,
    /// The hub has stopped: not a word more.
    pub(crate) ended: CancellationToken,
}

impl Voice {
    /// Says a message. Whoever no longer waits for this does not end it.
    pub(super) async fn say(&self, key: &str, message: &Message) -> Result<(), BusError> {
        let (bus, ended, patience) = (Arc::clone(&self.bus), self.ended.clone(), self.patience);
        let (key, bytes) = (key.to_owned(), message.encode(self.node));
        let saying = async move { ended.run_until_cancelled(timeout(patience, bus.say(&key, bytes))).await };
        let said = match self.tasks.spawn_on(saying, &self.runtime).await {
            Ok(Some(Ok(said))) => said,
            Ok(Some(Err(elapsed))) => Err(BusError::unavailable(elapsed)),
            Ok(None) => Err(BusError::unavailable("the hub has stopped")),
            Err(panicked) => Err(BusError::unavailable(panicked)),
        };
        metrics::said(message.kind(), said.is_ok());
        said
    }

    pub(super) fn end(&self) {
        self.ended.cancel();
    }
}

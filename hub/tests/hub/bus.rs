//! A bus within the process: what one node says is put into every node's queue, under one lock, so all hear the same
//! order. Each node's line can be cut on the way out, held on the way in, and listened to.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use hub::{Bus, BusError, Hub};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

#[derive(Default)]
pub(crate) struct TestBus {
    ears: Mutex<Vec<mpsc::UnboundedSender<Bytes>>>,
}

/// One node's line to the bus.
pub(crate) struct Line {
    bus: Arc<TestBus>,
    /// Nothing that this node says gets through.
    pub(crate) cut: AtomicBool,
    /// This node hears nothing for now; what it should have heard comes later.
    held: watch::Sender<bool>,
}

/// Where a node hears.
pub(crate) struct Ear {
    queue: mpsc::UnboundedReceiver<Bytes>,
    held: watch::Receiver<bool>,
}

impl TestBus {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn line(self: &Arc<Self>) -> (Arc<Line>, Ear) {
        let (sender, queue) = mpsc::unbounded_channel();
        self.ears.lock().push(sender);
        let (held, hears) = watch::channel(false);
        (Arc::new(Line { bus: Arc::clone(self), cut: AtomicBool::new(false), held }), Ear { queue, held: hears })
    }

    /// Somebody says something: every node hears it.
    pub(crate) fn say(&self, message: &Bytes) {
        self.ears.lock().retain(|ear| ear.send(message.clone()).is_ok());
    }
}

impl Line {
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    pub(crate) fn hold(&self, hold: bool) {
        self.held.send_replace(hold);
    }
}

#[async_trait]
impl Bus for Line {
    async fn say(&self, _: &str, message: Bytes) -> Result<(), BusError> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(BusError::unavailable("cut"));
        }
        self.bus.say(&message);
        Ok(())
    }
}

impl Ear {
    pub(crate) async fn listen(mut self, hub: Hub) {
        while let Some(message) = self.queue.recv().await {
            if self.held.wait_for(|held| !held).await.is_err() {
                return;
            }
            hub.hear(&message).await;
        }
    }

    /// The next message, for a test that listens itself.
    pub(crate) async fn next(&mut self) -> serde_json::Value {
        let message = self.queue.recv().await.unwrap();
        serde_json::from_slice(&message).unwrap()
    }
}

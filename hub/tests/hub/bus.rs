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

/// No message may be longer.
const LONGEST: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct TestBus {
    ears: Mutex<Vec<mpsc::UnboundedSender<Heard>>>,
}

/// One node's line to the bus.
pub(crate) struct Line {
    bus: Arc<TestBus>,
    /// Which of the ears is this node's.
    ear: mpsc::UnboundedSender<Heard>,
    /// Nothing that this node says gets through.
    cut: AtomicBool,
    /// This node hears nothing for now; what it should have heard comes later.
    held: watch::Sender<bool>,
}

/// Where a node hears.
pub(crate) struct Ear {
    queue: mpsc::UnboundedReceiver<Heard>,
    held: watch::Receiver<bool>,
}

enum Heard {
    Message(Bytes),
    /// Here something was lost.
    Gap,
}

impl TestBus {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn line(self: &Arc<Self>) -> (Arc<Line>, Ear) {
        let (ear, queue) = mpsc::unbounded_channel();
        self.ears.lock().push(ear.clone());
        let (held, hears) = watch::channel(false);
        let line = Line { bus: Arc::clone(self), ear, cut: AtomicBool::new(false), held };
        (Arc::new(line), Ear { queue, held: hears })
    }

    /// Somebody says something: every node hears it.
    pub(crate) fn say(&self, message: &Bytes) {
        self.ears.lock().retain(|ear| ear.send(Heard::Message(message.clone())).is_ok());
    }
}

impl Line {
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    pub(crate) fn hold(&self, hold: bool) {
        self.held.send_replace(hold);
    }

    /// Somebody says something that every node hears but this one, which is told that something was lost.
    pub(crate) fn miss(&self, message: &Bytes) {
        self.bus.ears.lock().retain(|ear| {
            let heard = if ear.same_channel(&self.ear) { Heard::Gap } else { Heard::Message(message.clone()) };
            ear.send(heard).is_ok()
        });
    }
}

#[async_trait]
impl Bus for Line {
    async fn say(&self, _: &str, message: Bytes) -> Result<(), BusError> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(BusError::unavailable("cut"));
        }
        if message.len() > LONGEST {
            return Err(BusError::TooLarge);
        }
        self.bus.say(&message);
        Ok(())
    }
}

impl Ear {
    pub(crate) async fn listen(mut self, hub: Hub) {
        while let Some(heard) = self.queue.recv().await {
            if self.held.wait_for(|held| !held).await.is_err() {
                return;
            }
            match heard {
                Heard::Message(message) => hub.hear(&message).await,
                Heard::Gap => hub.missed().await,
            }
        }
    }

    /// The next message, for a test that listens itself.
    pub(crate) async fn next(&mut self) -> serde_json::Value {
        match self.queue.recv().await.unwrap() {
            Heard::Message(message) => serde_json::from_slice(&message).unwrap(),
            Heard::Gap => panic!("a gap"),
        }
    }
}

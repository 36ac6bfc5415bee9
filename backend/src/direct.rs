//! Publishing after the commit, by the backend itself: what the modes `api` and `api_cdc` do.
//!
//! In order for each partition, together what has piled up, with one more try when the hub did not answer or failed.
//! The author waits for none of it and is told of no failure, because the message is written. What does not arrive is
//! counted, and that is all: the loss is the nature of this way, which `api_cdc` makes good by Kafka and `api` does not.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use protocol::{Command, Mode, Partition};
use tokio_util::task::TaskTracker;

use crate::metrics;

/// The pause before the second and last try.
const RETRY_AFTER: Duration = Duration::from_millis(20);
/// A hub that has not answered by then counts as one that failed.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Commands that may wait for a partition's turn. Beyond it they are lost: the author must not wait for a hub.
const LANE: usize = 4096;
/// Commands that one call takes along.
const BATCH: usize = 256;
/// How long a stop waits for what is on its way.
const STOP: Duration = Duration::from_secs(5);

/// Where the backend publishes: a hub in this process, or several over HTTP.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Carries commands out, in order. An error says that some may not have arrived; all are repeated then, once, if the
    /// error is [`PublishError::Unavailable`].
    async fn publish(&self, commands: Vec<Command>) -> Result<(), PublishError>;
}

/// Why commands were not carried out.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Nobody answered, or 500, 502, 503, 504: another try may help.
    #[error("the hub did not answer or failed")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Any other answer: the same again would be answered the same.
    #[error("the hub refused")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What became of the commands that the backend published itself, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectCounts {
    /// Accepted by the hub.
    pub published: u64,
    /// Publications of mode `api` that did not arrive, as far as is known. Nobody carries them any more.
    pub lost: u64,
    /// Commands of mode `api_cdc`, and memberships of either mode, that did not arrive this way: their rows do.
    pub left_to_the_row: u64,
}

/// The backend's own way to the hub. Cheap to clone; starts nothing before the first command.
#[derive(Clone)]
pub(crate) struct Direct(Arc<Shared>);

struct Shared {
    publisher: Option<Arc<dyn Publisher>>,
    /// A partition is in the map exactly while a task publishes for it.
    lanes: Mutex<BTreeMap<Partition, VecDeque<Pending>>>,
    tasks: TaskTracker,
    published: AtomicU64,
    lost: AtomicU64,
    left_to_the_row: AtomicU64,
}

#[derive(Clone)]
struct Pending {
    mode: Mode,
    command: Command,
}

impl Direct {
    /// Without a publisher everything is lost, and counted.
    pub(crate) fn new(publisher: Option<Arc<dyn Publisher>>) -> Self {
        Self(Arc::new(Shared {
            publisher,
            lanes: Mutex::default(),
            tasks: TaskTracker::new(),
            published: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            left_to_the_row: AtomicU64::new(0),
        }))
    }

    pub(crate) fn publishes(&self) -> bool {
        self.0.publisher.is_some()
    }

    /// Publishes behind what was given for this partition before. Never waits.
    pub(crate) fn publish(&self, partition: Partition, mode: Mode, commands: Vec<Command>) {
        if commands.is_empty() {
            return;
        }
        let mut pending: VecDeque<_> = commands.into_iter().map(|command| Pending { mode, command }).collect();
        let Some(publisher) = self.0.publisher.clone() else { return self.0.missed(pending.iter(), "no_hub") };
        let mut lanes = self.0.lanes.lock();
        match lanes.get_mut(&partition) {
            Some(lane) if lane.len() + pending.len() > LANE => {
                drop(lanes);
                self.0.missed(pending.iter(), "full");
            }
            Some(lane) => lane.append(&mut pending),
            None => {
                lanes.insert(partition, pending);
                drop(lanes);
                let turn = Turn { shared: self.0.clone(), partition };
                self.0.tasks.spawn(turn.run(publisher));
            }
        }
    }

    pub(crate) fn counts(&self) -> DirectCounts {
        DirectCounts {
            published: self.0.published.load(Ordering::Relaxed),
            lost: self.0.lost.load(Ordering::Relaxed),
            left_to_the_row: self.0.left_to_the_row.load(Ordering::Relaxed),
        }
    }

    /// Returns when everything has been published or given up; what takes too long is given up, too.
    pub(crate) async fn stop(&self) {
        self.0.tasks.close();
        if tokio::time::timeout(STOP, self.0.tasks.wait()).await.is_err() {
            let waiting: Vec<_> = std::mem::take(&mut *self.0.lanes.lock()).into_values().flatten().collect();
            self.0.missed(waiting.iter(), "stopped");
        }
    }
}

/// A task's right to publish for a partition. Given back however the task ends.
struct Turn {
    shared: Arc<Shared>,
    partition: Partition,
}

impl Turn {
    async fn run(self, publisher: Arc<dyn Publisher>) {
        while let Some(batch) = self.next() {
            self.shared.deliver(&*publisher, batch).await;
        }
    }

    /// What has piled up. None: nothing, and the turn is over.
    fn next(&self) -> Option<Vec<Pending>> {
        let mut lanes = self.shared.lanes.lock();
        let lane = lanes.get_mut(&self.partition)?;
        if lane.is_empty() {
            lanes.remove(&self.partition);
            return None;
        }
        let count = lane.len().min(BATCH);
        Some(lane.drain(..count).collect())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return; // next() has ended the turn; or stop() has, or the runtime itself ends
        }
        let waiting = self.shared.lanes.lock().remove(&self.partition);
        self.shared.missed(waiting.iter().flatten(), "failed");
    }
}

impl Shared {
    async fn deliver(&self, publisher: &dyn Publisher, batch: Vec<Pending>) {
        let commands: Vec<Command> = batch.iter().map(|pending| pending.command.clone()).collect();
        let first = within_time(publisher.publish(commands.clone())).await;
        let outcome = match first {
            Err(PublishError::Unavailable(_)) => {
                ::metrics::counter!(metrics::DIRECT_RETRIES).increment(1);
                tokio::time::sleep(RETRY_AFTER).await;
                within_time(publisher.publish(commands)).await
            }
            decided => decided,
        };
        match outcome {
            Ok(()) => {
                self.published.fetch_add(batch.len() as u64, Ordering::Relaxed);
                ::metrics::counter!(metrics::DIRECT_PUBLISHED).increment(batch.len() as u64);
            }
            Err(error) => {
                let reason = if matches!(error, PublishError::Refused(_)) { "refused" } else { "unavailable" };
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "{} commands were not published: {error}",
                    batch.len()
                );
                self.missed(batch.iter(), reason);
            }
        }
    }

    fn missed<'a>(&self, pending: impl Iterator<Item = &'a Pending>, reason: &'static str) {
        let (mut lost, mut left_to_the_row) = (0, 0);
        for Pending { mode, command } in pending {
            let has_a_row = *mode != Mode::Api || matches!(command, Command::Subscribe(_) | Command::Unsubscribe(_));
            *(if has_a_row { &mut left_to_the_row } else { &mut lost }) += 1;
        }
        self.lost.fetch_add(lost, Ordering::Relaxed);
        self.left_to_the_row.fetch_add(left_to_the_row, Ordering::Relaxed);
        ::metrics::counter!(metrics::DIRECT_LOST, "reason" => reason).increment(lost);
        ::metrics::counter!(metrics::DIRECT_LEFT_TO_THE_ROW, "reason" => reason).increment(left_to_the_row);
    }
}

async fn within_time(publishing: impl Future<Output = Result<(), PublishError>>) -> Result<(), PublishError> {
    let in_time = tokio::time::timeout(TIMEOUT, publishing).await;
    in_time.unwrap_or_else(|elapsed| Err(PublishError::Unavailable(elapsed.into())))
}

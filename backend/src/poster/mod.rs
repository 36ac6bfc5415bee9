//! Writes messages: at once while little is to do, together under load.
//!
//! A few writers ([`PosterLimits::writers`]) take what waits. While one of them is free, a message is written at once, by
//! one statement in one round trip. What arrives while all are busy is written by the next that becomes free: up to
//! [`PosterLimits::batch`] messages of up to [`PosterLimits::rooms`] rooms share one commit. Of a room only one write is
//! in flight, so its messages are written in the order of their arrival, and a hot room costs one lock for many.
//!
//! Each message is answered for itself. A transaction waits for no room: one that somebody else has locked is left out
//! and written by itself. One that fails for a reason that nobody foresaw is written room by room, and then one by one.
//! A client that goes away cancels nothing: the write belongs to a task of its own, and [`Poster::stop`] waits for it.

mod queue;
mod text;
mod write;

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use protocol::{ClientMessageId, Epoch, Mode, RoomId, TimelineEvent, UserId};
use sqlx::PgPool;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

pub use text::{MessageText, TextError};

use crate::{CommitHook, direct::Direct, metrics, store::messages::Written};
use queue::Queues;

/// Bounds of the queues in front of the database. A post that would cross one is refused with 503.
#[derive(Clone, Copy, Debug)]
pub struct PosterLimits {
    /// Posts that may wait for one room.
    pub room: usize,
    /// Posts that may be unanswered in all.
    pub total: usize,
    /// Messages that one transaction may write.
    pub batch: usize,
    /// Rooms that one transaction may write to.
    pub rooms: usize,
    /// Transactions that write at the same time.
    pub writers: usize,
    /// Rooms that may be waited for at the same time, as somebody else has locked them. Each keeps a connection.
    pub alone: usize,
}

impl Default for PosterLimits {
    fn default() -> Self {
        Self { room: 1024, total: 8192, batch: 128, rooms: 16, writers: 4, alone: 4 }
    }
}

/// A message to be written.
#[derive(Clone, Debug)]
pub struct NewPost {
    /// Where.
    pub room: RoomId,
    /// Who. Whether they are a member is looked up under the room's lock.
    pub author: UserId,
    /// What.
    pub text: MessageText,
    /// By this a repeat is recognised.
    pub client_id: ClientMessageId,
    /// By which way its news shall travel; None: by the database's.
    pub mode: Option<Mode>,
}

/// A message that is in the database.
#[derive(Clone, Debug)]
pub struct Posted {
    /// As everybody sees it.
    pub message: TimelineEvent,
    /// What its version counts in.
    pub epoch: Epoch,
    /// When the commit was acknowledged; for a repeat, when it was found.
    pub committed_at: SystemTime,
}

/// What became of a post.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is written.
    New(Posted),
    /// It was written before, as this.
    Repeat(Posted),
    /// The author is not a member.
    Denied,
    /// There is no such room.
    Unknown,
}

/// Why a post has no outcome. Trying again with the same `client_id` is always safe.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PostError {
    /// A queue is full.
    #[error("too many posts are waiting")]
    Full,
    /// [`Poster::stop`] was called.
    #[error("the server is stopping")]
    Stopping,
    /// The task that wrote it ended without an answer.
    #[error("the write was interrupted")]
    Interrupted,
    /// The statement failed.
    #[error("the message could not be written")]
    Failed(#[source] Arc<sqlx::Error>),
}

/// Writes messages. Cheap to clone; all clones share the queues.
#[derive(Clone)]
pub struct Poster(Arc<Shared>);

struct Shared {
    db: PgPool,
    hook: Arc<dyn CommitHook>,
    direct: Direct,
    queues: Queues,
    /// A permit for each room that may be written by itself.
    alone: Semaphore,
    tasks: TaskTracker,
}

/// A post on its way, and who waits for it.
struct Job {
    post: NewPost,
    arrived: Instant,
    answer: oneshot::Sender<Answer>,
}

type Answer = Result<Outcome, PostError>;

impl Poster {
    /// A poster on this pool that publishes nothing itself: the modes `api` and `api_cdc` need a backend.
    pub fn new(db: PgPool, hook: Arc<dyn CommitHook>, limits: PosterLimits) -> Self {
        Self::with_direct(db, hook, limits, Direct::new(None))
    }

    pub(crate) fn with_direct(db: PgPool, hook: Arc<dyn CommitHook>, limits: PosterLimits, direct: Direct) -> Self {
        let (queues, alone) = (Queues::new(limits), Semaphore::new(limits.alone.max(1)));
        Self(Arc::new(Shared { db, hook, direct, queues, alone, tasks: TaskTracker::new() }))
    }

    /// Writes a message, now or with the next transaction.
    pub async fn post(&self, post: NewPost) -> Answer {
        let (answer, answered) = oneshot::channel();
        if let Err(refused) = self.enqueue(Job { post, arrived: Instant::now(), answer }) {
            ::metrics::counter!(metrics::POSTS, "outcome" => "busy").increment(1);
            return Err(refused);
        }
        answered.await.unwrap_or(Err(PostError::Interrupted))
    }

    /// Refuses new posts, and returns when the accepted ones are answered.
    pub async fn stop(&self) {
        self.0.queues.close();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn enqueue(&self, job: Job) -> Result<(), PostError> {
        write::start(&self.0, self.0.queues.push(job)?);
        Ok(())
    }
}

impl Outcome {
    /// None: it is not written yet, as its room is locked.
    fn new(written: Written, committed_at: SystemTime) -> Option<Self> {
        Some(match written {
            Written::New(message, epoch) => Self::New(Posted { message, epoch, committed_at }),
            Written::Repeat(message, epoch) => Self::Repeat(Posted { message, epoch, committed_at }),
            Written::Denied => Self::Denied,
            Written::Unknown => Self::Unknown,
            Written::Locked => return None,
        })
    }
}

//! Writes messages: at once when the room is idle, together when it is hot.
//!
//! A room with no write in flight is written at once, by one statement in one round trip. What arrives for it meanwhile
//! is written by the next statement, together. So a quiet room waits for nobody, and a hot room costs one lock and one
//! commit for up to [`PosterLimits::batch`] messages instead of one each.
//!
//! Each message is answered for itself: a batch that fails for a reason that nobody foresaw is written one by one.
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
use tokio::sync::oneshot;
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
    /// Messages that one statement may write.
    pub batch: usize,
}

impl Default for PosterLimits {
    fn default() -> Self {
        Self { room: 1024, total: 8192, batch: 128 }
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
        Self(Arc::new(Shared { db, hook, direct, queues: Queues::new(limits), tasks: TaskTracker::new() }))
    }

    /// Writes a message, now or with the next batch of its room.
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
        let room = job.post.room;
        if let Some(first) = self.0.queues.push(job)? {
            self.0.tasks.spawn(write::room(self.0.clone(), room, first));
        }
        Ok(())
    }
}

impl Outcome {
    fn new(written: Written, committed_at: SystemTime) -> Self {
        match written {
            Written::New(message, epoch) => Self::New(Posted { message, epoch, committed_at }),
            Written::Repeat(message, epoch) => Self::Repeat(Posted { message, epoch, committed_at }),
            Written::Denied => Self::Denied,
            Written::Unknown => Self::Unknown,
        }
    }
}

//! The task of one room: writes a batch, answers it, takes the next, and ends when nothing is left.

use std::{sync::Arc, time::SystemTime};

use protocol::{Mode, Partition, RoomId};
use sqlx::{Connection, PgConnection, PgPool, Postgres, pool::PoolConnection};
use uuid::Uuid;

use super::{Answer, Job, Outcome, PostError, Posted, Shared};
use crate::{
    error::is_connection_lost,
    metrics,
    store::{self, announcements::Announcement, messages::Batch},
};

const TRIES: usize = 3;

/// Writes for `room` until nothing waits for it.
pub(super) async fn room(shared: Arc<Shared>, room: RoomId, first: Job) {
    let mut turn = Turn { shared: &shared, room, in_flight: 1 };
    let mut jobs = vec![first];
    while !jobs.is_empty() {
        turn.in_flight = jobs.len();
        batch(&shared, room, jobs).await;
        jobs = shared.queues.next(room, std::mem::take(&mut turn.in_flight));
    }
    std::mem::forget(turn); // next() has taken the room from the map
}

/// Gives the room free if its task dies: otherwise nobody could post there again.
struct Turn<'a> {
    shared: &'a Shared,
    room: RoomId,
    in_flight: usize,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.shared.queues.abandon(self.room, self.in_flight);
    }
}

/// Jobs taken apart into the columns that the statement wants, and who waits for each.
#[derive(Default)]
struct Columns {
    authors: Vec<i64>,
    texts: Vec<String>,
    client_ids: Vec<Uuid>,
    modes: Vec<Option<Mode>>,
}

impl Columns {
    fn slice(&self, room: RoomId, range: std::ops::Range<usize>) -> Batch<'_> {
        Batch {
            room,
            authors: &self.authors[range.clone()],
            texts: &self.texts[range.clone()],
            client_ids: &self.client_ids[range.clone()],
            modes: &self.modes[range],
        }
    }
}

async fn batch(shared: &Shared, room: RoomId, jobs: Vec<Job>) {
    let mut columns = Columns::default();
    let mut waiting = Vec::with_capacity(jobs.len());
    for job in jobs {
        columns.authors.push(job.post.author.0);
        columns.texts.push(job.post.text.into_string());
        columns.client_ids.push(job.post.client_id.0);
        columns.modes.push(job.post.mode);
        waiting.push((job.arrived, job.answer));
    }
    #[expect(clippy::cast_precision_loss, reason = "a batch has at most a few hundred messages")]
    ::metrics::histogram!(metrics::POST_BATCH_SIZE).record(waiting.len() as f64);

    let answers = write(shared, room, &columns).await;
    announce(shared, room, &answers);
    for ((arrived, reply), answer) in waiting.into_iter().zip(answers) {
        ::metrics::counter!(metrics::POSTS, "outcome" => outcome(&answer)).increment(1);
        ::metrics::histogram!(metrics::POST_SECONDS).record(arrived.elapsed().as_secs_f64());
        // Who went away does not hear it; the message is written all the same.
        let _ = reply.send(answer);
    }
}

/// What the commit leaves to do: a relay to be woken for rows of the outbox, and what the backend publishes itself.
fn announce(shared: &Shared, room: RoomId, answers: &[Answer]) {
    let mut wake = false;
    for answer in answers {
        let Ok(Outcome::New(Posted { message, epoch, .. })) = answer else { continue };
        wake |= message.mode == Mode::Outbox;
        if !message.mode.is_direct() {
            continue;
        }
        match Announcement::line_added(message.clone(), epoch.clone()) {
            Ok(news) => shared.direct.publish(Partition::of(room), message.mode, vec![news.into_command()]),
            Err(error) => {
                tracing::error!(room = %room, %error, "a message of room {room} cannot be published: {error}");
            }
        }
    }
    if wake {
        shared.hook.committed(Partition::of(room));
    }
}

fn outcome(answer: &Answer) -> &'static str {
    match answer {
        Ok(Outcome::New(_)) => "new",
        Ok(Outcome::Repeat(_)) => "repeat",
        Ok(Outcome::Denied) => "denied",
        Ok(Outcome::Unknown) => "unknown",
        Err(_) => "failed",
    }
}

/// One statement for all; if that fails because of what one of them says, a statement for each.
async fn write(shared: &Shared, room: RoomId, columns: &Columns) -> Vec<Answer> {
    let len = columns.authors.len();
    let error = match try_write(&shared.db, columns.slice(room, 0..len)).await {
        Ok(outcomes) => return outcomes.into_iter().map(Ok).collect(),
        Err(error) => error,
    };
    if len == 1 || !verdict(&error).may_pass_alone() {
        return vec![Err(PostError::Failed(Arc::new(error))); len];
    }
    tracing::warn!(room = %room, %error, "{len} messages for room {room} are written one by one: {error}");
    let mut answers = Vec::with_capacity(len);
    while answers.len() < len {
        let next = answers.len();
        match try_write(&shared.db, columns.slice(room, next..next + 1)).await {
            Ok(outcomes) => answers.extend(outcomes.into_iter().map(Ok)),
            Err(error) => {
                let lost = if verdict(&error).may_pass_alone() { 1 } else { len - next };
                answers.extend(vec![Err(PostError::Failed(Arc::new(error))); lost]);
            }
        }
    }
    answers
}

/// A lost connection is tried again too: whether the commit arrived is unknown, but a repeat is recognised.
async fn try_write(db: &PgPool, batch: Batch<'_>) -> sqlx::Result<Vec<Outcome>> {
    let mut tries = 1;
    let mut conn = db.acquire().await?;
    loop {
        let error = match attempt(&mut conn, batch).await {
            Ok(outcomes) => return Ok(outcomes),
            Err(error) => error,
        };
        if tries == TRIES {
            return Err(error);
        }
        tries += 1;
        let reason = match verdict(&error) {
            Verdict::Clash => "clash",
            Verdict::Connection => {
                conn = answering(db).await?;
                "connection"
            }
            Verdict::Blame | Verdict::GiveUp => return Err(error),
        };
        ::metrics::counter!(metrics::POST_RETRIES, "reason" => reason).increment(1);
    }
}

/// Where one connection died, the others of the pool probably did, too: takes them out until one answers.
async fn answering(db: &PgPool) -> sqlx::Result<PoolConnection<Postgres>> {
    loop {
        let mut conn = db.acquire().await?;
        match conn.ping().await {
            Ok(()) => return Ok(conn),
            Err(_) => drop(conn.detach()),
        }
    }
}

async fn attempt(conn: &mut PgConnection, batch: Batch<'_>) -> sqlx::Result<Vec<Outcome>> {
    let written = store::messages::post(conn, batch).await?;
    let committed_at = SystemTime::now();
    Ok(written.into_iter().map(|written| Outcome::new(written, committed_at)).collect())
}

/// What an error asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Another backend was in the way: again.
    Clash,
    /// The connection died: again, on another one.
    Connection,
    /// The statement was refused: one of the messages is to blame.
    Blame,
    /// No message is to blame, and trying again at once will not help.
    GiveUp,
}

impl Verdict {
    /// Whether a message of a failed batch may fare better by itself.
    fn may_pass_alone(self) -> bool {
        matches!(self, Self::Clash | Self::Blame)
    }
}

fn verdict(error: &sqlx::Error) -> Verdict {
    const CLASHES: [&str; 3] = ["23505", "40001", "40P01"]; // unique violation, serialization failure, deadlock
    match error {
        error if is_connection_lost(error) => Verdict::Connection,
        sqlx::Error::Database(error) if error.code().is_some_and(|code| CLASHES.contains(&&*code)) => Verdict::Clash,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Verdict::GiveUp,
        _ => Verdict::Blame,
    }
}

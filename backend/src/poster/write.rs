//! The tasks that write: a writer takes what waits for several rooms and writes it in one transaction; a room that
//! cannot share one is written by a task of its own.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use protocol::{Mode, Partition, Refusal, RoomId};
use sqlx::{PgConnection, PgPool};

use super::{Answer, Job, Outcome, PostError, Posted, Shared, queue::RoomJobs};
use crate::{
    database::{another, give_back, within},
    error::refusal_of,
    metrics,
    store::{
        self,
        announcements::Announcement,
        messages::{Post, Written},
    },
};

const TRIES: usize = 3;

/// Writes until nothing waits.
pub(super) async fn writer(shared: Arc<Shared>, first: Vec<RoomJobs>) {
    let mut turn = Turn { shared: Arc::clone(&shared), rooms: Vec::new(), in_flight: 0, writer: true, over: false };
    let mut batch = first;
    while !batch.is_empty() {
        turn.rooms = batch.iter().map(|room| room.room).collect();
        turn.in_flight = batch.iter().map(|room| room.jobs.len()).sum();
        let not_written = together(&shared, batch).await;
        for room in not_written {
            turn.rooms.retain(|written| *written != room.room);
            turn.in_flight -= room.jobs.len();
            shared.tasks.spawn(alone(Arc::clone(&shared), room));
        }
        batch = shared.queues.next(&std::mem::take(&mut turn.rooms), std::mem::take(&mut turn.in_flight));
    }
    turn.over();
}

/// Writes for one room, and waits for its lock: for rooms that somebody else holds, and for those of a transaction that
/// failed. Only so many do so at once, as each keeps a connection.
async fn alone(shared: Arc<Shared>, room: RoomJobs) {
    let (id, count) = (room.room, room.jobs.len());
    let turn = Turn { shared: Arc::clone(&shared), rooms: vec![id], in_flight: count, writer: false, over: false };
    let Ok(_permit) = shared.alone.acquire().await else { return };
    let answers = write_alone(&shared, &room).await;
    finish(&shared, vec![room], answers);
    turn.over();
    start(&shared, shared.queues.released(id, count));
}

/// Starts a writer if there is something for one.
pub(super) fn start(shared: &Arc<Shared>, first: Vec<RoomJobs>) {
    if !first.is_empty() {
        shared.tasks.spawn(writer(Arc::clone(shared), first));
    }
}

/// Gives rooms free if their task dies: otherwise nobody could post there again.
struct Turn {
    shared: Arc<Shared>,
    rooms: Vec<RoomId>,
    in_flight: usize,
    writer: bool,
    over: bool,
}

impl Turn {
    /// The queues know already.
    fn over(mut self) {
        self.over = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let next = self.shared.queues.abandon(&self.rooms, self.in_flight, self.writer);
        if tokio::runtime::Handle::try_current().is_ok() {
            start(&self.shared, next);
        }
    }
}

/// One transaction for all. Gives back what has to be written room by room: rooms that somebody else has locked, or all
/// of them if one message made the transaction fail.
async fn together(shared: &Shared, batch: Vec<RoomJobs>) -> Vec<RoomJobs> {
    let posts: Vec<Post<'_>> = batch.iter().flat_map(posts).collect();
    #[expect(clippy::cast_precision_loss, reason = "a batch has at most a few hundred messages")]
    ::metrics::histogram!(metrics::POST_BATCH_SIZE).record(posts.len() as f64);
    let len = posts.len();
    let outcomes = match try_write(&shared.db, &posts, false).await {
        Ok(outcomes) => outcomes,
        Err(error) if len > 1 && verdict(&error).may_pass_alone() => {
            tracing::warn!(%error, "{len} messages for {} rooms are written room by room: {error}", batch.len());
            return batch;
        }
        Err(error) => {
            finish(shared, batch, vec![Err(PostError::Failed(Arc::new(error))); len]);
            return Vec::new();
        }
    };
    let (mut answers, mut written, mut locked) = (Vec::with_capacity(len), Vec::with_capacity(batch.len()), Vec::new());
    let mut outcomes = outcomes.into_iter();
    for room in batch {
        // A room is locked for all of its messages or for none.
        let of_room: Vec<Outcome> = outcomes.by_ref().take(room.jobs.len()).flatten().collect();
        if of_room.len() == room.jobs.len() {
            answers.extend(of_room.into_iter().map(Ok));
            written.push(room);
        } else {
            locked.push(room);
        }
    }
    if !locked.is_empty() {
        ::metrics::counter!(metrics::POST_RETRIES, "reason" => "locked").increment(locked.len() as u64);
    }
    finish(shared, written, answers);
    locked
}

fn posts(room: &RoomJobs) -> impl Iterator<Item = Post<'_>> {
    room.jobs.iter().map(|Job { post, .. }| Post {
        room: post.room,
        author: post.author,
        text: post.text.as_str(),
        client_id: post.client_id,
        mode: post.mode,
    })
}

/// Announces what was written, and answers.
fn finish(shared: &Shared, rooms: Vec<RoomJobs>, answers: Vec<Answer>) {
    announce(shared, &answers);
    let jobs = rooms.into_iter().flat_map(|room| room.jobs);
    for (Job { arrived, answer: reply, .. }, answer) in jobs.zip(answers) {
        ::metrics::counter!(metrics::POSTS, "outcome" => outcome(&answer)).increment(1);
        ::metrics::histogram!(metrics::POST_SECONDS).record(arrived.elapsed().as_secs_f64());
        // Who went away does not hear it; the message is written all the same.
        let _ = reply.send(answer);
    }
}

/// What the commit leaves to do: relays to be woken for rows of the outbox, and what the backend publishes itself.
fn announce(shared: &Shared, answers: &[Answer]) {
    let mut wake = BTreeSet::new();
    for answer in answers {
        let Ok(Outcome::New(Posted { message, epoch, .. })) = answer else { continue };
        let (room, partition) = (message.room, Partition::of(message.room));
        if message.mode == Mode::Outbox {
            wake.insert(partition);
        }
        if !message.mode.is_direct() {
            continue;
        }
        match Announcement::line_added(message.clone(), epoch.clone()) {
            Ok(news) => shared.direct.publish(partition, message.mode, vec![news.into_command()]),
            Err(error) => {
                tracing::error!(room = %room, %error, "a message of room {room} cannot be published: {error}");
            }
        }
    }
    for partition in wake {
        shared.hook.committed(partition);
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
async fn write_alone(shared: &Shared, room: &RoomJobs) -> Vec<Answer> {
    let posts: Vec<Post<'_>> = posts(room).collect();
    let len = posts.len();
    let error = match write_waiting(&shared.db, &posts).await {
        Ok(outcomes) => return outcomes.into_iter().map(Ok).collect(),
        Err(error) => error,
    };
    if len == 1 || !verdict(&error).may_pass_alone() {
        return vec![Err(PostError::Failed(Arc::new(error))); len];
    }
    tracing::warn!(room = %room.room, %error, "{len} messages for room {} are written one by one: {error}", room.room);
    let mut answers = Vec::with_capacity(len);
    while answers.len() < len {
        let next = answers.len();
        match write_waiting(&shared.db, &posts[next..=next]).await {
            Ok(outcomes) => answers.extend(outcomes.into_iter().map(Ok)),
            Err(error) => {
                let lost = if verdict(&error).may_pass_alone() { 1 } else { len - next };
                answers.extend(vec![Err(PostError::Failed(Arc::new(error))); lost]);
            }
        }
    }
    answers
}

async fn write_waiting(db: &PgPool, posts: &[Post<'_>]) -> sqlx::Result<Vec<Outcome>> {
    Ok(try_write(db, posts, true).await?.into_iter().flatten().collect())
}

/// A lost connection is tried again too: whether the commit arrived is unknown, but a repeat is recognised.
async fn try_write(db: &PgPool, posts: &[Post<'_>], wait: bool) -> sqlx::Result<Vec<Option<Outcome>>> {
    let mut tries = 1;
    let mut conn = db.acquire().await?;
    loop {
        let error = match within(attempt(&mut conn, posts, wait)).await {
            Ok(outcomes) => {
                give_back(conn);
                return Ok(outcomes);
            }
            Err(error) => error,
        };
        if tries == TRIES {
            return Err(error);
        }
        tries += 1;
        let reason = match verdict(&error) {
            Verdict::Clash => "clash",
            Verdict::Connection => {
                drop(conn.detach());
                conn = another(db).await?;
                "connection"
            }
            Verdict::Blame | Verdict::GiveUp => return Err(error),
        };
        ::metrics::counter!(metrics::POST_RETRIES, "reason" => reason).increment(1);
    }
}

/// What became of each; None: its room is locked.
async fn attempt(conn: &mut PgConnection, posts: &[Post<'_>], wait: bool) -> sqlx::Result<Vec<Option<Outcome>>> {
    let written: Vec<Written> = store::messages::post(conn, posts, wait).await?;
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
    match (refusal_of(error), error) {
        (Some(Refusal::Clash), _) => Verdict::Clash,
        (Some(Refusal::Away), _) => Verdict::Connection,
        (Some(_), _) | (None, sqlx::Error::PoolClosed) => Verdict::GiveUp,
        (None, sqlx::Error::Database(error)) if error.is_unique_violation() => Verdict::Clash,
        (None, _) => Verdict::Blame,
    }
}

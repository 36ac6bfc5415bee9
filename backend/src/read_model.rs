//! The room list as a read model, made from the topic `room.events` and nothing else.
//!
//! A consumer gives records to [`apply`] and commits its position afterwards. Records may come repeatedly and in any
//! order: an event's id is remembered, and a line replaces an older one only. So the topic can be read again from the
//! beginning at any time, over what is there or after [`rebuild_begin`], with the same result. Reading Kafka is the
//! relay's work.
//!
//! The topic has what travelled by `chat_cdc` (modes `cdc`, `api_cdc`, `wal`). A line that went another way is made good
//! by the next that does not: counters are absolute.
//!
//! Memberships and read positions are in the topic as well (`member.*`), and are left alone: they are not absolute, so that
//! one which went another way would be wrong for ever; who writes moves their own position without an event; and a lost
//! leaving would show a room to somebody who is no member. [`rooms`] asks the truth for both, and the events for the rest.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use protocol::{ChatEvent, Command, CommandError, RoomId, SCHEMA, UserId};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::{
    room_audit,
    room_view::{self, Line},
};
pub use crate::store::{
    room_audit::{Deviation, Difference, Extent},
    room_view::{Lag, RoomEntry},
};

/// A record of `room.events`, as Debezium's event router writes it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Header `id`: the row's `event_id`.
    pub event_id: Uuid,
    /// Header `eventType`, such as `message.text`.
    pub event_type: &'a str,
    /// The value: the row's payload.
    pub payload: &'a str,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Applied {
    /// It is the newest line of its room now.
    Newest,
    /// A newer line was there before it, or came together with it.
    Older,
    /// This very event was applied before.
    Repeat,
    /// Its type says nothing to the room list.
    Ignored,
}

/// Why a record is not what its type says. Trying again cannot help.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// It is no publication.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Its data is no event.
    #[error("its data is not an event: {0}")]
    Data(#[from] serde_json::Error),
    /// Its data is an event of another type.
    #[error("its data is not a line of a room")]
    NotALine,
    /// It was written for readers who know more.
    #[error("its format is {0}, and this program knows {SCHEMA}: upgrade it, then rebuild the read model")]
    Schema(u16),
}

/// The room list of a user and how far it is behind the truth.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RoomList {
    /// Latest activity first.
    pub rooms: Vec<RoomEntry>,
    /// How far all rooms of the user's are behind, those that are not in this answer included.
    pub lag: Lag,
}

/// Applies records together, once and for all: when this returns, the consumer may commit its position. One answer a
/// record. An error means that none was applied: again.
pub async fn apply(db: &PgPool, records: &[Record<'_>]) -> sqlx::Result<Vec<Result<Applied, PayloadError>>> {
    let read: Vec<_> = records.iter().map(read).collect();
    let lines: Vec<_> = records.iter().zip(&read).enumerate().filter_map(numbered).collect();
    let mut event_ids: Vec<_> = lines.iter().map(|line| line.event_id).collect();
    event_ids.sort_unstable();
    event_ids.dedup();

    let mut new = HashSet::new();
    let mut newest = BTreeMap::new();
    if !event_ids.is_empty() {
        let mut tx = db.begin().await?;
        new = room_view::remember(&mut tx, &event_ids).await?;
        newest = newest_of(lines.iter().filter(|line| new.contains(&line.event_id)));
        let lines: Vec<_> = newest.values().map(|newest| newest.line).collect();
        let moved = room_view::apply_lines(&mut tx, &lines).await?;
        newest.retain(|room, _| moved.contains(room));
        tx.commit().await?;
    }
    let newest: HashSet<_> = newest.into_values().map(|newest| newest.index).collect();
    let outcomes = records.iter().zip(read).enumerate().map(|(index, (record, read))| {
        read.map(|line| match line {
            None => Applied::Ignored,
            // Taken out by the first: the same event again among these records is a repeat, too.
            Some(_) if !new.remove(&record.event_id) => Applied::Repeat,
            Some(_) if newest.contains(&index) => Applied::Newest,
            Some(_) => Applied::Older,
        })
    });
    Ok(outcomes.collect())
}

/// Empties the read model: the topic is then read from the beginning. A consumer that is reading at this moment may go on,
/// as the order of records does not matter.
pub async fn rebuild_begin(db: &PgPool) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    room_view::clear(&mut tx).await?;
    tx.commit().await
}

/// Forgets the ids of events that were applied longer ago than the topic keeps its records. Versions guard beyond that.
pub async fn forget(db: &PgPool, older_than: Duration) -> sqlx::Result<u64> {
    let mut tx = db.begin().await?;
    room_view::take_the_time(&mut tx).await?;
    let forgotten = room_view::forget(&mut tx, older_than.as_secs_f64()).await?;
    tx.commit().await?;
    Ok(forgotten)
}

/// The rooms of a user, latest activity first, at most `limit`.
pub async fn rooms(db: &PgPool, user: UserId, limit: u32) -> sqlx::Result<RoomList> {
    let mut conn = db.acquire().await?;
    let rooms = room_view::mine(&mut conn, user, limit).await?;
    Ok(RoomList { rooms, lag: room_view::lag(&mut conn, user).await? })
}

/// What there is of the read model.
pub async fn extent(db: &PgPool) -> sqlx::Result<Extent> {
    room_audit::extent(&mut *db.acquire().await?).await
}

/// In what the read model is not as the truth. What is on its way is among it.
pub async fn differences(db: &PgPool) -> sqlx::Result<Vec<Difference>> {
    room_audit::differences(&mut *db.acquire().await?).await
}

/// A line and the record that told of it.
#[derive(Clone, Copy)]
struct Numbered<'a> {
    index: usize,
    event_id: Uuid,
    line: &'a Line,
}

fn numbered<'a>(
    (index, (record, read)): (usize, (&Record<'_>, &'a Result<Option<Line>, PayloadError>)),
) -> Option<Numbered<'a>> {
    let line = read.as_ref().ok()?.as_ref()?;
    Some(Numbered { index, event_id: record.event_id, line })
}

/// The newest line of each room.
fn newest_of<'a>(lines: impl Iterator<Item = &'a Numbered<'a>>) -> BTreeMap<RoomId, Numbered<'a>> {
    let mut newest = BTreeMap::new();
    for line in lines {
        let entry = newest.entry(line.line.event.room).or_insert(*line);
        if line.line.is_newer_than(entry.line) {
            *entry = *line;
        }
    }
    newest
}

/// The line that a record tells of, if its type is one that does. A type that nobody knows yet is no fault of the record's.
fn read(record: &Record<'_>) -> Result<Option<Line>, PayloadError> {
    match record.event_type {
        "message.text" | "message.joined" | "message.left" | "message.created" => line(record.payload).map(Some),
        _ => Ok(None),
    }
}

fn line(payload: &str) -> Result<Line, PayloadError> {
    let Command::Publish(publish) = Command::parse("publish", payload)? else { return Err(PayloadError::NotALine) };
    let Format { schema } = serde_json::from_str(publish.data.get())?;
    if schema.is_some_and(|schema| schema > SCHEMA) {
        return Err(PayloadError::Schema(schema.unwrap_or_default()));
    }
    match serde_json::from_str(publish.data.get())? {
        ChatEvent::Message(event) => Ok(Line { event, epoch: publish.version_epoch.unwrap_or_default() }),
        ChatEvent::Read(_) | ChatEvent::Mode(_) => Err(PayloadError::NotALine),
    }
}

/// As much of an event as every format has.
#[derive(Deserialize)]
struct Format {
    schema: Option<u16>,
}

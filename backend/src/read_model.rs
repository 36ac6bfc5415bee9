//! The room list as a read model, made from the topic `room.events` and nothing else.
//!
//! A consumer gives each record to [`apply`] and commits its position afterwards. Records may come repeatedly and in any
//! order: an event's id is remembered, and a line replaces an older one only. So the topic can be read again from the
//! beginning at any time, over what is there or after [`rebuild_begin`], with the same result. Reading Kafka is the
//! relay's work.
//!
//! The topic has what travelled by `chat_cdc` (modes `cdc`, `api_cdc`, `wal`). A line that went another way is made good
//! by the next that does not: counters are absolute.

use std::time::Duration;

use protocol::{ChatEvent, Command, CommandError, UserId};
use sqlx::PgPool;
use uuid::Uuid;

use crate::store::room_view;
pub use crate::store::room_view::RoomEntry;

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
    /// A newer line was there before it.
    Older,
    /// This very event was applied before.
    Repeat,
    /// Its type says nothing to the room list.
    Ignored,
}

/// Why a record was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It is no event of its type: trying again cannot help.
    #[error("event {event_id} is not a \"{event_type}\"")]
    Payload {
        /// Header `id`.
        event_id: Uuid,
        /// Header `eventType`.
        event_type: String,
        /// What is wrong.
        source: PayloadError,
    },
    /// Nothing was applied: again.
    #[error("the read model could not be written")]
    Database(#[from] sqlx::Error),
}

/// What is wrong with a payload.
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
}

/// Applies a record, once and for all: when this returns, the consumer may commit its position.
pub async fn apply(db: &PgPool, record: Record<'_>) -> Result<Applied, ApplyError> {
    if !record.event_type.starts_with("message.") {
        return Ok(Applied::Ignored);
    }
    let line = line(record.payload).map_err(|source| ApplyError::Payload {
        event_id: record.event_id,
        event_type: record.event_type.to_owned(),
        source,
    })?;
    let mut tx = db.begin().await?;
    if !room_view::remember(&mut tx, record.event_id).await? {
        return Ok(Applied::Repeat);
    }
    let newest = room_view::apply_line(&mut tx, &line).await?;
    tx.commit().await?;
    Ok(if newest { Applied::Newest } else { Applied::Older })
}

/// Empties the read model: the consumer then reads the topic from the beginning. One that is reading at this moment may
/// go on, as the order of records does not matter.
pub async fn rebuild_begin(db: &PgPool) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    room_view::clear(&mut tx).await?;
    tx.commit().await
}

/// Forgets the ids of events that were applied longer ago than the topic keeps its records. Versions guard beyond that.
pub async fn forget(db: &PgPool, older_than: Duration) -> sqlx::Result<u64> {
    room_view::forget(&mut *db.acquire().await?, older_than.as_secs_f64()).await
}

/// The rooms of a user, latest activity first, at most `limit`.
pub async fn rooms(db: &PgPool, user: UserId, limit: u32) -> sqlx::Result<Vec<RoomEntry>> {
    room_view::mine(&mut *db.acquire().await?, user, limit).await
}

fn line(payload: &str) -> Result<protocol::TimelineEvent, PayloadError> {
    let Command::Publish(publish) = Command::parse("publish", payload)? else { return Err(PayloadError::NotALine) };
    match serde_json::from_str(publish.data.get())? {
        ChatEvent::Message(line) => Ok(line),
        ChatEvent::Read(_) | ChatEvent::Mode(_) => Err(PayloadError::NotALine),
    }
}

//! What a publication's `data` says: one line of a room's timeline, or news for one user alone.
//!
//! The same JSON comes from the transaction (SQL), from `GET /api/rooms/{id}/messages` and from the backlog, so that a
//! client has one reader for all three. It is a snapshot: a later rename does not change what was said.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{ClientMessageId, Offset, RoomId, UserId};

/// The version of this format. A reader ignores fields that it does not know.
pub const SCHEMA: u16 = 1;

/// The kinds of lines in a timeline. PostgreSQL keeps the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(i16)]
pub enum Kind {
    /// A person wrote.
    Text = 0,
    /// A person joined the room.
    Joined = 1,
    /// A person left the room.
    Left = 2,
    /// The room was created; always version 1.
    Created = 3,
}

impl TryFrom<i16> for Kind {
    type Error = i16;

    fn try_from(number: i16) -> Result<Self, i16> {
        match number {
            0 => Ok(Self::Text),
            1 => Ok(Self::Joined),
            2 => Ok(Self::Left),
            3 => Ok(Self::Created),
            other => Err(other),
        }
    }
}

/// Who did it, with the name at that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// Stable identity.
    pub id: UserId,
    /// Name shown, as it was at commit time.
    pub name: String,
}

/// One line of a room's timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimelineEvent {
    /// Version of the format, see [`SCHEMA`].
    pub schema: u16,
    /// The room.
    pub room: RoomId,
    /// Place in the room's timeline, gapless from 1: the publication's offset.
    pub version: Offset,
    /// What kind of line.
    pub kind: Kind,
    /// Who wrote, joined, left or created.
    pub author: Author,
    /// What was written; empty for the other kinds.
    #[serde(default)]
    pub text: String,
    /// The author's own id of the message; absent for lines that nobody posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientMessageId>,
    /// Members of the room after this line: absolute, so that a lost or repeated line cannot spoil a counter.
    pub members: i32,
    /// How many of the room's lines are texts, this one included: unread = texts now − texts at the read position.
    pub texts: i64,
    /// Clock of the database, taken under the room's lock: times follow versions.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// A read position that moved, told to the other tabs of the same user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadEvent {
    /// The room.
    pub room: RoomId,
    /// Everything up to here has been read.
    pub read_version: Offset,
    /// Texts after the read position.
    pub unread: i64,
}

/// The `data` of every publication that the backend announces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ChatEvent {
    /// On `room:<id>`.
    Message(TimelineEvent),
    /// On `user:<id>`.
    Read(ReadEvent),
}

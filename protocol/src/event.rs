//! What a publication's `data` says: one line of a room's timeline, news for one user alone, or for everybody.
//!
//! The same JSON comes from the transaction (SQL), from `GET /api/rooms/{id}/messages` and from the backlog, so that a
//! client has one reader for all three. It is a snapshot: a later rename does not change what was said.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{ClientMessageId, Mode, Offset, RoomId, UserId};

/// The version of this format. A reader ignores fields that it does not know, and does without those that came later
/// than what it reads; the number moves only when that would not be enough.
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
    /// The room's name, as it was at commit time. Empty in events from before it was told.
    #[serde(default)]
    pub room_name: String,
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
    /// By which way the news of it travels.
    #[serde(default)]
    pub mode: Mode,
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

/// A new broadcast mode, told to everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeEvent {
    /// The mode of messages whose request names none.
    pub mode: Mode,
    /// When it was changed, by the clock of the database.
    #[serde(with = "time::serde::rfc3339")]
    pub changed_at: OffsetDateTime,
}

/// The `data` of every publication that the backend announces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ChatEvent {
    /// On `room:<id>`.
    Message(TimelineEvent),
    /// On `user:<id>`.
    Read(ReadEvent),
    /// On `system:all`.
    Mode(ModeEvent),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_takes_what_an_older_writer_wrote_and_what_a_newer_one_will() {
        let older = r#"{"type":"message","schema":1,"room":1,"version":2,"kind":"joined","author":{"id":3,"name":"C"},
            "members":2,"texts":0,"created_at":"2026-11-22T12:00:00Z"}"#;
        let Ok(ChatEvent::Message(line)) = serde_json::from_str(older) else { panic!("not a message") };
        assert_eq!((line.mode, line.room_name.as_str(), line.text.as_str()), (Mode::Outbox, "", ""));

        let newer = r#"{"type":"read","room":1,"read_version":2,"unread":0,"device":{"name":"phone"}}"#;
        assert!(matches!(serde_json::from_str(newer), Ok(ChatEvent::Read(_))));
        let newer = r#"{"type":"mode","mode":"wal","changed_at":"2026-11-22T13:00:00+01:00","by":"alice"}"#;
        let Ok(ChatEvent::Mode(changed)) = serde_json::from_str(newer) else { panic!("not a mode") };
        assert_eq!(changed.mode, Mode::Wal);
    }
}

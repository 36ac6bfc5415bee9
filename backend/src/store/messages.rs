//! The one statement that writes messages; what it does stands in `migrations/0003_modes.sql`.

use protocol::{Author, ClientMessageId, Epoch, Kind, Mode, RoomId, SCHEMA, TimelineEvent, UserId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::settings::parse_mode;

/// What became of one message.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// It has the next version of its room, in this epoch.
    New(TimelineEvent, Epoch),
    /// The author posted this `client_id` before; this is what was written then.
    Repeat(TimelineEvent, Epoch),
    /// The author is not a member.
    Denied,
    /// There is no such room.
    Unknown,
}

/// Messages for one room, in order. Columns, as PostgreSQL takes arrays.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The room.
    pub room: RoomId,
    /// Who wrote each.
    pub authors: &'a [i64],
    /// What each says.
    pub texts: &'a [String],
    /// The author's id of each.
    pub client_ids: &'a [Uuid],
    /// The mode of each; None is the mode of the database.
    pub modes: &'a [Option<Mode>],
}

/// Writes messages, what announces them in each one's mode, and the room's counters. Outside a transaction it is one: a round trip.
pub async fn post(conn: &mut PgConnection, batch: Batch<'_>) -> sqlx::Result<Vec<Written>> {
    let modes: Vec<Option<&str>> = batch.modes.iter().map(|mode| mode.map(Mode::as_str)).collect();
    let rows = sqlx::query!(
        r#"select status as "status!", o_version as "version!", o_author_name as "author_name!", o_text as "text!",
                  o_members as "members!", o_texts as "texts!", o_created_at as "created_at!",
                  o_epoch as "epoch!", o_room_name as "room_name!", o_mode as "mode!"
             from post_messages($1, $2, $3, $4, $5)"#,
        batch.room.0,
        batch.authors,
        batch.texts,
        batch.client_ids,
        modes.as_slice() as &[Option<&str>]
    )
    .fetch_all(conn)
    .await?;
    let written = rows.into_iter().enumerate().map(|(index, row)| {
        let event = TimelineEvent {
            schema: SCHEMA,
            room: batch.room,
            room_name: row.room_name,
            version: row.version.into(),
            kind: Kind::Text,
            author: Author { id: UserId(batch.authors[index]), name: row.author_name },
            text: row.text,
            client_id: Some(ClientMessageId(batch.client_ids[index])),
            members: row.members,
            texts: row.texts,
            mode: parse_mode(&row.mode),
            created_at: row.created_at,
        };
        match row.status.as_str() {
            "new" => Written::New(event, row.epoch.into()),
            "repeat" => Written::Repeat(event, row.epoch.into()),
            "denied" => Written::Denied,
            _ => Written::Unknown,
        }
    });
    Ok(written.collect())
}

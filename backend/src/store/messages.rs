//! The one statement that writes messages; what it does stands in `migrations/0002_post_messages.sql`.

use protocol::{Author, ClientMessageId, Kind, RoomId, SCHEMA, TimelineEvent, UserId};
use sqlx::PgConnection;
use uuid::Uuid;

/// What became of one message.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// It has the next version of its room.
    New(TimelineEvent),
    /// The author posted this `client_id` before; this is what was written then.
    Repeat(TimelineEvent),
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
}

/// Writes messages, the rows that announce them and the room's counters. Outside a transaction it is one: a round trip.
pub async fn post(conn: &mut PgConnection, batch: Batch<'_>) -> sqlx::Result<Vec<Written>> {
    let rows = sqlx::query!(
        r#"select status as "status!", o_version as "version!", o_author_name as "author_name!", o_text as "text!",
                  o_members as "members!", o_texts as "texts!", o_created_at as "created_at!"
             from post_messages($1, $2, $3, $4)"#,
        batch.room.0,
        batch.authors,
        batch.texts,
        batch.client_ids
    )
    .fetch_all(conn)
    .await?;
    let written = rows.into_iter().enumerate().map(|(index, row)| {
        let event = TimelineEvent {
            schema: SCHEMA,
            room: batch.room,
            version: row.version.into(),
            kind: Kind::Text,
            author: Author { id: UserId(batch.authors[index]), name: row.author_name },
            text: row.text,
            client_id: Some(ClientMessageId(batch.client_ids[index])),
            members: row.members,
            texts: row.texts,
            created_at: row.created_at,
        };
        match row.status.as_str() {
            "new" => Written::New(event),
            "repeat" => Written::Repeat(event),
            "denied" => Written::Denied,
            _ => Written::Unknown,
        }
    });
    Ok(written.collect())
}

//! The one statement that writes messages; what it does stands in `migrations/0018_room_heads.sql`.

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
    /// Somebody else has locked the room, and it was not waited for.
    Locked,
}

/// A message to be written.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    /// Where.
    pub room: RoomId,
    /// Who wrote it.
    pub author: UserId,
    /// What it says.
    pub text: &'a str,
    /// The author's id of it.
    pub client_id: ClientMessageId,
    /// Its mode; None is the mode of the database.
    pub mode: Option<Mode>,
}

/// Writes messages and what announces them in each one's mode. Outside a transaction it is one: a round trip.
///
/// Those of a room stand together, in order. `wait` is for messages of one room: it waits if somebody has locked that.
pub async fn post(conn: &mut PgConnection, posts: &[Post<'_>], wait: bool) -> sqlx::Result<Vec<Written>> {
    let rooms: Vec<i64> = posts.iter().map(|post| post.room.0).collect();
    let authors: Vec<i64> = posts.iter().map(|post| post.author.0).collect();
    let texts: Vec<&str> = posts.iter().map(|post| post.text).collect();
    let client_ids: Vec<Uuid> = posts.iter().map(|post| post.client_id.0).collect();
    let modes: Vec<Option<&str>> = posts.iter().map(|post| post.mode.map(Mode::as_str)).collect();
    let rows = sqlx::query!(
        r#"select status as "status!", o_version as "version!", o_author_name as "author_name!", o_text as "text!",
                  o_members as "members!", o_texts as "texts!", o_created_at as "created_at!",
                  o_epoch as "epoch!", o_room_name as "room_name!", o_mode as "mode!"
             from post_to_rooms($1, $2, $3, $4, $5, $6)"#,
        &rooms,
        &authors,
        texts.as_slice() as &[&str],
        &client_ids,
        modes.as_slice() as &[Option<&str>],
        wait
    )
    .fetch_all(conn)
    .await?;
    let written = posts.iter().zip(rows).map(|(post, row)| {
        let event = TimelineEvent {
            schema: SCHEMA,
            room: post.room,
            room_name: row.room_name,
            version: row.version.into(),
            kind: Kind::Text,
            author: Author { id: post.author, name: row.author_name },
            text: row.text,
            client_id: Some(post.client_id),
            members: row.members,
            texts: row.texts,
            mode: parse_mode(&row.mode),
            created_at: row.created_at,
        };
        match row.status.as_str() {
            "new" => Written::New(event, row.epoch.into()),
            "repeat" => Written::Repeat(event, row.epoch.into()),
            "denied" => Written::Denied,
            "locked" => Written::Locked,
            _ => Written::Unknown,
        }
    });
    Ok(written.collect())
}

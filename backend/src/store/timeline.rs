//! The lines of a room, by version.

use protocol::{Author, ClientMessageId, Kind, Mode, Offset, RoomId, SCHEMA, TimelineEvent, UserId};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{rooms::Head, settings::parse_mode};

/// A page of a timeline.
#[derive(Clone, Debug)]
pub struct Page {
    /// Ascending by version.
    pub messages: Vec<TimelineEvent>,
    /// Whether there is more in the direction of the page: older, or newer when it was asked for by `after`.
    pub has_more: bool,
}

struct Line {
    version: i64,
    kind: i16,
    author_id: i64,
    author_name: String,
    text: String,
    client_id: Option<Uuid>,
    members: i32,
    texts: i64,
    mode: String,
    room_name: String,
    created_at: OffsetDateTime,
}

impl Line {
    fn event(self, room: RoomId) -> TimelineEvent {
        TimelineEvent {
            schema: SCHEMA,
            room,
            room_name: self.room_name,
            version: self.version.into(),
            // The table's check admits no other number.
            kind: Kind::try_from(self.kind).unwrap_or(Kind::Text),
            author: Author { id: UserId(self.author_id), name: self.author_name },
            text: self.text,
            client_id: self.client_id.map(ClientMessageId),
            members: self.members,
            texts: self.texts,
            mode: parse_mode(&self.mode),
            created_at: self.created_at,
        }
    }
}

/// The newest lines before `before`; or, when `after` is given, the oldest after it.
pub async fn page(
    conn: &mut PgConnection,
    room: RoomId,
    before: Option<Offset>,
    after: Option<Offset>,
    limit: u32,
) -> sqlx::Result<Page> {
    let one_more = i64::from(limit) + 1;
    let before = before.map_or(i64::MAX, i64::from);
    let mut lines = match after {
        Some(after) => newer(conn, room, after.into(), before, one_more).await?,
        None => older(conn, room, before, one_more).await?,
    };
    let has_more = lines.len() > limit as usize;
    lines.truncate(limit as usize);
    if after.is_none() {
        lines.reverse();
    }
    Ok(Page { messages: lines.into_iter().map(|line| line.event(room)).collect(), has_more })
}

async fn older(conn: &mut PgConnection, room: RoomId, before: i64, limit: i64) -> sqlx::Result<Vec<Line>> {
    sqlx::query_as!(
        Line,
        "select version, kind, author_id, author_name, text, client_id, members, texts, mode, room_name,
                created_at
           from messages where room_id = $1 and version < $2 order by version desc limit $3",
        room.0,
        before,
        limit
    )
    .fetch_all(conn)
    .await
}

async fn newer(conn: &mut PgConnection, room: RoomId, after: i64, before: i64, limit: i64) -> sqlx::Result<Vec<Line>> {
    sqlx::query_as!(
        Line,
        "select version, kind, author_id, author_name, text, client_id, members, texts, mode, room_name,
                created_at
           from messages where room_id = $1 and version > $2 and version < $3 order by version limit $4",
        room.0,
        after,
        before,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Writes a line that is not a text into a locked room, as its next version, and moves the number of members by `joined`.
pub async fn append(
    conn: &mut PgConnection,
    room: &Head,
    kind: Kind,
    author: &Author,
    joined: i32,
    mode: Mode,
) -> sqlx::Result<TimelineEvent> {
    let line = sqlx::query_as!(
        Line,
        "with room as (
            update rooms set member_count = member_count + $5 where id = $1 returning id, name, member_count
         )
         insert into messages (room_id, version, kind, author_id, author_name, members, texts, created_at, mode, room_name)
         select id, $7, $2, $3, $4, member_count, $8, clock_timestamp(), $6, name from room
         returning version, kind, author_id, author_name, text, client_id, members, texts, mode, room_name, created_at",
        room.id.0,
        kind as i16,
        author.id.0,
        author.name,
        joined,
        mode.as_str(),
        i64::from(room.version.next()),
        room.texts
    )
    .fetch_one(conn)
    .await?;
    Ok(line.event(room.id))
}

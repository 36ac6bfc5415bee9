//! Rooms as a person sees them, and the counters of a room that only the holder of its lock may move.

use std::collections::{BTreeMap, HashMap};

use protocol::{Author, ClientMessageId, Epoch, Kind, Offset, Position, RoomId, SCHEMA, TimelineEvent, UserId};
use serde::Serialize;
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    cursor::{ByActivity, ByName},
    settings::parse_mode,
};

/// A room as one user sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Room {
    /// Identity.
    #[schema(value_type = i64)]
    pub id: RoomId,
    /// Unique, whatever its case.
    pub name: String,
    /// Version of the newest line: the offset of `room:<id>`.
    #[schema(value_type = i64)]
    pub version: Offset,
    /// What `version` counts in.
    #[schema(value_type = String)]
    pub epoch: Epoch,
    /// How many lines are texts.
    pub texts: i64,
    /// Members now.
    pub member_count: i32,
    /// Time of the newest line.
    #[serde(with = "time::serde::rfc3339")]
    pub bumped_at: OffsetDateTime,
    /// Time of the first line.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Whether the user is a member. What follows is for members only.
    pub is_member: bool,
    /// Everything up to here was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub read_version: Option<Offset>,
    /// Texts after `read_version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<i64>,
    /// The newest line, whatever its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::routes::Message>)]
    pub last_message: Option<TimelineEvent>,
}

/// A page of rooms.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Rooms {
    /// In the order of the list.
    pub rooms: Vec<Room>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// The counters of a room whose lock is held.
#[derive(Clone, Debug)]
pub struct Head {
    /// The room.
    pub id: RoomId,
    /// What `version` counts in.
    pub epoch: Epoch,
    /// Version of the newest line.
    pub version: Offset,
    /// How many lines are texts.
    pub texts: i64,
    /// Members.
    pub member_count: i32,
}

/// One row for the room and its last line, as the queries below select it.
struct RoomRow {
    id: i64,
    name: String,
    version: i64,
    epoch: String,
    texts: i64,
    member_count: i32,
    bumped_at: OffsetDateTime,
    created_at: OffsetDateTime,
    read_version: Option<i64>,
    unread: Option<i64>,
    last_kind: Option<i16>,
    last_author_id: Option<i64>,
    last_author_name: Option<String>,
    last_text: Option<String>,
    last_client_id: Option<uuid::Uuid>,
    last_mode: Option<String>,
    last_room_name: Option<String>,
}

impl From<RoomRow> for Room {
    fn from(row: RoomRow) -> Self {
        // A room's counters are those of its last line.
        let last_message = match (row.last_kind, row.last_author_id, row.last_author_name) {
            (Some(kind), Some(author), Some(name)) => Some(TimelineEvent {
                schema: SCHEMA,
                room: RoomId(row.id),
                room_name: row.last_room_name.unwrap_or_default(),
                version: row.version.into(),
                kind: Kind::try_from(kind).unwrap_or(Kind::Text),
                author: Author { id: UserId(author), name },
                text: row.last_text.unwrap_or_default(),
                client_id: row.last_client_id.map(ClientMessageId),
                members: row.member_count,
                texts: row.texts,
                mode: row.last_mode.as_deref().map(parse_mode).unwrap_or_default(),
                created_at: row.bumped_at,
            }),
            _ => None,
        };
        Self {
            id: RoomId(row.id),
            name: row.name,
            version: row.version.into(),
            epoch: row.epoch.into(),
            texts: row.texts,
            member_count: row.member_count,
            bumped_at: row.bumped_at,
            created_at: row.created_at,
            is_member: row.read_version.is_some(),
            read_version: row.read_version.map(Offset::from),
            unread: row.unread,
            last_message,
        }
    }
}

struct HeadRow {
    id: i64,
    epoch: String,
    version: i64,
    texts: i64,
    member_count: i32,
}

impl From<HeadRow> for Head {
    fn from(row: HeadRow) -> Self {
        Self {
            id: RoomId(row.id),
            epoch: row.epoch.into(),
            version: row.version.into(),
            texts: row.texts,
            member_count: row.member_count,
        }
    }
}

/// Rooms of a user whose name contains `query` in whatever case, latest activity first. The limit comes before the last
/// lines are looked up.
pub async fn mine(
    conn: &mut PgConnection,
    user: UserId,
    query: &str,
    limit: u32,
    cursor: Option<&ByActivity>,
) -> sqlx::Result<Rooms> {
    let rows = sqlx::query_as!(
        RoomRow,
        r#"
        select r.id as "id!", r.name as "name!", r.version as "version!", r.epoch as "epoch!", r.texts as "texts!",
               r.member_count as "member_count!", r.bumped_at as "bumped_at!", r.created_at as "created_at!",
               r.read_version as "read_version?", r.texts - r.read_texts as "unread?",
               l.kind as "last_kind?", l.author_id as "last_author_id?", l.author_name as "last_author_name?",
               l.text as "last_text?", l.client_id as "last_client_id?", l.mode as "last_mode?",
               l.room_name as "last_room_name?"
          from (select r.id, r.name, r.version, r.epoch, r.texts, r.member_count, r.bumped_at, r.created_at,
                       m.read_version, m.read_texts
                  from members m join room_heads r on r.id = m.room_id
                 where m.user_id = $1
                   and ($2::timestamptz is null or (r.bumped_at, r.id) < ($2, $3::bigint))
                   and strpos(lower(r.name), lower($5)) > 0
                 order by r.bumped_at desc, r.id desc
                 limit $4) r
          left join messages l on l.room_id = r.id and l.version = r.version
         order by r.bumped_at desc, r.id desc"#,
        user.0,
        cursor.map(|cursor| cursor.bumped_at),
        cursor.map(|cursor| cursor.room.0),
        i64::from(limit) + 1,
        query,
    )
    .fetch_all(conn)
    .await?;
    Ok(page(rows, limit, |last| ByActivity { bumped_at: last.bumped_at, room: last.id }.to_string()))
}

/// How many texts the user has not read, room by room; rooms without any are left out.
pub async fn unread(conn: &mut PgConnection, user: UserId) -> sqlx::Result<BTreeMap<RoomId, i64>> {
    let rows = sqlx::query!(
        r#"select m.room_id, r.texts - m.read_texts as "unread!"
             from members m join room_heads r on r.id = m.room_id
            where m.user_id = $1 and r.texts > m.read_texts"#,
        user.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (RoomId(row.room_id), row.unread)).collect())
}

/// Rooms that the user is not in, by name, whose name contains `query` in whatever case.
pub async fn discover(
    conn: &mut PgConnection,
    user: UserId,
    query: &str,
    limit: u32,
    cursor: Option<&ByName>,
) -> sqlx::Result<Rooms> {
    let rows = sqlx::query_as!(
        RoomRow,
        r#"
        select r.id as "id!", r.name as "name!", r.version as "version!", r.epoch as "epoch!", r.texts as "texts!",
               r.member_count as "member_count!", r.bumped_at as "bumped_at!", r.created_at as "created_at!",
               null::bigint as read_version, null::bigint as unread,
               null::smallint as last_kind, null::bigint as last_author_id, null::text as last_author_name,
               null::text as last_text, null::uuid as last_client_id, null::text as last_mode,
               null::text as last_room_name
          from room_heads r
         where strpos(lower(r.name), lower($2)) > 0
           and ($3::text is null or lower(r.name) > lower($3))
           and not exists (select from members m where m.room_id = r.id and m.user_id = $1)
         order by lower(r.name)
         limit $4"#,
        user.0,
        query,
        cursor.map(|cursor| cursor.0.as_str()),
        i64::from(limit) + 1,
    )
    .fetch_all(conn)
    .await?;
    Ok(page(rows, limit, |last| ByName(last.name.clone()).to_string()))
}

/// One room. Who is not a member sees what [`discover`] shows.
pub async fn get(conn: &mut PgConnection, room: RoomId, user: UserId) -> sqlx::Result<Option<Room>> {
    let row = sqlx::query_as!(
        RoomRow,
        r#"
        select r.id as "id!", r.name as "name!", r.version as "version!", r.epoch as "epoch!", r.texts as "texts!",
               r.member_count as "member_count!", r.bumped_at as "bumped_at!", r.created_at as "created_at!",
               m.read_version as "read_version?", r.texts - m.read_texts as "unread?",
               l.kind as "last_kind?", l.author_id as "last_author_id?", l.author_name as "last_author_name?",
               l.text as "last_text?", l.client_id as "last_client_id?", l.mode as "last_mode?",
               l.room_name as "last_room_name?"
          from room_heads r
          left join members m on m.room_id = r.id and m.user_id = $2
          left join messages l on l.room_id = m.room_id and l.version = r.version
         where r.id = $1"#,
        room.0,
        user.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Room::from))
}

/// One row more than the limit was asked for: it tells that there is a next page.
fn page(mut rows: Vec<RoomRow>, limit: u32, cursor: impl Fn(&Room) -> String) -> Rooms {
    let limit = limit as usize;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let rooms: Vec<Room> = rows.into_iter().map(Room::from).collect();
    let next_cursor = rooms.last().filter(|_| more).map(cursor);
    Rooms { rooms, next_cursor }
}

/// An empty room, which nobody else can see yet; None if the name is taken. [`super::timeline::append`] writes its first
/// line.
pub async fn insert(conn: &mut PgConnection, name: &str) -> sqlx::Result<Option<Head>> {
    let row = sqlx::query_as!(
        HeadRow,
        r#"insert into rooms (name) values ($1) on conflict (lower(name)) do nothing
           returning id, epoch, 0::bigint as "version!", 0::bigint as "texts!", member_count"#,
        name
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Head::from))
}

/// Locks the room until the end of the transaction: whoever writes its timeline waits.
pub async fn lock(conn: &mut PgConnection, room: RoomId) -> sqlx::Result<Option<Head>> {
    let row = sqlx::query_as!(
        HeadRow,
        r#"select id as "id!", epoch as "epoch!", version as "version!", texts as "texts!",
                  member_count as "member_count!" from lock_room($1)"#,
        room.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Head::from))
}

/// The newest line of each room of these users, user by user.
pub async fn positions(conn: &mut PgConnection, users: &[UserId]) -> sqlx::Result<Vec<(UserId, RoomId, Position)>> {
    let users: Vec<i64> = users.iter().map(|user| user.0).collect();
    let rows = sqlx::query!(
        r#"select m.user_id, r.id as "id!", r.epoch as "epoch!", r.version as "version!"
             from members m join room_heads r on r.id = m.room_id
            where m.user_id = any($1) order by m.user_id, r.id"#,
        &users
    )
    .fetch_all(conn)
    .await?;
    let position = |epoch: String, version: i64| Position { epoch: epoch.into(), offset: version.into() };
    let rows = rows.into_iter();
    Ok(rows.map(|row| (UserId(row.user_id), RoomId(row.id), position(row.epoch, row.version))).collect())
}

/// For each of these pairs the newest line of the room, if the user is a member.
pub async fn positions_for(
    conn: &mut PgConnection,
    pairs: &[(RoomId, UserId)],
) -> sqlx::Result<HashMap<(RoomId, UserId), Position>> {
    let (rooms, users): (Vec<i64>, Vec<i64>) = pairs.iter().map(|(room, user)| (room.0, user.0)).unzip();
    let rows = sqlx::query!(
        r#"select m.room_id, m.user_id, r.epoch as "epoch!", r.version as "version!"
             from unnest($1::bigint[], $2::bigint[]) as asked (room_id, user_id)
             join members m using (room_id, user_id) join room_heads r on r.id = m.room_id"#,
        &rooms,
        &users
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| {
        let position = Position { epoch: row.epoch.into(), offset: row.version.into() };
        ((RoomId(row.room_id), UserId(row.user_id)), position)
    });
    Ok(rows.collect())
}

/// The newest line of a room.
pub async fn position(conn: &mut PgConnection, room: RoomId) -> sqlx::Result<Option<Position>> {
    let row = sqlx::query!(r#"select epoch as "epoch!", version as "version!" from room_heads where id = $1"#, room.0)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| Position { epoch: row.epoch.into(), offset: row.version.into() }))
}

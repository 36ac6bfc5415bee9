//! Who is in which room, and how far they have read.

use protocol::{Offset, ReadEvent, RoomId, UserId};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::rooms::Head;

/// A member as other members see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Member {
    /// Identity.
    #[schema(value_type = i64)]
    pub id: UserId,
    /// Name shown.
    pub name: String,
    /// Name signed in with.
    pub username: String,
}

/// What a user is to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// May read and write.
    Member,
    /// May see that it exists, and join.
    Stranger,
    /// There is no such room.
    NoRoom,
}

/// What a user is to a room.
pub async fn standing(conn: &mut PgConnection, room: RoomId, user: UserId) -> sqlx::Result<Standing> {
    let is_member = sqlx::query_scalar!(
        r#"select exists (select from members m where m.room_id = r.id and m.user_id = $2) as "is_member!"
             from rooms r where r.id = $1"#,
        room.0,
        user.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(match is_member {
        Some(true) => Standing::Member,
        Some(false) => Standing::Stranger,
        None => Standing::NoRoom,
    })
}

/// Members by id, after `after`. The limit stands inside: a plain join would walk all users from the first.
pub async fn list(
    conn: &mut PgConnection,
    room: RoomId,
    after: Option<UserId>,
    limit: u32,
) -> sqlx::Result<Vec<Member>> {
    let rows = sqlx::query!(
        "select u.id, u.name, u.username
           from (select user_id from members where room_id = $1 and user_id > $2 order by user_id limit $3) m
           join users u on u.id = m.user_id
          order by u.id",
        room.0,
        after.map_or(0, |user| user.0),
        i64::from(limit)
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| Member { id: UserId(row.id), name: row.name, username: row.username }).collect())
}

/// Adds a member to a locked room; false if they were one. What was said before they came, and the line that tells
/// of their coming, count as read.
pub async fn insert(conn: &mut PgConnection, room: &Head, user: UserId) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into members (room_id, user_id, read_version, read_texts) values ($1, $2, $3, $4)
         on conflict do nothing",
        room.id.0,
        user.0,
        i64::from(room.version.next()),
        room.texts
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes a member from a locked room; false if they were none.
pub async fn delete(conn: &mut PgConnection, room: &Head, user: UserId) -> sqlx::Result<bool> {
    let done = sqlx::query!("delete from members where room_id = $1 and user_id = $2", room.id.0, user.0)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Moves the read position forward, at most to the newest line. None: it stands there or further, or is nobody's.
pub async fn mark_read(
    conn: &mut PgConnection,
    room: RoomId,
    user: UserId,
    version: Offset,
) -> sqlx::Result<Option<ReadEvent>> {
    let row = sqlx::query!(
        r#"update members m set read_version = l.version, read_texts = l.texts
             from room_heads r join messages l on l.room_id = r.id and l.version = least($3, r.version)
            where r.id = $1 and m.room_id = $1 and m.user_id = $2 and m.read_version < l.version
        returning m.read_version, r.texts - m.read_texts as "unread!""#,
        room.0,
        user.0,
        i64::from(version)
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| ReadEvent { room, read_version: row.read_version.into(), unread: row.unread }))
}

/// How far a member has read; None for strangers.
pub async fn read_position(conn: &mut PgConnection, room: RoomId, user: UserId) -> sqlx::Result<Option<ReadEvent>> {
    let row = sqlx::query!(
        r#"select m.read_version, r.texts - m.read_texts as "unread!"
             from members m join room_heads r on r.id = m.room_id where m.room_id = $1 and m.user_id = $2"#,
        room.0,
        user.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| ReadEvent { room, read_version: row.read_version.into(), unread: row.unread }))
}

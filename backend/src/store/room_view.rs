//! The read model of rooms: what the events have made of it. See [`crate::read_model`].

use protocol::{Offset, RoomId, TimelineEvent, UserId};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

/// A room as the events tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomEntry {
    /// The room.
    pub room: RoomId,
    /// Its name when its newest line was written.
    pub name: String,
    /// The newest line that an event told of.
    pub version: Offset,
    /// How many of its lines are texts.
    pub texts: i64,
    /// Members after that line.
    pub member_count: i32,
    /// That line.
    pub last_message: TimelineEvent,
    /// Texts after the user's read position.
    pub unread: i64,
}

/// Remembers an event; false: it was here before.
pub async fn remember(conn: &mut PgConnection, event_id: Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query!("insert into inbox_events (event_id) values ($1) on conflict do nothing", event_id);
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Takes a line as the newest of its room; false: a newer one was here before.
pub async fn apply_line(conn: &mut PgConnection, line: &TimelineEvent) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into room_view (room_id, name, version, texts, member_count, last_message, bumped_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (room_id) do update
            set name = excluded.name, version = excluded.version, texts = excluded.texts,
                member_count = excluded.member_count, last_message = excluded.last_message,
                bumped_at = excluded.bumped_at
          where room_view.version < excluded.version",
        line.room.0,
        line.room_name,
        i64::from(line.version),
        line.texts,
        line.members,
        Json(line) as _,
        line.created_at
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Empties the read model and forgets which events it was made of.
pub async fn clear(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("truncate room_view, inbox_events").execute(conn).await.map(drop)
}

/// Forgets events that were applied longer ago than this: as old as the topic keeps them, or older.
pub async fn forget(conn: &mut PgConnection, older_than_seconds: f64) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "delete from inbox_events where applied_at < now() - make_interval(secs => $1)",
        older_than_seconds
    );
    Ok(done.execute(conn).await?.rows_affected())
}

/// The rooms of a user by activity. Who is in which room, and how far they have read, is the truth's; unread follows from
/// that and from the texts that the events tell of.
pub async fn mine(conn: &mut PgConnection, user: UserId, limit: u32) -> sqlx::Result<Vec<RoomEntry>> {
    let rows = sqlx::query!(
        r#"select v.room_id, v.name, v.version, v.texts, v.member_count,
                  v.last_message as "last_message: Json<TimelineEvent>",
                  greatest(v.texts - m.read_texts, 0) as "unread!"
             from members m join room_view v on v.room_id = m.room_id
            where m.user_id = $1 order by v.bumped_at desc, v.room_id desc limit $2"#,
        user.0,
        i64::from(limit)
    )
    .fetch_all(conn)
    .await?;
    let entries = rows.into_iter().map(|row| RoomEntry {
        room: RoomId(row.room_id),
        name: row.name,
        version: row.version.into(),
        texts: row.texts,
        member_count: row.member_count,
        last_message: row.last_message.0,
        unread: row.unread,
    });
    Ok(entries.collect())
}

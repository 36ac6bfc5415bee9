//! The read model of rooms: what the events have made of it. See [`crate::read_model`].
//!
//! Locks are taken in one order, so that any number of consumers can write at once: event ids by value, then rooms by id.
//! [`clear`] takes them in the same order.

use std::collections::HashSet;

use protocol::{Epoch, Offset, RoomId, TimelineEvent, UserId};
use serde::Serialize;
use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// A room as the events tell it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RoomEntry {
    /// The room.
    #[schema(value_type = i64)]
    pub id: RoomId,
    /// Its name when its newest line was written.
    pub name: String,
    /// The newest line that an event told of.
    #[schema(value_type = u64)]
    pub version: Offset,
    /// How many of its lines are texts.
    pub texts: i64,
    /// Members after that line.
    pub member_count: i32,
    /// That line.
    #[schema(value_type = crate::routes::Message)]
    pub last_message: TimelineEvent,
    /// Time of that line.
    #[serde(with = "time::serde::rfc3339")]
    pub bumped_at: OffsetDateTime,
    /// Texts after the user's read position.
    pub unread: i64,
    /// Lines that the truth has beyond this one.
    pub behind: i64,
}

/// How far a user's room list is behind the truth.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Lag {
    /// Rooms of the user's that no event told of.
    pub rooms_missing: i64,
    /// Rooms of the user's that lack lines.
    pub rooms_behind: i64,
    /// Lines that these rooms lack.
    pub lines: i64,
    /// Age of the oldest line that is lacking, in all rooms of the user's.
    pub seconds: f64,
}

/// A line and what its version counts in.
#[derive(Clone, Debug)]
pub struct Line {
    /// What was said, or happened.
    pub event: TimelineEvent,
    /// The room's epoch.
    pub epoch: Epoch,
}

impl Line {
    /// Whether it replaces this one of the same room. [`apply_lines`] says the same in SQL.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        if self.epoch == other.epoch {
            self.event.version > other.event.version
        } else {
            self.event.created_at > other.event.created_at
        }
    }
}

/// Remembers events; gives those that were not here before. `event_ids` are sorted.
pub async fn remember(conn: &mut PgConnection, event_ids: &[Uuid]) -> sqlx::Result<HashSet<Uuid>> {
    let new = sqlx::query_scalar!(
        "insert into inbox_events (event_id) select unnest($1::uuid[]) on conflict do nothing returning event_id",
        event_ids
    );
    Ok(new.fetch_all(conn).await?.into_iter().collect())
}

/// Takes lines as the newest of their rooms, except where a newer one is; gives the rooms where none was. `lines` are
/// sorted by room, one each.
pub async fn apply_lines(conn: &mut PgConnection, lines: &[&Line]) -> sqlx::Result<HashSet<RoomId>> {
    let events = || lines.iter().map(|line| &line.event);
    let epochs: Vec<_> = lines.iter().map(|line| line.epoch.to_string()).collect();
    let rooms: Vec<_> = events().map(|event| event.room.0).collect();
    let names: Vec<_> = events().map(|event| event.room_name.clone()).collect();
    let versions: Vec<_> = events().map(|event| i64::from(event.version)).collect();
    let texts: Vec<_> = events().map(|event| event.texts).collect();
    let members: Vec<_> = events().map(|event| event.members).collect();
    let last: Vec<_> = events().map(Json).collect();
    let times: Vec<_> = events().map(|event| event.created_at).collect();
    let newest = sqlx::query_scalar!(
        "insert into room_view (room_id, epoch, name, version, texts, member_count, last_message, bumped_at)
         select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::integer[],
                              $7::jsonb[], $8::timestamptz[])
         on conflict (room_id) do update
            set epoch = excluded.epoch, name = excluded.name, version = excluded.version, texts = excluded.texts,
                member_count = excluded.member_count, last_message = excluded.last_message,
                bumped_at = excluded.bumped_at
          where case when room_view.epoch = excluded.epoch then room_view.version < excluded.version
                     else room_view.bumped_at < excluded.bumped_at end
         returning room_id",
        &rooms,
        &epochs,
        &names,
        &versions,
        &texts,
        &members,
        &last as _,
        &times
    );
    Ok(newest.fetch_all(conn).await?.into_iter().map(RoomId).collect())
}

/// Empties the read model and forgets which events it was made of.
pub async fn clear(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("truncate inbox_events, room_view").execute(conn).await.map(drop)
}

/// For the rest of the transaction no statement is too long: what an hour has left behind takes more time than a request.
pub async fn take_the_time(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select set_config('statement_timeout', '0', true)").fetch_one(conn).await.map(drop)
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
        r#"select v.room_id, v.name, v.version, v.texts, v.member_count, v.bumped_at,
                  v.last_message as "last_message: Json<TimelineEvent>",
                  greatest(v.texts - m.read_texts, 0) as "unread!", greatest(r.version - v.version, 0) as "behind!"
             from members m join room_heads r on r.id = m.room_id join room_view v on v.room_id = r.id and v.epoch = r.epoch
            where m.user_id = $1 order by v.bumped_at desc, v.room_id desc limit $2"#,
        user.0,
        i64::from(limit)
    )
    .fetch_all(conn)
    .await?;
    let entries = rows.into_iter().map(|row| RoomEntry {
        id: RoomId(row.room_id),
        name: row.name,
        version: row.version.into(),
        texts: row.texts,
        member_count: row.member_count,
        last_message: row.last_message.0,
        bumped_at: row.bumped_at,
        unread: row.unread,
        behind: row.behind,
    });
    Ok(entries.collect())
}

/// How far [`mine`] is behind the truth.
pub async fn lag(conn: &mut PgConnection, user: UserId) -> sqlx::Result<Lag> {
    sqlx::query_as!(
        Lag,
        r#"select count(*) filter (where v.room_id is null) as "rooms_missing!",
                  count(*) filter (where v.version < r.version) as "rooms_behind!",
                  coalesce(sum(r.version - v.version) filter (where v.version < r.version), 0)::bigint as "lines!",
                  coalesce(max(extract(epoch from clock_timestamp() - l.created_at)), 0)::float8 as "seconds!"
             from members m join room_heads r on r.id = m.room_id
             left join room_view v on v.room_id = r.id and v.epoch = r.epoch
             left join messages l on l.room_id = r.id and l.version = coalesce(v.version, 0) + 1
            where m.user_id = $1"#,
        user.0
    )
    .fetch_one(conn)
    .await
}

//! The read model of rooms held against the truth, for those who look after it.

use protocol::{Mode, Offset, RoomId};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::settings::parse_mode;

/// What there is of the read model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Rooms in the read model.
    pub rooms: i64,
    /// Rooms in the truth.
    pub rooms_in_truth: i64,
    /// Ids of events that are remembered.
    pub events: i64,
    /// Time of the newest line in the read model.
    pub newest: Option<OffsetDateTime>,
}

/// A room whose entry is not as in the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The room.
    pub room: RoomId,
    /// What is different.
    pub what: Deviation,
}

/// In which way an entry is not as in the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// No event told of the room, which is at `truth`; the news of that line went by `mode`.
    Missing {
        /// Its newest line.
        truth: Offset,
        /// How the news of that travelled.
        mode: Mode,
    },
    /// The truth is further; the news of its newest line went by `mode`.
    Behind {
        /// The newest line that an event told of.
        seen: Offset,
        /// The newest line.
        truth: Offset,
        /// How the news of that travelled.
        mode: Mode,
    },
    /// An event told of what this database does not have: the topic is older than it.
    Unknown {
        /// The line that the event told of.
        seen: Offset,
    },
    /// The same line with another content: a defect.
    Distorted {
        /// The line.
        version: Offset,
    },
}

/// Counts what there is.
pub async fn extent(conn: &mut PgConnection) -> sqlx::Result<Extent> {
    sqlx::query_as!(
        Extent,
        r#"select (select count(*) from room_view) as "rooms!", (select count(*) from rooms) as "rooms_in_truth!",
                  (select count(*) from inbox_events) as "events!", (select max(bumped_at) from room_view) as newest"#
    )
    .fetch_one(conn)
    .await
}

/// Rooms whose entries are not as in the truth, by id.
pub async fn differences(conn: &mut PgConnection) -> sqlx::Result<Vec<Difference>> {
    let rows = sqlx::query!(
        r#"select coalesce(r.id, v.room_id) as "room!", v.version as "seen?", r.version as "truth?",
                  coalesce(v.epoch = r.epoch, false) as "same_epoch!", l.mode as "mode?"
             from room_heads r full join room_view v on v.room_id = r.id
             left join messages l on l.room_id = r.id and l.version = r.version
            where (v.epoch, v.version, v.name, v.texts, v.member_count, v.bumped_at, v.last_message ->> 'text',
                   v.last_message #>> '{author,id}', v.last_message #>> '{author,name}')
                  is distinct from
                  (r.epoch, r.version, l.room_name, r.texts, r.member_count, r.bumped_at, l.text,
                   l.author_id::text, l.author_name)
            order by 1"#
    )
    .fetch_all(conn)
    .await?;
    let differences = rows.into_iter().map(|row| {
        let mode = row.mode.as_deref().map(parse_mode).unwrap_or_default();
        let what = deviation(row.seen.map(Offset::from), row.truth.map(Offset::from), row.same_epoch, mode);
        Difference { room: RoomId(row.room), what }
    });
    Ok(differences.collect())
}

fn deviation(seen: Option<Offset>, truth: Option<Offset>, same_epoch: bool, mode: Mode) -> Deviation {
    match (seen, truth) {
        (None, truth) => Deviation::Missing { truth: truth.unwrap_or_default(), mode },
        (Some(seen), Some(truth)) if same_epoch && seen < truth => Deviation::Behind { seen, truth, mode },
        (Some(seen), Some(truth)) if same_epoch && seen == truth => Deviation::Distorted { version: seen },
        (Some(seen), _) => Deviation::Unknown { seen },
    }
}

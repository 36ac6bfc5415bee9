//! Who is in which rooms, and what is said there: written by SQL, as thousands of sign-ups would take longer than the run.

use std::collections::HashSet;

use anyhow::Context;
use sqlx::{Connection, PgConnection};

use crate::{delivery::Line, drain::write_lines};

/// The people and rooms of a run, all of them made for it.
pub(super) struct Scene {
    database: PgConnection,
    /// Ids of the users, one a client.
    pub(super) users: Vec<i64>,
    /// Ids of the rooms.
    pub(super) rooms: Vec<i64>,
}

const USERS: &str = "
insert into users (username, name, password_hash) select 'recover_' || n, 'Recover ' || n, 'x' from generate_series(1, $1) n
returning id";

const ROOMS: &str = "
insert into rooms (name, member_count) select 'Recover ' || n, $2 from generate_series(1, $1) n
returning id";

/// Client number i is in `each` rooms from number i * each on, around the circle.
const MEMBERS: &str = "
insert into members (room_id, user_id)
select ($1::bigint[])[1 + ((u.number - 1) * $3 + k) % cardinality($1)], u.id
  from unnest($2::bigint[]) with ordinality as u (id, number), generate_series(0, $3 - 1) k";

impl Scene {
    /// In an empty database with the product's schema.
    pub(super) async fn prepare(url: &str, clients: u32, rooms: u32, each: u32) -> anyhow::Result<Self> {
        let mut database = PgConnection::connect(url).await.context("connecting to the database")?;
        let users = sqlx::query_scalar::<_, i64>(USERS).bind(i64::from(clients)).fetch_all(&mut database).await?;
        let members = i32::try_from(clients * each / rooms)?;
        let made = sqlx::query_scalar::<_, i64>(ROOMS).bind(i64::from(rooms)).bind(members);
        let rooms = made.fetch_all(&mut database).await?;
        let joined = sqlx::query(MEMBERS).bind(&rooms).bind(&users).bind(i64::from(each));
        joined.execute(&mut database).await.context("joining")?;
        sqlx::raw_sql("analyze").execute(&mut database).await?;
        Ok(Self { database, users, rooms })
    }

    /// Commits this many lines to each room, with the rows that announce them.
    pub(super) async fn say(&mut self, each: u32) -> anyhow::Result<()> {
        write_lines(&mut self.database, &self.rooms, self.users[0], i64::from(each)).await.map(drop)
    }

    /// Everything that the database has of the rooms.
    pub(super) async fn timeline(&mut self) -> anyhow::Result<HashSet<Line>> {
        let lines = sqlx::query_as::<_, (i64, i64)>("select room_id, version from messages where room_id = any($1)");
        let lines = lines.bind(&self.rooms).fetch_all(&mut self.database).await?;
        lines.into_iter().map(|(room, version)| Ok((room, u64::try_from(version)?))).collect()
    }

    /// Whether the relay has delivered everything.
    pub(super) async fn is_delivered(&mut self) -> anyhow::Result<bool> {
        Ok(sqlx::query_scalar("select not exists (select from chat_outbox)").fetch_one(&mut self.database).await?)
    }
}

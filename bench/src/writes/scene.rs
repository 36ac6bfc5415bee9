//! The database that is written to: rooms, and people who are members of all of them.

use sqlx::{Connection, PgConnection};

use crate::postgres::{create_database, drop_database};

/// People, each a member of every room.
pub(super) const PEOPLE: u16 = 100;

/// A database of one run.
pub(super) struct Scene {
    server: String,
    name: String,
    /// Where it is.
    pub(super) url: String,
}

impl Scene {
    /// Creates it with the product's schema. Rooms and people are numbered from 1.
    pub(super) async fn create(server: &str, rooms: u16) -> anyhow::Result<Self> {
        let name = format!("bench_{:08x}", rand::random::<u32>());
        let url = create_database(server, &name).await?;
        let scene = Self { server: server.to_owned(), name, url };
        if let Err(error) = scene.fill(rooms).await {
            scene.remove().await?;
            return Err(error);
        }
        Ok(scene)
    }

    async fn fill(&self, rooms: u16) -> anyhow::Result<()> {
        let mut database = PgConnection::connect(&self.url).await?;
        backend::MIGRATOR.run(&mut database).await?;
        let people = "insert into users (username, name, password_hash)
                      select 'person_' || n, 'Person ' || n, 'nobody signs in' from generate_series(1, $1) n";
        sqlx::query(people).bind(i32::from(PEOPLE)).execute(&mut database).await?;
        let rooms_sql = "insert into rooms (name, member_count) select 'Room ' || n, $2 from generate_series(1, $1) n";
        sqlx::query(rooms_sql).bind(i32::from(rooms)).bind(i32::from(PEOPLE)).execute(&mut database).await?;
        let members = "insert into members (room_id, user_id) select r.id, u.id from rooms r cross join users u";
        sqlx::query(members).execute(&mut database).await?;
        sqlx::query("vacuum analyze").execute(&mut database).await?;
        Ok(database.close().await?)
    }

    /// As it was after the creation, so that every run begins alike.
    pub(super) async fn reset(&self) -> anyhow::Result<()> {
        let mut database = PgConnection::connect(&self.url).await?;
        for statement in [
            "truncate chat_outbox, messages",
            "update members set read_version = 0, read_texts = 0 where read_version > 0",
            "vacuum members",
        ] {
            sqlx::query(statement).execute(&mut database).await?;
        }
        Ok(database.close().await?)
    }

    /// How many messages the rooms have counted, and how many are there.
    pub(super) async fn written(&self) -> anyhow::Result<(i64, i64)> {
        let mut database = PgConnection::connect(&self.url).await?;
        let counts = "select (select sum(version)::bigint from room_heads), (select count(*) from messages)";
        let written = sqlx::query_as(counts).fetch_one(&mut database).await?;
        database.close().await?;
        Ok(written)
    }

    /// Drops the database.
    pub(super) async fn remove(self) -> anyhow::Result<()> {
        drop_database(&self.server, &self.name).await
    }
}

//! Who writes the messages of `bench latency`: people over HTTP, or this program by SQL, as the writer of another system's
//! measurement does.

use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    clock::unix_micros,
    person::{Person, Posted},
    stage::Stage,
};

/// As many as the backend has.
const CONNECTIONS: u32 = 16;

/// What the product writes, and the NOTIFY that a trigger on the table would send.
const POST: &str = "select posted.o_version, pg_notify($4, partition_of($1)::text)
                      from post_messages($1, array[$2], array[$3], array[gen_random_uuid()]) posted";

/// By which way messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// By the backend's HTTP API
    #[default]
    Http,
    /// By the database's own function, with a NOTIFY in the same transaction; no backend is asked
    Sql,
}

/// Who writes.
#[derive(Args, Clone, Debug, Default)]
pub struct Writer {
    /// By which way messages are written
    #[arg(long = "writer", value_enum, default_value_t = Way::Http)]
    pub way: Way,
    /// The product's database, for `--writer sql`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, required_if_eq("way", "sql"))]
    pub database_url: Option<String>,
    /// No backend: rooms are made by SQL, and clients, whose token is signed with this (HS256), subscribe to them by
    /// themselves. Whatever empties the table `chat_outbox` and speaks the protocol can be measured so
    #[arg(long, env = "ROOMCAST_TOKEN_SECRET", hide_env_values = true, requires = "websocket", value_name = "SECRET")]
    pub token_secret: Option<String>,
    /// The channel of the NOTIFY of `--writer sql`
    #[arg(long, default_value = relay::CHANNEL)]
    pub notify_channel: String,
}

/// A writer that is ready.
#[derive(Clone)]
pub(crate) enum Pen {
    /// The people of the stage, in turn.
    Http(Arc<Vec<Person>>),
    /// The author of the stage.
    Sql { database: PgPool, author: i64, channel: Arc<str> },
}

impl Writer {
    /// Opens all connections: none is to be opened while the clock runs.
    pub(crate) async fn pen(&self, stage: &Stage) -> anyhow::Result<Pen> {
        if self.way == Way::Http {
            return Ok(Pen::Http(Arc::new(stage.people.clone())));
        }
        let url = self.database_url.as_deref().context("--writer sql needs --database-url")?;
        let pool = PgPoolOptions::new().min_connections(CONNECTIONS).max_connections(CONNECTIONS);
        let database = pool.test_before_acquire(false).connect(url).await.context("connecting to the database")?;
        Ok(Pen::Sql { database, author: stage.author, channel: self.notify_channel.as_str().into() })
    }
}

impl Pen {
    /// Writes the message with this number; by HTTP, everybody writes everywhere in turn.
    pub(crate) async fn post(&self, room: i64, number: usize, rooms: usize, text: &str) -> anyhow::Result<Posted> {
        match self {
            Self::Http(people) => people[(number + number / rooms) % people.len()].post(room, text).await,
            Self::Sql { database, author, channel } => {
                let sent_at = unix_micros();
                let row = sqlx::query_as::<_, (i64, ())>(POST).bind(room).bind(author).bind(text).bind(&**channel);
                let (version, ()) = row.fetch_one(database).await?;
                let now = unix_micros();
                Ok(Posted { line: (room, u64::try_from(version)?), sent_at, committed_at: now, answered_at: now })
            }
        }
    }
}

/// Adds the stage's author to its rooms: only members may write.
pub(crate) async fn admit(database: &PgPool, stage: &Stage) -> anyhow::Result<()> {
    let joined = "with joined as (insert into members (room_id, user_id) select unnest($1::bigint[]), $2
                                  on conflict do nothing returning room_id)
                  update rooms set member_count = member_count + 1 where id in (select room_id from joined)";
    sqlx::query(joined).bind(&stage.rooms).bind(stage.author).execute(database).await?;
    Ok(())
}

//! How fast a backlog drains: rows that one transaction wrote, until the last one is read by a client.
//!
//! Rows and messages are what posting would have written, made in one statement because posting them takes longer than
//! draining them.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use sqlx::{Connection, PgConnection};

use crate::{
    clock::unix_micros,
    console,
    cpu::{CpuTime, Watched, per_message},
    delivery::{Faults, Line, Sighting, newest},
    percentiles::median,
    product::Relay,
    stage::{Stage, websocket_of},
    subscriber::Subscriber,
    table::{Table, thousands},
    token,
};

const PATIENCE: Duration = Duration::from_mins(2);
/// How often to look whether the outbox is empty: the resolution of that figure.
const LOOK: Duration = Duration::from_millis(4);
/// One read of the client takes hundreds of frames.
const READ_BUFFER: usize = 256 << 10;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Drain {
    /// The backend, with the demo's people
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    pub url: String,
    /// The hub's WebSocket [default: /connection/websocket of the backend's address]
    #[arg(long)]
    pub websocket: Option<String>,
    /// No backend: rooms are made by SQL, and the client, whose token is signed with this (HS256), subscribes to them by
    /// itself. Whatever empties the table `chat_outbox` and speaks the protocol can be measured so
    #[arg(long, env = "ROOMCAST_TOKEN_SECRET", hide_env_values = true, requires = "websocket", value_name = "SECRET")]
    pub token_secret: Option<String>,
    /// The product's database; its outbox must be empty
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// How many rows
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    pub rows: i64,
    /// Rooms that the rows are spread over
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rooms: u16,
    /// How often; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub runs: u16,
    /// Nobody listens: what is measured is the way into the hub
    #[arg(long)]
    pub no_subscriber: bool,
    /// The rows wait before a relay runs: this executable is started as the relay (none must be running)
    #[arg(long, requires = "hub", value_name = "ROOMCAST")]
    pub start_relay: Option<std::path::PathBuf>,
    /// The hub that the started relay delivers to
    #[arg(long, requires = "start_relay")]
    pub hub: Option<String>,
    /// Processes of the product whose CPU time is counted
    #[arg(long = "server-pid")]
    pub server_pids: Vec<u32>,
    /// PostgreSQL's first process, to count its CPU time as well
    #[arg(long)]
    pub postgres_pid: Option<u32>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    /// How many rows there were.
    pub rows: usize,
    /// From the commit (or the start of the relay) until the last frame was read; `None` without a client.
    pub read: Option<Duration>,
    /// From the same moment until the outbox was empty.
    pub empty: Duration,
    /// Of the client.
    pub faults: Faults,
    /// Used meanwhile.
    pub cpu: CpuTime,
    /// Until both were over.
    pub wall: Duration,
}

impl Run {
    /// Rows a second up to the last frame, or, without a client, up to the empty outbox.
    pub fn rows_a_second(&self) -> f64 {
        self.rows as f64 / self.read.unwrap_or(self.empty).as_secs_f64()
    }
}

impl Drain {
    /// All runs.
    pub async fn measure(&self) -> anyhow::Result<Vec<Run>> {
        let mut database = PgConnection::connect(&self.database_url).await.context("connecting to the database")?;
        let rooms = usize::from(self.rooms);
        let stage = match self.token_secret {
            None => Stage::prepare(&self.url, rooms).await?,
            Some(_) => Stage::by_sql(&mut database, rooms).await?,
        };
        self.measure_on(&stage).await
    }

    /// As [`Drain::measure`], in rooms that are there.
    pub async fn measure_on(&self, stage: &Stage) -> anyhow::Result<Vec<Run>> {
        let mut database = PgConnection::connect(&self.database_url).await.context("connecting to the database")?;
        // An empty table was analysed: without this the look at the outbox would read all its dead rows.
        sqlx::raw_sql("set enable_seqscan = off; set enable_sort = off").execute(&mut database).await?;
        let mut runs = Vec::new();
        for number in 1..=self.runs {
            let how = if self.start_relay.is_some() { "waiting" } else { "committed at once" };
            console::progress(format_args!("drain: {} rows {how}, run {number} of {}", self.rows, self.runs));
            runs.push(self.run(stage, &mut database).await?);
        }
        Ok(runs)
    }

    async fn run(&self, stage: &Stage, database: &mut PgConnection) -> anyhow::Result<Run> {
        if self.start_relay.is_none() {
            empty(database, 0, Instant::now() + PATIENCE).await.context("the outbox was not empty at the start")?;
        }
        let client = if self.no_subscriber { None } else { Some(self.client(stage).await?) };

        let mut watched =
            Watched { server: self.server_pids.clone(), postgres: self.postgres_pid, ..Watched::default() };
        let before_backlog = last_id(database).await?;
        let backlog = write_backlog(database, stage, self.rows).await?;
        let begin = (Instant::now(), unix_micros());
        // Writing the rows is not draining them. What the relay does in this millisecond is not counted.
        let (before, watched_from) = (watched.read(), Instant::now());
        let mut relay = None;
        if let (Some(executable), Some(hub)) = (&self.start_relay, &self.hub) {
            let started = Relay::start(executable, &self.database_url, hub).await?;
            watched.server.push(started.pid());
            relay = Some(started);
        }

        let (emptied, seen) =
            tokio::join!(empty(database, before_backlog, begin.0 + PATIENCE), last_frame(client, &backlog));
        let (cpu, wall) = (watched.since(before), watched_from.elapsed());
        let (emptied, seen) = (emptied?, seen?);
        if let Some(relay) = relay {
            relay.stop().await?;
        }
        let last = seen.as_ref().and_then(|seen| seen.iter().map(|sighting| sighting.at).max());
        Ok(Run {
            rows: backlog.len(),
            read: last.map(|at| Duration::from_micros(u64::try_from(at - begin.1).unwrap_or(1).max(1))),
            empty: emptied - begin.0,
            faults: seen.map_or_else(Faults::default, |seen| Faults::of(&backlog, &seen)),
            cpu,
            wall,
        })
    }

    async fn client(&self, stage: &Stage) -> anyhow::Result<Subscriber> {
        let websocket = self.websocket.clone().unwrap_or_else(|| websocket_of(&self.url));
        match &self.token_secret {
            None => stage.subscribe(&websocket, 1, READ_BUFFER).await?.pop().context("nobody subscribed"),
            Some(secret) => {
                let token = token::sign("bench", secret)?;
                Subscriber::subscribe(&websocket, &token, &stage.rooms, READ_BUFFER).await
            }
        }
    }
}

async fn last_frame(client: Option<Subscriber>, backlog: &HashSet<Line>) -> anyhow::Result<Option<Vec<Sighting>>> {
    let Some(client) = client else { return Ok(None) };
    if !client.has_seen(&newest(backlog.iter().copied()), PATIENCE).await {
        console::progress(format_args!("the client has not read everything within {PATIENCE:?}"));
    }
    client.leave().await.map(Some)
}

/// The last id that the outbox gave.
async fn last_id(database: &mut PgConnection) -> anyhow::Result<i64> {
    let last = "select coalesce(pg_sequence_last_value(pg_get_serial_sequence('chat_outbox', 'id')::regclass), 0)";
    Ok(sqlx::query_scalar(last).fetch_one(database).await?)
}

/// Waits until no row behind this id is left, and says since when. What died before would be in the way of each look.
async fn empty(database: &mut PgConnection, after: i64, deadline: Instant) -> anyhow::Result<Instant> {
    loop {
        // The newest row of the last partition first: cheap while many are left.
        let left = sqlx::query_scalar::<_, i64>(
            "select id from generate_series(partition_count() - 1, 0, -1) as p(partition)
              cross join lateral (select id from chat_outbox where chat_outbox.partition = p.partition and id > $1
                                   order by id desc limit 1) newest
              limit 1",
        );
        let left = left.bind(after).fetch_optional(&mut *database).await?;
        let now = Instant::now();
        if left.is_none() {
            return Ok(now);
        }
        ensure!(now < deadline, "the outbox is not empty after {PATIENCE:?}: is a relay running?");
        tokio::time::sleep(LOOK).await;
    }
}

/// Writes `rows` messages over the stage's rooms with the rows that announce them, and wakes the relay, in one
/// transaction; returns when the commit is acknowledged.
pub async fn write_backlog(database: &mut PgConnection, stage: &Stage, rows: i64) -> anyhow::Result<HashSet<Line>> {
    let each = rows / i64::try_from(stage.rooms.len())?;
    ensure!(each > 0, "fewer rows than rooms");
    write_lines(database, &stage.rooms, stage.author, each).await
}

/// The same, `each` messages of one author in each of these rooms.
pub(crate) async fn write_lines(
    database: &mut PgConnection,
    rooms: &[i64],
    author: i64,
    each: i64,
) -> anyhow::Result<HashSet<Line>> {
    let mut transaction = database.begin().await?;
    // The locks first: only a statement that begins after them sees what their last holders committed.
    let locks = "select from rooms where id = any($1) order by id for no key update";
    sqlx::query(locks).bind(rooms).execute(&mut *transaction).await?;
    let before = sqlx::query_as::<_, (i64, i64)>("select id, version from room_heads where id = any($1)");
    let before = before.bind(rooms).fetch_all(&mut *transaction).await?;
    let written = sqlx::query(BACKLOG).bind(rooms).bind(each).bind(author).execute(&mut *transaction);
    written.await.context("writing the rows")?;
    sqlx::query("select pg_notify($1, '')").bind(relay::CHANNEL).execute(&mut *transaction).await?;
    transaction.commit().await?;
    let lines = before.iter().flat_map(|&(room, version)| (1..=each).map(move |n| (room, version + n)));
    lines.map(|(room, version)| Ok((room, u64::try_from(version)?))).collect()
}

/// What `post_messages` writes, for each of many rooms many times. Rooms take turns, as in a busy hour.
const BACKLOG: &str = "
with lines as materialized (
    select r.id as room, r.name as room_name, r.epoch, r.version + n as version, r.texts + n as texts, r.member_count as members,
           u.id as author, u.name as author_name, 'line ' || n || ' of a backlog' as text,
           gen_random_uuid() as client_id, clock_timestamp() as created_at
      from room_heads r, users u, generate_series(1, $2) n
     where r.id = any($1) and u.id = $3
), written as (
    insert into messages (room_id, version, kind, author_id, author_name, text, client_id, members, texts, created_at,
                          mode, room_name)
    select room, version, 0, author, author_name, text, client_id, members, texts, created_at, 'outbox', room_name
      from lines
)
    insert into chat_outbox (method, partition, payload)
    select 'publish', partition_of(room), jsonb_build_object(
               'channel', 'room:' || room,
               'version', version,
               'version_epoch', epoch,
               'data', jsonb_build_object(
                   'type', 'message', 'schema', 1,
                   'room', room, 'room_name', room_name, 'version', version, 'kind', 'text',
                   'author', jsonb_build_object('id', author, 'name', author_name),
                   'text', text, 'client_id', client_id, 'members', members, 'texts', texts,
                   'mode', 'outbox', 'created_at', created_at))
      from lines order by version, room";

/// The table of several cases, each with its name and runs.
pub fn table(cases: &[(&str, Vec<Run>)]) -> Table {
    let mut table = Table::new(&[
        "case",
        "rows/s, each run",
        "median rows/s",
        "last frame after s",
        "outbox empty after s",
        "product CPU a row",
        "PostgreSQL CPU a row",
        "lost / repeated / out of order",
        "foreign CPU",
    ]);
    for (case, runs) in cases {
        let Some(middle) = median(runs, Run::rows_a_second) else { continue };
        let each: Vec<String> = runs.iter().map(|run| thousands(run.rows_a_second())).collect();
        table.row([
            (*case).to_owned(),
            each.join(" · "),
            format!("**{}**", thousands(middle.rows_a_second())),
            middle.read.map_or("–".to_owned(), |read| format!("{:.3}", read.as_secs_f64())),
            format!("{:.3}", middle.empty.as_secs_f64()),
            per_message(middle.cpu.server, middle.rows),
            per_message(middle.cpu.postgres, middle.rows),
            runs.iter().map(|run| run.faults).fold(Faults::default(), Faults::and).to_string(),
            middle.cpu.foreign(middle.wall),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use protocol::{ChatEvent, Command, Kind};

    use super::*;

    /// The statement is a copy of what the product writes, so it is held against the product's own.
    #[tokio::test]
    async fn a_backlog_row_is_what_posting_would_have_written() {
        let database = embedded_postgres::testkit::database(&backend::MIGRATOR).await;
        let mut connection = database.pool.acquire().await.unwrap();
        let setup = "insert into users (username, name, password_hash) values ('alice', 'Alice', 'x');
                     insert into rooms (name, member_count) values ('one', 1), ('two', 1);
                     insert into members (room_id, user_id) select id, 1 from rooms";
        sqlx::raw_sql(setup).execute(&mut *connection).await.unwrap();
        let posted = "select * from post_messages(1, array[1::bigint], array['posted'], array[gen_random_uuid()])";
        sqlx::raw_sql(posted).execute(&mut *connection).await.unwrap();
        let stage = Stage { people: Vec::new(), author: 1, rooms: vec![1, 2] };

        let lines = write_backlog(&mut connection, &stage, 6).await.unwrap();

        assert_eq!(lines, HashSet::from([(1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (2, 3)]));
        let rows = sqlx::query_as::<_, (String, i16, String)>(
            "select method, partition, payload::text from chat_outbox order by id",
        );
        let rows = rows.fetch_all(&mut *connection).await.unwrap();
        let keys = |payload: &str| {
            let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
            let names = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            (names(&payload), names(&payload["data"]))
        };
        for (method, partition, payload) in &rows {
            assert_eq!(keys(payload), keys(&rows[0].2));
            let Command::Publish(publish) = Command::parse(method, payload).unwrap() else { panic!("{method}") };
            let ChatEvent::Message(event) = serde_json::from_str(publish.data.get()).unwrap() else {
                panic!("{payload}")
            };
            assert_eq!((publish.version, event.kind), (Some(event.version), Kind::Text));
            assert_eq!(protocol::Partition::of(event.room).0, *partition);
        }
        let gapless = "select bool_and(r.version = m.lines and r.texts = m.lines) from room_heads r
                       join (select room_id, count(*) as lines from messages group by room_id) m on m.room_id = r.id";
        assert!(sqlx::query_scalar::<_, bool>(gapless).fetch_one(&mut *connection).await.unwrap());
    }
}

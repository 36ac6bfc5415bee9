//! The way to PostgreSQL: the pool, and whether the database on the other end is the one that this program expects.

use std::{io, str::FromStr, time::Duration};

use log::LevelFilter;
use protocol::{PARTITIONS, silence};
use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool, Postgres,
    migrate::{Migrate, MigrateError, Migrator},
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use crate::{ApiState, outage::takes_writes};

/// The tables and functions, compiled in.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// How long a request waits for a free connection before it is answered with 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Opened at once and kept: a password handshake takes milliseconds, which the first requests need not pay for.
const READY_CONNECTIONS: u32 = 4;

/// Bounds of a request's session. A forgotten transaction holds back the vacuum of the outbox, and with it every claim of
/// the relay. Who waits for a lock keeps a connection from everybody else. No statement of a request takes a second.
const BOUNDS: [(&str, &str); 3] =
    [("idle_in_transaction_session_timeout", "10s"), ("lock_timeout", "2s"), ("statement_timeout", "10s")];

/// A connection that was idle for so long, or half of the bound on silence, is asked whether it is still there. Under load
/// none is.
const TRUSTED_FOR: Duration = Duration::from_secs(10);

/// What took long is not told a line a request: the answer says what failed, and the log that the database refuses.
const QUIET: LevelFilter = LevelFilter::Debug;

/// A statement that took so long is told at that level.
const SLOW: Duration = Duration::from_secs(1);

/// The server answers that question within a millisecond. A request that finds several dead ones shall not wait for long.
const ANSWER: Duration = Duration::from_millis(250);

/// Why there is no pool.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is not one of PostgreSQL.
    #[error("the database URL is not valid")]
    Url(#[source] sqlx::Error),
    /// Nobody answered, or the server refused.
    #[error("cannot connect to the database")]
    Connect(#[source] sqlx::Error),
}

/// Connects, with a pool made for short statements: 16 connections saturate a small server, more only add latency. None of
/// them waits for a lock for more than two seconds, or works for more than ten.
pub async fn connect(url: &str, max_connections: u32) -> Result<PgPool, ConnectError> {
    pool(options(url)?.options(BOUNDS), max_connections).await
}

/// Connects once, for a command that a person waits for: its statements take the time that they take.
pub async fn connect_for_commands(url: &str) -> Result<PgPool, ConnectError> {
    pool(options(url)?, 1).await
}

fn options(url: &str) -> Result<PgConnectOptions, ConnectError> {
    let options = PgConnectOptions::from_str(url).map_err(ConnectError::Url)?.application_name("roomcast backend");
    Ok(options.options(silence::of_server(silence::bound())).log_slow_statements(QUIET, SLOW))
}

async fn pool(options: PgConnectOptions, max_connections: u32) -> Result<PgPool, ConnectError> {
    let trusted_for = TRUSTED_FOR.min(silence::half());
    PgPoolOptions::new()
        .max_connections(max_connections)
        .min_connections(max_connections.min(READY_CONNECTIONS))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .acquire_slow_level(QUIET)
        // A ping before each use would cost a round trip, 13 % of the writes. When PostgreSQL was restarted a moment ago,
        // a request may meet a dead connection; posts are tried again then, as a repeat is recognised.
        .test_before_acquire(false)
        .before_acquire(move |conn, idle| {
            Box::pin(async move { Ok(idle.idle_for < trusted_for || answers(conn).await) })
        })
        // Whoever gave up in the middle of a statement left a connection that may never answer: without a bound the pool
        // would wait for it for ever, and have one fewer. For all others this asks nothing.
        .after_release(|conn, _| Box::pin(async { within(conn.flush()).await.map(|()| true) }))
        .connect_with(options)
        .await
        .map_err(ConnectError::Connect)
}

/// Brings the schema up to date, on a connection of its own that waits for others as long as it takes.
pub async fn migrate(url: &str) -> Result<(), MigrationError> {
    let db = connect_for_commands(url).await?;
    MIGRATOR.run(&db).await?;
    db.close().await;
    Ok(())
}

/// Why the schema is not up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// There was no way to the database.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A migration failed.
    #[error("cannot bring the schema up to date")]
    Migrate(#[from] MigrateError),
}

async fn answers(conn: &mut PgConnection) -> bool {
    timeout(ANSWER, conn.ping()).await.is_ok_and(|answered| answered.is_ok())
}

/// Another connection than one that has failed: where one died, the others of the pool probably did, too, so they are
/// taken out until one answers.
pub(crate) async fn another(db: &PgPool) -> sqlx::Result<PoolConnection<Postgres>> {
    loop {
        let mut conn = db.acquire().await?;
        if answers(&mut conn).await {
            return Ok(conn);
        }
        drop(conn.detach());
    }
}

/// Gives a connection back, but does not wait for ever for its last answer. Where many use the pool all the time, it would
/// otherwise lose each that dies at that moment.
pub(crate) fn give_back(mut conn: PoolConnection<Postgres>) {
    tokio::spawn(timeout(silence::bound(), conn.return_to_pool()));
}

/// Runs a statement, but not for ever. After a time-out the connection is only good for being closed.
pub(crate) async fn within<T>(statement: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(silence::bound(), statement).await.unwrap_or_else(|_| Err(silent()))
}

/// What is told of a database that said nothing for too long.
pub(crate) fn silent() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database is silent"))
}

/// Why the database does not fit this program.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The list of migrations, or the number of partitions, cannot be read.
    #[error("cannot read the state of the schema")]
    Database(#[from] sqlx::Error),
    /// The list of migrations cannot be read.
    #[error("cannot read the list of applied migrations")]
    Migrations(#[from] MigrateError),
    /// Run `roomcast migrate`.
    #[error("migration {0} is not applied: run `roomcast migrate`")]
    Missing(i64),
    /// The database was migrated by another build.
    #[error("migration {0} differs from the one that was applied: this database belongs to another build")]
    Changed(i64),
    /// See `protocol::PARTITIONS`.
    #[error("the database has {database} partitions, this program {program}: drain the outbox, then migrate")]
    Partitions {
        /// `partition_count()`.
        database: i16,
        /// `protocol::PARTITIONS`.
        program: i16,
    },
}

/// Refuses a database whose tables are not those that this program was built for.
pub async fn check_schema(db: &PgPool) -> Result<(), SchemaError> {
    let mut conn = db.acquire().await?;
    conn.ensure_migrations_table("_sqlx_migrations").await?;
    let applied = conn.list_applied_migrations("_sqlx_migrations").await?;
    for expected in MIGRATOR.iter() {
        match applied.iter().find(|applied| applied.version == expected.version) {
            None => return Err(SchemaError::Missing(expected.version)),
            Some(applied) if applied.checksum != expected.checksum => {
                return Err(SchemaError::Changed(expected.version));
            }
            Some(_) => {}
        }
    }
    let database = sqlx::query_scalar!(r#"select partition_count() as "count!""#).fetch_one(&mut *conn).await?;
    if database == PARTITIONS { Ok(()) } else { Err(SchemaError::Partitions { database, program: PARTITIONS }) }
}

/// Why the database does not serve.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// It refuses what requests ask for.
    #[error("the database refuses: {0}")]
    Refuses(String),
    /// It answers and takes no writes.
    #[error("the database takes no writes: its transactions are read-only")]
    ReadOnly,
    /// It does not answer.
    #[error("{0}")]
    Silent(#[from] sqlx::Error),
}

/// Whether the database answers and takes writes now; for `/readyz`. A disk that is full is known by the requests that
/// met it.
pub async fn ready(state: &ApiState) -> Result<(), NotReady> {
    if let Some(reason) = state.outages.reason() {
        return Err(NotReady::Refuses(reason));
    }
    let mut conn = state.db.acquire().await?;
    if takes_writes(&mut conn).await? { Ok(()) } else { Err(NotReady::ReadOnly) }
}

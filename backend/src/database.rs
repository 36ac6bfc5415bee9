//! The way to PostgreSQL: the pool, and whether the database on the other end is the one that this program expects.

use std::{str::FromStr, time::Duration};

use protocol::PARTITIONS;
use sqlx::{
    Connection, PgPool,
    migrate::{Migrate, MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::ApiState;

/// The tables and functions, compiled in.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// How long a request waits for a free connection before it is answered with 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Opened at once and kept: a password handshake takes milliseconds, which the first requests need not pay for.
const READY_CONNECTIONS: u32 = 4;

/// A forgotten transaction holds back the vacuum of the outbox, and with it every claim of the relay.
const IDLE_IN_TRANSACTION: &str = "10s";

/// A connection that was idle for so long is asked whether it is still there. Under load none is.
const TRUSTED_FOR: Duration = Duration::from_secs(10);

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

/// Connects, with a pool made for short statements: 16 connections saturate a small server, more only add latency.
pub async fn connect(url: &str, max_connections: u32) -> Result<PgPool, ConnectError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(ConnectError::Url)?
        .application_name("roomcast backend")
        .options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION)]);
    PgPoolOptions::new()
        .max_connections(max_connections)
        .min_connections(max_connections.min(READY_CONNECTIONS))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A ping before each use would cost a round trip, 13 % of the writes. When PostgreSQL was restarted a moment ago,
        // a request may meet a dead connection; posts are tried again then, as a repeat is recognised.
        .test_before_acquire(false)
        .before_acquire(|conn, idle| {
            Box::pin(async move { Ok(idle.idle_for < TRUSTED_FOR || conn.ping().await.is_ok()) })
        })
        .connect_with(options)
        .await
        .map_err(ConnectError::Connect)
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

/// Whether the database answers now; for `/readyz`.
pub async fn ready(state: &ApiState) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(r#"select true as "alive!""#).fetch_one(&state.db).await.map(drop)
}

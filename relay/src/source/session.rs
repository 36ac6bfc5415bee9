//! A PostgreSQL session of the relay's own: opened with the settings its statements need, and never silent for ever.

use std::str::FromStr;

use protocol::{PARTITIONS, silence};
use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;

use crate::RelayError;

/// Bound to index scans: plans made while the outbox is empty are cached, and a sequential scan in one of them would
/// read every dead row from then on. Only an index scan marks dead entries for reuse.
const PLANS: [(&str, &str); 4] =
    [("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("enable_sort", "off"), ("jit", "off")];

/// A deletion that a crash of the server forgets only repeats a row.
const COMMITS: [(&str, &str); 1] = [("synchronous_commit", "off")];

/// How to reach the database, under this name in `pg_stat_activity`.
pub(crate) fn options(database_url: &str, name: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let options = PgConnectOptions::from_str(database_url)?.application_name(name);
    Ok(options
        .options(PLANS)
        .options(COMMITS)
        .options(silence::of_server(silence::bound()))
        .disable_statement_logging())
}

/// Opens a session that holds locks and is used all the time. The server ends it soon after the bound if it is not: its client
/// may be gone although the connection is not.
pub(crate) async fn open_to_hold(database_url: &str, name: &str) -> Result<PgConnection, RelayError> {
    let idle = silence::bound() * 3 / 2;
    let options = options(database_url, name)?.options([("idle_session_timeout", idle.as_millis().to_string())]);
    within(options.connect()).await
}

/// Opens a session, under this name in `pg_stat_activity`.
pub(crate) async fn open(database_url: &str, name: &str) -> Result<PgConnection, RelayError> {
    let options = options(database_url, name)?;
    within(options.connect()).await
}

/// Runs a statement, but not for ever: no statement of the relay needs a hundredth of the bound. After a time-out the
/// session must be dropped: its answer may still come.
pub(crate) async fn within<T>(statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, RelayError> {
    let bound = silence::bound();
    match timeout(bound, statement).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(RelayError::DatabaseSilent(bound)),
    }
}

/// Refuses a database that this program would misread.
pub(crate) async fn check_schema(connection: &mut PgConnection) -> Result<(), RelayError> {
    let migrated = sqlx::query_scalar!(
        r#"select to_regclass('chat_outbox') is not null and to_regclass('dead_letters') is not null
             and to_regclass('chat_cdc') is not null and to_regclass('carriers') is not null
             and to_regclass('probes') is not null and to_regclass('outbox_floors') is not null
             and to_regprocedure('partition_count()') is not null as "migrated!""#
    );
    if !within(migrated.fetch_one(&mut *connection)).await? {
        return Err(RelayError::NotMigrated);
    }
    let count = sqlx::query_scalar!(r#"select partition_count() as "count!""#);
    match within(count.fetch_one(&mut *connection)).await? {
        PARTITIONS => Ok(()),
        database => Err(RelayError::PartitionCount { database, program: PARTITIONS }),
    }
}

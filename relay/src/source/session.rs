//! A PostgreSQL session of the relay's own: opened with the settings its statements need, and never silent for ever.

use std::{str::FromStr, time::Duration};

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

/// How often the server asks a machine that does not answer.
const TRIES: u64 = 3;

/// How to reach the database, under this name in `pg_stat_activity`.
pub(crate) fn options(database_url: &str, name: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let options = PgConnectOptions::from_str(database_url)?.application_name(name);
    Ok(options.options(PLANS).options(COMMITS).options(keepalive(silence::bound())).disable_statement_logging())
}

/// A machine that vanishes gives its locks back within the bound, not after two hours: 5 s and three times 2 s of 15 s.
pub(crate) fn keepalive(bound: Duration) -> [(&'static str, String); 4] {
    let idle = (bound.as_secs() / 3).max(1);
    let interval = (idle / 2).max(1);
    [
        ("tcp_keepalives_idle", idle.to_string()),
        ("tcp_keepalives_interval", interval.to_string()),
        ("tcp_keepalives_count", TRIES.to_string()),
        ("tcp_user_timeout", bound.as_millis().to_string()),
    ]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_lets_go_of_a_vanished_machine_within_the_bound() {
        for seconds in [4, 15, 60, 600] {
            let settings = keepalive(Duration::from_secs(seconds));
            let number = |name: &str| settings.iter().find(|(key, _)| *key == name).unwrap().1.parse::<u64>().unwrap();
            let gone =
                number("tcp_keepalives_idle") + number("tcp_keepalives_interval") * number("tcp_keepalives_count");
            assert!(gone <= seconds, "{settings:?}");
        }
    }
}

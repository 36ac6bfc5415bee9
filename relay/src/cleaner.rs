//! Prunes `chat_cdc` by age, in small batches. Rows there are never deleted by being carried: the log has them already,
//! and a deletion is no event for anybody (the publications have insertions only).
//!
//! A new slot of the source `wal` begins with what the table still holds, so the age is how long that may be missing.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use tracing::debug;

use crate::{RelayError, metrics, source::session::within};

/// What is pruned, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct CleanerConfig {
    /// How old a row becomes.
    pub age: Duration,
    /// Rows deleted in one statement.
    pub batch_size: u16,
}

impl Default for CleanerConfig {
    fn default() -> Self {
        Self { age: Duration::from_hours(1), batch_size: 1000 }
    }
}

/// Prunes one batch. True if there may be more.
pub(crate) async fn prune(connection: &mut PgConnection, config: CleanerConfig) -> Result<bool, RelayError> {
    let limit = i64::from(config.batch_size);
    let too_old = OffsetDateTime::now_utc() - config.age;
    // Ids follow time closely enough: only the lowest are looked at, so a young table costs one small index scan.
    let pruned = sqlx::query!(
        "delete from chat_cdc where id in (
             select id from chat_cdc
              where id <= (select max(id) from (select id from chat_cdc order by id limit $1) lowest)
                and created_at < $2
                for update skip locked)",
        limit,
        too_old,
    );
    let pruned = within(pruned.execute(connection)).await?.rows_affected();
    if pruned > 0 {
        ::metrics::counter!(metrics::CDC_PRUNED).increment(pruned);
        debug!(rows = pruned, "pruned {pruned} rows of chat_cdc");
    }
    Ok(pruned >= u64::from(config.batch_size))
}

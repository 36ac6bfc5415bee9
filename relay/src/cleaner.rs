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

/// What one batch was.
pub(crate) struct Pruned {
    /// The highest id that is gone.
    pub upto: i64,
    /// There may be more.
    pub more: bool,
}

/// Prunes one batch of the rows behind `after`.
pub(crate) async fn prune(
    connection: &mut PgConnection,
    config: CleanerConfig,
    after: i64,
) -> Result<Pruned, RelayError> {
    let limit = i64::from(config.batch_size);
    let too_old = OffsetDateTime::now_utc() - config.age;
    // Ids follow time closely enough: only the lowest are looked at, so a young table costs one small index scan.
    let pruned = sqlx::query!(
        r#"with gone as (
               delete from chat_cdc where id in (
                   select id from chat_cdc
                    where id > $3
                      and id <= (select max(id) from (select id from chat_cdc where id > $3 order by id limit $1) lowest)
                      and created_at < $2
                      for update skip locked)
               returning id)
           select count(*) as "rows!", coalesce(max(id), $3) as "upto!" from gone"#,
        limit,
        too_old,
        after,
    );
    let pruned = within(pruned.fetch_one(connection)).await?;
    if pruned.rows > 0 {
        ::metrics::counter!(metrics::CDC_PRUNED).increment(pruned.rows.unsigned_abs());
        debug!(rows = pruned.rows, "pruned {} rows of chat_cdc", pruned.rows);
    }
    Ok(Pruned { upto: pruned.upto, more: pruned.rows >= limit })
}

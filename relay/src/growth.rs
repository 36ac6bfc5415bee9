//! Figures of what grows in the database, now and then. What bounds each of them is in docs/growth.md.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::Instant;

use crate::{RelayError, metrics, source::session::within};

/// Sizes move slowly.
const INTERVAL: Duration = Duration::from_secs(30);

/// What a person will not look at one by one.
const COUNTED: i64 = 100_000;

/// The looks of one relay.
pub(crate) struct Growth(Instant);

impl Growth {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    /// Looks if it is time to.
    pub(crate) async fn look(&mut self, connection: &mut PgConnection) -> Result<(), RelayError> {
        if self.0 > Instant::now() {
            return Ok(());
        }
        self.0 = Instant::now() + INTERVAL;
        measure_tables(connection).await?;
        let letters = sqlx::query_scalar!(
            r#"select count(*) as "count!" from (select from dead_letters limit $1) letters"#,
            COUNTED,
        );
        let letters = within(letters.fetch_one(connection)).await?;
        #[expect(clippy::cast_precision_loss, reason = "counted to a bound far below 2^52")]
        ::metrics::gauge!(metrics::DEAD_LETTERS).set(letters as f64);
        Ok(())
    }
}

/// Each table beside ours, with its indexes.
async fn measure_tables(connection: &mut PgConnection) -> Result<(), RelayError> {
    let tables = sqlx::query!(
        r#"select relname::text as "name!", pg_total_relation_size(oid) as "bytes!" from pg_class
            where relkind = 'r' and relnamespace = (select relnamespace from pg_class where oid = 'chat_outbox'::regclass)"#
    );
    for table in within(tables.fetch_all(connection)).await? {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; bytes of a table stay below 2^52")]
        ::metrics::gauge!(metrics::TABLE_BYTES, "table" => table.name).set(table.bytes as f64);
    }
    Ok(())
}

//! Tidies up after a busy outbox. Rows that left stay in its index until somebody cleans, in the way of every claim; the
//! server's own autovacuum comes after a minute, which is late at thousands of rows a second.
//!
//! On a connection of its own, that only lives as long, and with no lock that a worker would wait for.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection, Executor, PgConnection};
use tokio::{
    select,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{RelayConfig, RelayError, source::session, status::State};

/// Not more often.
const INTERVAL: Duration = Duration::from_secs(5);

/// `truncate` and waiting for a lock would stand in the workers' way; the index is what this is about.
const VACUUM: &str = "vacuum (skip_locked, truncate false, index_cleanup on) chat_outbox";

pub(crate) struct Vacuum {
    pub config: Arc<RelayConfig>,
    pub state: Arc<State>,
}

impl Vacuum {
    /// Runs until `shutdown`; a vacuum under way is dropped there.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        select! { () = shutdown.cancelled() => {}, () = self.tidy_for_ever() => {} }
    }

    async fn tidy_for_ever(&self) {
        let mut last: Option<Instant> = None;
        loop {
            sleep(INTERVAL).await;
            // It would read the whole table and could remove nothing that the last one could not.
            if last.is_some_and(|last| self.state.snapshot_age() > last.elapsed()) {
                continue;
            }
            if let Some(deleted) = self.state.deleted_since(self.config.vacuum_after) {
                last = Some(Instant::now());
                match self.tidy().await {
                    Ok(true) => debug!(deleted, "vacuumed chat_outbox after {deleted} deletions"),
                    Ok(false) => debug!("chat_outbox belongs to somebody else, who vacuums it"),
                    Err(error) => debug!(%error, "no vacuum this time"),
                }
            }
        }
    }

    /// False where we may not.
    async fn tidy(&self) -> Result<bool, RelayError> {
        let mut connection = session::open(&self.config.database_url, "roomcast relay vacuum").await?;
        let may = may_vacuum(&mut connection).await?;
        if may {
            connection.execute(VACUUM).await?;
        }
        session::within(connection.close()).await?;
        Ok(may)
    }
}

/// Asked first: to somebody else's table the server answers with a warning each time.
async fn may_vacuum(connection: &mut PgConnection) -> Result<bool, RelayError> {
    let owns = sqlx::query_scalar!(
        r#"select pg_has_role(relowner, 'usage') as "owns!" from pg_class where oid = 'chat_outbox'::regclass"#
    );
    session::within(owns.fetch_one(connection)).await
}

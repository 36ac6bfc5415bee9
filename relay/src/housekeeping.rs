//! What is done once a second beside the carrying, on a connection of its own so that no row waits for it: measures
//! the lag of our partitions, and puts rows of no known partition aside.

use std::{sync::Arc, time::Duration};

use protocol::{PARTITIONS, Partition};
use sqlx::PgConnection;
use tokio::{
    select,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    RelayConfig, RelayError, metrics,
    source::{
        outbox::{self, Lag, Letters},
        session,
    },
    status::State,
};

const INTERVAL: Duration = Duration::from_secs(1);

/// Rows counted per partition at most.
const COUNTED: i64 = 10_000;

/// A large backlog takes longer to count: housekeeping rests this many times as long as it worked.
const REST: u32 = 20;

/// But not longer than this, so that the lag shown is never old.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Strays put aside in one statement.
const STRAYS: u16 = 1000;

pub(crate) struct Housekeeping {
    pub config: Arc<RelayConfig>,
    pub state: Arc<State>,
}

impl Housekeeping {
    /// Runs until `shutdown`. A failure only means that the next look opens another connection.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut connection = None;
        while !shutdown.is_cancelled() {
            let begun = Instant::now();
            let looked = select! { () = shutdown.cancelled() => return, looked = self.look(&mut connection) => looked };
            if let Err(error) = looked {
                debug!(%error, "no housekeeping this time");
                connection = None;
            }
            let rest = (begun.elapsed() * REST).clamp(INTERVAL, LONGEST_REST);
            select! { () = shutdown.cancelled() => {}, () = sleep(rest) => {} }
        }
    }

    async fn look(&self, connection: &mut Option<PgConnection>) -> Result<(), RelayError> {
        let owned = self.state.owned();
        if owned.is_empty() {
            self.state.lags(Lag::default());
            return Ok(());
        }
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(session::open(&self.config.database_url, "roomcast relay housekeeping").await?),
        };
        let numbers: Vec<i16> = owned.iter().map(|partition| partition.0).collect();
        self.state.lags(outbox::lag(connection, &numbers, COUNTED).await?);
        // One relay is enough for it, and somebody always has the first partition.
        if owned.contains(&Partition(0)) {
            bury_strays(connection).await?;
        }
        Ok(())
    }
}

async fn bury_strays(connection: &mut PgConnection) -> Result<(), RelayError> {
    loop {
        let strays = outbox::strays(connection, STRAYS).await?;
        if strays.is_empty() {
            return Ok(());
        }
        let mut letters = Letters::default();
        for (partition, id) in strays {
            let reason = format!("partition {partition} does not exist: there are 0 to {}", PARTITIONS - 1);
            letters.push(Partition(partition), id, &reason, 0);
        }
        let buried = outbox::bury(connection, &letters).await?;
        warn!(rows = buried, "{buried} rows of unknown partitions are dead letters now: {}", letters.reasons[0]);
        ::metrics::counter!(metrics::DEAD_LETTERED).increment(buried);
    }
}

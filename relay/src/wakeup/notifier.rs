//! Sends NOTIFY after commits, for relays in other processes.
//!
//! Inside the transaction a NOTIFY would take two thirds of the write throughput, because all committers queue for one
//! lock. Here they are gathered: the first goes out at once, and the last always. Between two is a pause: short while few
//! partitions have news, as each message waits for it; longer while many have, as each notification costs the server and
//! every relay the same.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use protocol::Partition;
use sqlx::{Connection, PgConnection};
use tokio::{select, sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::CHANNEL;
use crate::{
    RelayError, metrics,
    retry::Backoff,
    source::session::{self, within},
};

/// The pause after a notification of few partitions.
const SHORT: Duration = Duration::from_millis(1);

/// The pause after one of more. At 500 rows a second most wait for it.
const LONG: Duration = Duration::from_millis(5);

/// Up to so many partitions are few.
const FEW: usize = 2;

/// How long a stop waits for the last notification. Losing it only delays rows until the poll.
const FAREWELL: Duration = Duration::from_secs(1);

/// Tells relays elsewhere that rows were committed. Clones share one connection.
#[derive(Clone)]
pub struct Notifier {
    pending: Arc<Pending>,
}

struct Pending {
    partitions: Vec<AtomicBool>,
    any: Notify,
}

/// The task behind a [`Notifier`]; nothing is sent unless it runs.
pub struct NotifierTask {
    database_url: String,
    pending: Arc<Pending>,
}

impl Notifier {
    /// A notifier and the task that sends for it.
    pub fn new(database_url: impl Into<String>) -> (Self, NotifierTask) {
        let partitions = Partition::all().map(|_| AtomicBool::new(false)).collect();
        let pending = Arc::new(Pending { partitions, any: Notify::new() });
        (Self { pending: Arc::clone(&pending) }, NotifierTask { database_url: database_url.into(), pending })
    }

    /// Rows of this partition were committed. Never blocks and never fails.
    pub fn notify(&self, partition: Partition) {
        if let Some(flag) = usize::try_from(partition.0).ok().and_then(|index| self.pending.partitions.get(index)) {
            // A flag that is up already has its notification still to come.
            if !flag.swap(true, Ordering::AcqRel) {
                self.pending.any.notify_one();
            }
        }
    }
}

impl NotifierTask {
    /// Sends until `shutdown`, then once more what is pending.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut connection = None;
        select! {
            () = shutdown.cancelled() => {}
            () = self.send_for_ever(&mut connection) => {}
        }
        if let Some(mut connection) = connection {
            let farewell = async {
                self.send(&mut connection).await?;
                within(connection.close()).await
            };
            let _ = tokio::time::timeout(FAREWELL, farewell).await;
        }
    }

    async fn send_for_ever(&self, connection: &mut Option<PgConnection>) {
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(5));
        let mut failures = 0;
        loop {
            match self.send_while_connected(connection, &mut failures).await {
                Ok(never) => match never {},
                Err(error) => {
                    failures += 1;
                    if failures == 1 {
                        warn!(%error, "cannot notify relays: until this works again they find rows by polling");
                    }
                    sleep(backoff.pause(failures)).await;
                }
            }
        }
    }

    async fn send_while_connected(
        &self,
        connection: &mut Option<PgConnection>,
        failures: &mut u32,
    ) -> Result<std::convert::Infallible, RelayError> {
        loop {
            self.pending.any.notified().await;
            // While the connection is out of its place, a stop in the middle of a statement cannot use it again.
            let mut open = match connection.take() {
                Some(open) => open,
                None => session::open(&self.database_url, "roomcast notifier").await.inspect_err(|_| self.repeat())?,
            };
            let partitions = self.send(&mut open).await?;
            *connection = Some(open);
            if std::mem::take(failures) > 0 {
                info!("notifying relays again");
            }
            sleep(if partitions <= FEW { SHORT } else { LONG }).await;
        }
    }

    /// One notification for all partitions that are pending, which are counted. Flags come down before it is sent, so that a commit
    /// during the sending raises its flag again and gets a notification of its own.
    async fn send(&self, connection: &mut PgConnection) -> Result<usize, RelayError> {
        let mut payload = String::new();
        let mut lowered = Vec::new();
        for (index, flag) in self.pending.partitions.iter().enumerate() {
            if flag.swap(false, Ordering::AcqRel) {
                let comma = if payload.is_empty() { "" } else { "," };
                let _ = write!(payload, "{comma}{index}");
                lowered.push(flag);
            }
        }
        if lowered.is_empty() {
            return Ok(0);
        }
        let partitions = lowered.len();
        let sent = within(sqlx::query!("select pg_notify($1, $2)", CHANNEL, payload).execute(connection)).await;
        if let Err(error) = sent {
            for flag in lowered {
                flag.store(true, Ordering::Release);
            }
            self.repeat();
            return Err(error);
        }
        ::metrics::counter!(metrics::NOTIFICATIONS).increment(1);
        Ok(partitions)
    }

    /// What was to be sent is still to be sent.
    fn repeat(&self) {
        self.pending.any.notify_one();
    }
}

//! What the relay is doing, for `/readyz` and for people.

use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::Partition;
use serde::Serialize;
use time::OffsetDateTime;

use crate::{RelayError, metrics, source::outbox::Lag};

/// A look at a running relay.
#[derive(Clone, Debug, Serialize)]
pub struct RelayStatus {
    /// Workers that have a session at the moment.
    pub connected_workers: usize,
    /// Workers that should have one.
    pub workers: usize,
    /// What this relay carries, in order. Empty for a relay that stands by.
    pub partitions: Vec<Partition>,
    /// When last the outbox was found empty or a row left it.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_progress: Option<OffsetDateTime>,
    /// Rows that wait in these partitions, counted up to 10,000 each; at most a second or so old.
    pub lag_rows: i64,
    /// Age of the oldest of them.
    pub lag_seconds: f64,
    /// What tells this relay about rows from other processes.
    pub wakes_by: WakeSource,
    /// Held by [`crate::RelayHandle::pause`].
    pub paused: bool,
    /// What a worker is suffering from; gone once it makes progress again.
    pub last_error: Option<String>,
}

impl RelayStatus {
    /// True if all workers have their session. Whether rows also arrive, `last_error` and the lag tell.
    pub fn is_ready(&self) -> bool {
        self.connected_workers == self.workers
    }
}

/// What tells a relay about rows that other processes committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WakeSource {
    /// LISTEN works.
    Listening,
    /// Only the poll: LISTEN is switched off or does not work.
    Polling,
}

/// What the tasks of one relay tell about themselves.
pub(crate) struct State(Mutex<Inner>);

struct Inner {
    workers: Vec<WorkerState>,
    lag: Lag,
    wakes_by: WakeSource,
}

#[derive(Clone, Default)]
struct WorkerState {
    connected: bool,
    owned: Vec<Partition>,
    last_progress: Option<OffsetDateTime>,
    last_error: Option<String>,
}

impl State {
    pub(crate) fn new(workers: usize) -> Self {
        let workers = vec![WorkerState::default(); workers];
        Self(Mutex::new(Inner { workers, lag: Lag::default(), wakes_by: WakeSource::Polling }))
    }

    /// The worker has a session; it may stand by without a partition.
    pub(crate) fn joined(&self, worker: usize) {
        self.lock().workers[worker].connected = true;
    }

    pub(crate) fn owns(&self, worker: usize, partitions: &[Partition]) {
        let mut inner = self.lock();
        inner.workers[worker].owned = partitions.to_vec();
        inner.publish_owned();
    }

    /// The worker's session is gone, and with it its partitions.
    pub(crate) fn left(&self, worker: usize) {
        let mut inner = self.lock();
        let state = &mut inner.workers[worker];
        state.connected = false;
        state.owned.clear();
        inner.publish_owned();
    }

    pub(crate) fn progressed(&self, worker: usize) {
        let mut inner = self.lock();
        let state = &mut inner.workers[worker];
        state.last_progress = Some(OffsetDateTime::now_utc());
        state.last_error = None;
    }

    pub(crate) fn suffers(&self, worker: usize, error: String) {
        self.lock().workers[worker].last_error = Some(error);
    }

    pub(crate) fn suffers_from(&self, worker: usize, error: &RelayError) {
        self.suffers(worker, error.to_string());
    }

    pub(crate) fn lags(&self, lag: Lag) {
        self.lock().lag = lag;
        #[expect(clippy::cast_precision_loss, reason = "a count of rows is far below 2^52")]
        ::metrics::gauge!(metrics::OUTBOX_ROWS).set(lag.rows as f64);
        ::metrics::gauge!(metrics::OUTBOX_OLDEST_AGE).set(lag.age_seconds);
    }

    pub(crate) fn wakes_by(&self, source: WakeSource) {
        self.lock().wakes_by = source;
    }

    pub(crate) fn owned(&self) -> Vec<Partition> {
        self.lock().owned()
    }

    pub(crate) fn status(&self, paused: bool) -> RelayStatus {
        let inner = self.lock();
        RelayStatus {
            connected_workers: inner.workers.iter().filter(|worker| worker.connected).count(),
            workers: inner.workers.len(),
            partitions: inner.owned(),
            last_progress: inner.workers.iter().filter_map(|worker| worker.last_progress).max(),
            lag_rows: inner.lag.rows,
            lag_seconds: inner.lag.age_seconds,
            wakes_by: inner.wakes_by,
            paused,
            last_error: inner.workers.iter().find_map(|worker| worker.last_error.clone()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn owned(&self) -> Vec<Partition> {
        let mut owned: Vec<_> = self.workers.iter().flat_map(|worker| worker.owned.iter().copied()).collect();
        owned.sort_unstable();
        owned
    }

    fn publish_owned(&self) {
        let owned: usize = self.workers.iter().map(|worker| worker.owned.len()).sum();
        ::metrics::gauge!(metrics::PARTITIONS_OWNED).set(u32::try_from(owned).unwrap_or(u32::MAX));
    }
}

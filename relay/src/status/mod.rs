//! What the relay is doing, for `/readyz` and for people: here the whole and its outbox, in `source` what is read from
//! logs.

mod source;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::Partition;
use serde::Serialize;
use time::OffsetDateTime;

pub(crate) use source::SourceState;
pub use source::{Phase, SourceLag, SourceStatus};

use crate::{RelayError, metrics, source::outbox::Lag};

/// A look at a running relay. What stands beside `sources` is about the outbox.
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
    /// Each source that runs here.
    pub sources: Vec<SourceStatus>,
}

impl RelayStatus {
    /// True if all sources are connected: each worker to the outbox, and each log. Whether rows also arrive, `last_error`
    /// and the lags tell.
    pub fn is_ready(&self) -> bool {
        self.sources.iter().all(|source| source.ready)
    }

    /// One source by its name.
    pub fn source(&self, name: &str) -> Option<&SourceStatus> {
        self.sources.iter().find(|source| source.name == name)
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
pub(crate) struct State {
    outbox: Mutex<Inner>,
    logs: Vec<Arc<SourceState>>,
}

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
    /// `workers` carry the outbox; with none there is no such source here.
    pub(crate) fn new(workers: usize, logs: Vec<Arc<SourceState>>) -> Self {
        let workers = vec![WorkerState::default(); workers];
        let outbox = Mutex::new(Inner { workers, lag: Lag::default(), wakes_by: WakeSource::Polling });
        Self { outbox, logs }
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

    /// The names of the sources that run here.
    pub(crate) fn sources(&self) -> Vec<&'static str> {
        self.status(false).sources.into_iter().map(|source| source.name).collect()
    }

    pub(crate) fn status(&self, paused: bool) -> RelayStatus {
        let inner = self.lock();
        let sources = inner.source().into_iter().chain(self.logs.iter().map(|log| log.status())).collect();
        RelayStatus {
            sources,
            connected_workers: inner.workers.iter().filter(|worker| worker.connected).count(),
            workers: inner.workers.len(),
            partitions: inner.owned(),
            last_progress: inner.last_progress(),
            lag_rows: inner.lag.rows,
            lag_seconds: inner.lag.age_seconds,
            wakes_by: inner.wakes_by,
            paused,
            last_error: inner.last_error(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The outbox as one source among others.
    fn source(&self) -> Option<SourceStatus> {
        let ready = self.workers.iter().all(|worker| worker.connected);
        let phase = match (ready, self.workers.iter().any(|worker| !worker.owned.is_empty())) {
            (false, _) => Phase::Connecting,
            (true, true) => Phase::Carrying,
            (true, false) => Phase::StandingBy,
        };
        (!self.workers.is_empty()).then(|| SourceStatus {
            name: "outbox",
            ready,
            phase,
            last_progress: self.last_progress(),
            lag: SourceLag { rows: Some(self.lag.rows), seconds: Some(self.lag.age_seconds), ..SourceLag::default() },
            last_error: self.last_error(),
        })
    }

    fn last_progress(&self) -> Option<OffsetDateTime> {
        self.workers.iter().filter_map(|worker| worker.last_progress).max()
    }

    fn last_error(&self) -> Option<String> {
        self.workers.iter().find_map(|worker| worker.last_error.clone())
    }

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

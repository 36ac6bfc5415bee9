//! What the relay is doing, for `/readyz` and for people: here the whole and its outbox, in `source` what is read from
//! logs.

mod notice;
mod source;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use protocol::{Complaint, Partition};
use serde::Serialize;
use time::OffsetDateTime;
use tracing::{info, warn};

pub use notice::Notice;
use notice::Notices;
pub(crate) use source::SourceState;
pub use source::{Phase, SourceLag, SourceStatus};

use crate::{
    RelayError, SlotStatus,
    letter_box::Told,
    metrics,
    probe::{ProbeStatus, Probes},
    source::outbox::Lag,
};

/// A database that lets nobody carry the outbox is told so often.
const TELL: Duration = Duration::from_mins(1);

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
    /// The replication slots of our making, and what is wrong with those that these sources live on.
    pub slots: Vec<SlotStatus>,
    /// The ways that end at these sources, and at the read model: what was sent, and what came through.
    pub probes: Vec<ProbeStatus>,
    /// What a person should see to although the relay is ready; beside the parts in `/readyz`, not in this one.
    #[serde(skip)]
    pub notices: Vec<Notice>,
}

impl RelayStatus {
    /// True if all sources are connected, each worker to the outbox and each log, and probes come through to the logs'
    /// readers, whose slots are there. Whether the destination takes the rows, `last_error` and the lags tell.
    pub fn is_ready(&self) -> bool {
        let slots_are_there = self.slots.iter().all(|slot| slot.trouble.is_none() || !slot.needed);
        slots_are_there && self.sources.iter().all(|source| source.ready)
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
    probes: Arc<Probes>,
    /// Rows that left the outbox since it was vacuumed last.
    deleted: AtomicU64,
    /// No worker has a session.
    sessions: Complaint,
    /// Rows of the outbox that were put aside.
    pub(crate) letters: Told,
}

struct Inner {
    workers: Vec<WorkerState>,
    lag: Lag,
    wakes_by: WakeSource,
    slots: Vec<SlotStatus>,
    snapshot_age: Duration,
    notices: Notices,
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
    pub(crate) fn new(workers: usize, logs: Vec<Arc<SourceState>>, probes: Arc<Probes>) -> Self {
        let workers = vec![WorkerState::default(); workers];
        let outbox = Mutex::new(Inner {
            workers,
            lag: Lag::default(),
            wakes_by: WakeSource::Polling,
            slots: Vec::new(),
            snapshot_age: Duration::ZERO,
            notices: Notices::default(),
        });
        let (sessions, letters) = (Complaint::new(TELL), Told::default());
        Self { outbox, logs, probes, deleted: AtomicU64::new(0), sessions, letters }
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
        if let Some(relief) = self.sessions.over() {
            info!("the outbox is carried again, {relief}");
        }
        let mut inner = self.lock();
        let state = &mut inner.workers[worker];
        state.last_progress = Some(OffsetDateTime::now_utc());
        state.last_error = None;
    }

    /// A worker has no session any more, or found none. Told once for all of them, and once that they carry again.
    pub(crate) fn lost_session(&self, error: &RelayError) {
        if let Some(trouble) = self.sessions.happened() {
            warn!(%error, "the outbox cannot be carried, and is tried again until it can: {error}{trouble}");
        }
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

    /// Rows left the outbox.
    pub(crate) fn deleted(&self, rows: usize) {
        self.deleted.fetch_add(rows.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many did, if enough; counted from zero again then.
    pub(crate) fn deleted_since(&self, enough: u64) -> Option<u64> {
        let deleted = self.deleted.load(Ordering::Relaxed);
        (deleted >= enough.max(1)).then(|| self.deleted.swap(0, Ordering::Relaxed))
    }

    pub(crate) fn has_slots(&self, slots: Vec<SlotStatus>) {
        self.lock().slots = slots;
    }

    /// How long the oldest snapshot of the server has been held.
    pub(crate) fn holds_snapshot_for(&self, age: Duration) {
        self.lock().snapshot_age = age;
    }

    /// The same, at most a second or so old; zero if nobody holds one.
    pub(crate) fn snapshot_age(&self) -> Duration {
        self.lock().snapshot_age
    }

    /// What `looker` has found to be seen to: all of it, at each look.
    pub(crate) fn notices(&self, looker: &'static str, found: Vec<Notice>) {
        self.lock().notices.replace(looker, found);
    }

    /// What is known of the ways to the logs' readers.
    pub(crate) fn probes(&self) -> &Probes {
        &self.probes
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
        let logs = self.logs.iter().map(|log| self.believed(log.status()));
        RelayStatus {
            sources: inner.source().into_iter().chain(logs).collect(),
            slots: inner.slots.clone(),
            probes: self.probes.statuses(),
            notices: inner.notices.all(),
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

    /// Whether the log is connected to what it reads.
    pub(crate) fn is_connected(&self, log: &str) -> bool {
        self.logs.iter().any(|state| state.name() == log && state.status().phase != Phase::Connecting)
    }

    /// A log that is connected is only believed while probes come through.
    fn believed(&self, mut log: SourceStatus) -> SourceStatus {
        if let Some(doubt) = self.probes.doubt(log.name) {
            log.ready = false;
            log.last_error.get_or_insert(doubt);
        }
        log
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
            notice: None,
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

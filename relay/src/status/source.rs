//! What one source is doing. The sources that read logs tell it here; the outbox's is put together from its workers.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use time::OffsetDateTime;

/// A look at one source of a relay.
#[derive(Clone, Debug, Serialize)]
pub struct SourceStatus {
    /// `outbox`, `wal` or `kafka`.
    pub name: &'static str,
    /// Connected to what it reads, and a probe came through lately. One that stands by for another relay is ready as well.
    pub ready: bool,
    /// What it is at.
    pub phase: Phase,
    /// When last something left it.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_progress: Option<OffsetDateTime>,
    /// What waits in it; at most a second or two old.
    pub lag: SourceLag,
    /// What it is suffering from; gone once it makes progress again.
    pub last_error: Option<String>,
    /// What happened last that a person should know of, although it was got over. Stays until the relay ends.
    pub notice: Option<String>,
}

/// What a source is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Looking for what it reads.
    #[default]
    Connecting,
    /// Connected, while others carry what there is.
    StandingBy,
    /// Connected and in charge of something.
    Carrying,
}

/// What waits, in the measures that the source has.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SourceLag {
    /// Rows, or records of Kafka.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// Age of the oldest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Write-ahead log that was not confirmed yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Write-ahead log that the server keeps for the slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retained_bytes: Option<i64>,
    /// Records by partition of Kafka, `topic/number`, as far as this relay carries them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub partitions: BTreeMap<String, i64>,
}

/// What the tasks of one source tell about it.
pub(crate) struct SourceState {
    name: &'static str,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Each consumer of a topic, or the one reader of the log.
    readers: BTreeMap<String, Reader>,
    last_progress: Option<OffsetDateTime>,
    notice: Option<String>,
    /// By task, so that one that gets on does not hide what another suffers from.
    troubles: BTreeMap<String, String>,
}

#[derive(Default)]
struct Reader {
    phase: Phase,
    lag: SourceLag,
}

impl SourceState {
    pub(crate) fn new<'a>(name: &'static str, readers: impl IntoIterator<Item = &'a str>) -> Self {
        let readers = readers.into_iter().map(|reader| (reader.to_owned(), Reader::default())).collect();
        Self { name, inner: Mutex::new(Inner { readers, ..Inner::default() }) }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn is_at(&self, reader: &str, phase: Phase) {
        self.lock().reader(reader).phase = phase;
    }

    /// Something left, or nothing was there.
    pub(crate) fn progressed(&self, task: &str) {
        let mut inner = self.lock();
        inner.last_progress = Some(OffsetDateTime::now_utc());
        inner.troubles.remove(task);
    }

    /// True if the task did not suffer before.
    pub(crate) fn suffers(&self, task: &str, error: String) -> bool {
        self.lock().troubles.insert(task.to_owned(), error).is_none()
    }

    /// Something was got over, but not without a price.
    pub(crate) fn note(&self, notice: String) {
        self.lock().notice = Some(notice);
    }

    /// What the task suffered from is over, or the task is.
    pub(crate) fn recovered(&self, task: &str) {
        self.lock().troubles.remove(task);
    }

    /// Tells what waits at one reader, and gives what waits at all of them.
    pub(crate) fn lags(&self, reader: &str, lag: SourceLag) -> SourceLag {
        let mut inner = self.lock();
        inner.reader(reader).lag = lag;
        inner.lag()
    }

    pub(crate) fn status(&self) -> SourceStatus {
        let inner = self.lock();
        let phase = inner.phase();
        SourceStatus {
            name: self.name,
            ready: phase != Phase::Connecting,
            phase,
            last_progress: inner.last_progress,
            lag: inner.lag(),
            last_error: inner.troubles.values().next().cloned(),
            notice: inner.notice.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn reader(&mut self, name: &str) -> &mut Reader {
        self.readers.entry(name.to_owned()).or_default()
    }

    fn lag(&self) -> SourceLag {
        self.readers.values().fold(SourceLag::default(), |sum, reader| sum.and(&reader.lag))
    }

    /// Connected are all or nobody; one that carries is enough to say so.
    fn phase(&self) -> Phase {
        let is = |phase| move |reader: &Reader| reader.phase == phase;
        match () {
            () if self.readers.is_empty() || self.readers.values().any(is(Phase::Connecting)) => Phase::Connecting,
            () if self.readers.values().any(is(Phase::Carrying)) => Phase::Carrying,
            () => Phase::StandingBy,
        }
    }
}

impl SourceLag {
    /// Both together.
    fn and(mut self, other: &Self) -> Self {
        let sum = |a: Option<i64>, b: Option<i64>| a.map_or(b, |a| Some(a + b.unwrap_or(0)));
        self.rows = sum(self.rows, other.rows);
        self.seconds = self.seconds.into_iter().chain(other.seconds).reduce(f64::max);
        self.bytes = sum(self.bytes, other.bytes);
        self.retained_bytes = sum(self.retained_bytes, other.retained_bytes);
        self.partitions.extend(other.partitions.clone());
        self
    }
}

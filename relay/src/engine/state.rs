//! Where a tail stands, and whether it reaches Kafka: what its tasks share, and what others may know.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{look::Ends, metrics};
use crate::source::kafka::client::Place;

/// A look at a tail.
#[derive(Clone, Debug, Serialize)]
pub struct EngineStatus {
    /// It has its place in every partition and reaches all of them.
    pub ready: bool,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Records that this hub has not executed yet, by `topic/partition`; a few seconds old.
    pub lag: BTreeMap<String, i64>,
}

/// Looks at a tail from anywhere in the process.
#[derive(Clone)]
pub struct TailHandle(pub(super) Arc<State>);

impl TailHandle {
    /// What it is doing.
    pub fn status(&self) -> EngineStatus {
        self.0.status()
    }

    /// Whether it has its place in every partition. Once it has, it keeps it: what is appended from then on will be read.
    pub fn is_placed(&self) -> bool {
        *self.0.placed.borrow()
    }

    /// Until it has its place.
    pub async fn placed(&self) {
        // The state is held by this handle, so the sender cannot go.
        let _ = self.0.placed.subscribe().wait_for(|placed| *placed).await;
    }
}

/// The next record of each partition.
pub(super) type Positions = BTreeMap<Place, i64>;

pub(super) struct State {
    placed: watch::Sender<bool>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    positions: Positions,
    lag: BTreeMap<String, i64>,
    trouble: Option<String>,
}

impl State {
    pub(super) fn new() -> Self {
        Self { placed: watch::Sender::new(false), inner: Mutex::default() }
    }

    pub(super) fn positions(&self) -> Positions {
        self.lock().positions.clone()
    }

    /// These are the next records from now on.
    pub(super) fn place(&self, positions: Positions) {
        self.lock().positions = positions;
        self.placed.send_replace(true);
    }

    /// Everything before this record has been handed over.
    pub(super) fn moved(&self, places: BTreeMap<Place, i64>) {
        self.lock().positions.extend(places);
    }

    pub(super) fn suffers(&self, trouble: String) {
        let mut inner = self.lock();
        if inner.trouble.is_none() {
            warn!("Kafka cannot be reached; clients stay, and hear more once it is back: {trouble}");
        }
        inner.trouble = Some(trouble);
        ::metrics::gauge!(metrics::REACHED).set(0.0);
    }

    /// Every partition has answered.
    pub(super) fn sees(&self, ends: &Ends) {
        let mut inner = self.lock();
        if inner.trouble.take().is_some() {
            info!("Kafka is reached again");
        }
        ::metrics::gauge!(metrics::REACHED).set(1.0);
        inner.lag.clear();
        for ((topic, partition), end) in ends {
            let place = (topic.clone(), *partition);
            let lag = inner.positions.get(&place).map_or(0, |position| (end.high - position).max(0));
            inner.lag.insert(format!("{topic}/{partition}"), lag);
            ::metrics::gauge!(metrics::LAG, "topic" => place.0, "partition" => partition.to_string())
                .set(as_gauge(lag));
        }
    }

    fn status(&self) -> EngineStatus {
        let inner = self.lock();
        let waiting =
            || Some("it has no place in the topics of Kafka yet".to_owned()).filter(|_| !*self.placed.borrow());
        let reason = inner.trouble.clone().or_else(waiting);
        EngineStatus { ready: reason.is_none(), reason, lag: inner.lag.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; a count of records stays below 2^52")]
fn as_gauge(records: i64) -> f64 {
    records as f64
}

//! What was measured of one case.

use std::time::Duration;

use super::{case::Case, flood::Flooded};
use crate::{cpu::CpuTime, delivery::Faults, latency::Outcome};

/// All figures of one case.
pub(super) struct Figures {
    pub(super) case: Case,
    /// CPU used while nobody wrote, in this time.
    pub(super) idle: (CpuTime, Duration),
    /// In the order of the rates.
    pub(super) latencies: Vec<Outcome>,
    pub(super) flood: Flooded,
    /// Over all loads of the case.
    pub(super) counted: Counters,
}

/// What is counted by PostgreSQL and the hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Bytes of write-ahead log.
    pub(super) wal_bytes: i64,
    /// Publications that came to the hub again.
    pub(super) repeats: u64,
    /// Publications that the hub had to read from the database, as they came by no other way in time.
    pub(super) filled: u64,
}

impl Counters {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            wal_bytes: self.wal_bytes - before.wal_bytes,
            repeats: self.repeats - before.repeats,
            filled: self.filled - before.filled,
        }
    }
}

impl Figures {
    /// Messages of all loads, those before each measurement too: everything that left a trace in the counters.
    pub(super) fn messages(&self) -> usize {
        self.latencies.iter().map(|outcome| outcome.written).sum::<usize>() + self.flood.messages
    }

    /// At the clients, over all loads.
    pub(super) fn faults(&self) -> Faults {
        let loads = self.latencies.iter().map(|outcome| outcome.faults).chain([self.flood.faults]);
        loads.fold(Faults::default(), Faults::and)
    }

    pub(super) fn at(&self, rate: u32) -> Option<&Outcome> {
        self.latencies.iter().find(|outcome| outcome.rate == rate)
    }
}

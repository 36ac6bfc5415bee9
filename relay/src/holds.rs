//! Which partitions wait, and until when: after a failure of the destination all of them, after a refused row its own.

use std::collections::BTreeMap;

use protocol::Partition;
use tokio::time::Instant;

use crate::retry::Backoff;

/// Failures in a row without progress, and the end of the pause after the last one. It is kept after that end, so
/// that the next failure waits longer, until something passes.
#[derive(Clone, Copy, Debug)]
struct Hold {
    failures: u32,
    until: Instant,
}

/// The pauses of one worker.
pub(crate) struct Holds {
    backoff: Backoff,
    destination: Option<Hold>,
    partitions: BTreeMap<Partition, Hold>,
}

impl Holds {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, destination: None, partitions: BTreeMap::new() }
    }

    /// The destination failed as a whole: nothing goes out for a while.
    pub(crate) fn hold_destination(&mut self, now: Instant) {
        self.destination = Some(longer(self.destination, self.backoff, now));
    }

    /// The destination answered.
    pub(crate) fn release_destination(&mut self) {
        self.destination = None;
    }

    /// The oldest row of this partition was not accepted: nothing of it goes out for a while.
    pub(crate) fn hold(&mut self, partition: Partition, now: Instant) {
        let hold = longer(self.partitions.get(&partition).copied(), self.backoff, now);
        self.partitions.insert(partition, hold);
    }

    /// Something of this partition passed.
    pub(crate) fn release(&mut self, partition: Partition) {
        self.partitions.remove(&partition);
    }

    /// Forgets what another worker carries now.
    pub(crate) fn retain(&mut self, owned: &[Partition]) {
        self.partitions.retain(|partition, _| owned.contains(partition));
    }

    pub(crate) fn is_held(&self, partition: Partition, now: Instant) -> bool {
        [self.destination.as_ref(), self.partitions.get(&partition)].into_iter().flatten().any(|hold| hold.until > now)
    }

    /// How often the oldest row of this partition was tried in vain.
    pub(crate) fn failures(&self, partition: Partition) -> u32 {
        [self.destination.as_ref(), self.partitions.get(&partition)]
            .into_iter()
            .flatten()
            .map(|hold| hold.failures)
            .sum()
    }

    /// When the next pause ends.
    pub(crate) fn next_end(&self, now: Instant) -> Option<Instant> {
        self.destination
            .iter()
            .chain(self.partitions.values())
            .map(|hold| hold.until)
            .filter(|until| *until > now)
            .min()
    }
}

fn longer(hold: Option<Hold>, backoff: Backoff, now: Instant) -> Hold {
    let failures = hold.map_or(0, |hold| hold.failures).saturating_add(1);
    Hold { failures, until: now + backoff.pause(failures) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: Partition = Partition(1);
    const B: Partition = Partition(2);

    #[test]
    fn a_refused_partition_waits_alone_and_longer_each_time() {
        let mut holds = Holds::new(Backoff::new(Duration::from_secs(1), Duration::from_mins(1)));
        let now = Instant::now();
        holds.hold(A, now);
        assert!(holds.is_held(A, now) && !holds.is_held(B, now));
        assert!(!holds.is_held(A, now + Duration::from_secs(1)));
        holds.hold(A, now);
        holds.hold(A, now);
        assert!(holds.is_held(A, now + Duration::from_millis(1900)), "the third pause is at least two seconds");
        assert_eq!(holds.failures(A), 3);
        holds.release(A);
        assert_eq!((holds.is_held(A, now), holds.failures(A)), (false, 0));
    }

    #[test]
    fn a_failed_destination_holds_every_partition() {
        let mut holds = Holds::new(Backoff::new(Duration::from_secs(1), Duration::from_mins(1)));
        let now = Instant::now();
        holds.hold_destination(now);
        assert!(holds.is_held(A, now) && holds.is_held(B, now));
        assert!(holds.next_end(now).is_some());
        holds.release_destination();
        assert!(!holds.is_held(A, now));
        assert_eq!(holds.next_end(now), None);
    }
}

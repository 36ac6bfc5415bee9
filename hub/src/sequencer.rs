//! The order of one channel: a repeat is dropped, the next is delivered, an early one is held back, a hole is seen.
//!
//! Pure: no clock, no IO. Whatever interleaving of repeats, reordering and loss arrives, what comes out is gapless and
//! ascending, provided that every hole is filled in the end. Who fills it, and when, is the shard's affair.

use std::collections::BTreeMap;

use protocol::Offset;

/// What became of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Its offset has been delivered (or is held) already.
    Repeat,
    /// It was the next one: it has been delivered, with those held back behind it.
    Delivered,
    /// Something before it is missing.
    Early,
}

/// Where a channel stands, and what came too early.
#[derive(Debug)]
pub(crate) struct Sequencer<T> {
    top: Offset,
    /// The highest offset that is known to exist; above `top`, there is a hole.
    known: Offset,
    held: BTreeMap<Offset, T>,
    held_limit: usize,
}

impl<T> Sequencer<T> {
    /// A channel in which everything up to `top` has been delivered.
    pub(crate) fn new(top: Offset, held_limit: usize) -> Self {
        Self { top, known: top, held: BTreeMap::new(), held_limit }
    }

    /// The offset delivered last.
    pub(crate) fn top(&self) -> Offset {
        self.top
    }

    /// True while something is known to be missing.
    pub(crate) fn has_hole(&self) -> bool {
        self.known > self.top
    }

    /// Somebody has seen `offset`: if it does not arrive by itself, it has to be fetched.
    pub(crate) fn expect(&mut self, offset: Offset) {
        self.known = self.known.max(offset);
    }

    /// Nobody listens and nobody will miss what came before: go on from here.
    pub(crate) fn jump(&mut self, offset: Offset) {
        *self = Self::new(offset, self.held_limit);
    }

    /// Takes what arrived; `deliver` is called, in order, for each item whose turn has come.
    pub(crate) fn arrive(&mut self, offset: Offset, item: T, mut deliver: impl FnMut(Offset, T)) -> Arrival {
        if offset <= self.top || self.held.contains_key(&offset) {
            return Arrival::Repeat;
        }
        self.expect(offset);
        if offset > self.top.next() {
            // Beyond the limit only the offset is remembered: the backlog has the publication.
            if self.held.len() < self.held_limit {
                self.held.insert(offset, item);
            }
            return Arrival::Early;
        }
        self.top = offset;
        deliver(offset, item);
        while let Some(item) = self.held.remove(&self.top.next()) {
            self.top = self.top.next();
            deliver(self.top, item);
        }
        Arrival::Delivered
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};

    use super::*;

    fn offsets(sequencer: &mut Sequencer<u64>, arrivals: &[u64]) -> (Vec<u64>, Vec<Arrival>) {
        let mut seen = Vec::new();
        let verdicts = arrivals
            .iter()
            .map(|&offset| sequencer.arrive(Offset(offset), offset, |_, item| seen.push(item)))
            .collect();
        (seen, verdicts)
    }

    #[test]
    fn the_next_is_delivered_and_a_repeat_is_dropped() {
        let mut sequencer = Sequencer::new(Offset(4), 8);
        let (seen, verdicts) = offsets(&mut sequencer, &[5, 5, 3, 6]);
        assert_eq!(seen, [5, 6]);
        assert_eq!(verdicts, [Arrival::Delivered, Arrival::Repeat, Arrival::Repeat, Arrival::Delivered]);
        assert!(!sequencer.has_hole());
    }

    #[test]
    fn early_ones_wait_for_the_missing_one() {
        let mut sequencer = Sequencer::new(Offset(0), 8);
        let (seen, _) = offsets(&mut sequencer, &[3, 2, 3]);
        assert!(seen.is_empty() && sequencer.has_hole());
        assert_eq!(offsets(&mut sequencer, &[1]).0, [1, 2, 3]);
        assert!(!sequencer.has_hole());
    }

    #[test]
    fn what_is_not_kept_is_still_known_to_be_missing() {
        let mut sequencer = Sequencer::new(Offset(0), 1);
        offsets(&mut sequencer, &[2, 3]);
        assert_eq!(offsets(&mut sequencer, &[1]).0, [1, 2]);
        assert!(sequencer.has_hole(), "3 was not kept, so it must be fetched");
    }

    #[test]
    fn an_expected_offset_is_a_hole_until_it_arrives() {
        let mut sequencer = Sequencer::new(Offset(1), 8);
        sequencer.expect(Offset(2));
        assert!(sequencer.has_hole());
        offsets(&mut sequencer, &[2]);
        assert!(!sequencer.has_hole());
    }

    /// A timeline of so many, in the order in which it arrives: with losses, repeats and detours.
    fn arrivals() -> impl Strategy<Value = (u64, Vec<u64>)> {
        (1..60_u64).prop_flat_map(|length| (Just(length), collection::vec(1..=length, 0..120)))
    }

    proptest! {
        #[test]
        fn any_interleaving_of_repeats_reordering_and_loss_becomes_the_timeline(
            (length, arrivals) in arrivals(),
            held_limit in 0..6_usize,
            filled_after in collection::vec(0..3_usize, 120),
        ) {
            let mut sequencer = Sequencer::new(Offset(0), held_limit);
            let mut view = Vec::new();
            let fill = |sequencer: &mut Sequencer<u64>, view: &mut Vec<u64>| {
                let next = sequencer.top().next();
                sequencer.arrive(next, next.0, |_, item| view.push(item));
            };
            for (offset, fills) in arrivals.into_iter().zip(filled_after) {
                let before = view.len();
                let arrival = sequencer.arrive(Offset(offset), offset, |_, item| view.push(item));
                prop_assert_eq!(arrival == Arrival::Delivered, view.len() > before);
                for _ in 0..fills {
                    if sequencer.has_hole() {
                        fill(&mut sequencer, &mut view);
                    }
                }
                prop_assert_eq!(view.last().copied().unwrap_or(0), sequencer.top().0);
            }
            sequencer.expect(Offset(length));
            while sequencer.has_hole() {
                fill(&mut sequencer, &mut view);
            }
            prop_assert_eq!(view, (1..=length).collect::<Vec<_>>());
        }
    }
}

//! When an id is closed: once every transaction has ended that may have taken an id up to it.
//!
//! Whoever inserts into a table holds its lock ROW EXCLUSIVE from before an id is taken until after the commit is visible.
//! So of the last id that was given, read *before* a look at the locks, each taker either shows in that look or has ended.
//! A transaction that only reads, however long, holds no such lock and keeps nothing open. (The horizon of a snapshot,
//! `pg_snapshot_xmin`, would wait for those as well, and theirs is the very case that floors are for.)

use std::collections::BTreeSet;

use tokio::time::Instant;

/// A transaction that holds the lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holder {
    /// The server's own name of it. No other transaction has had it since the server started.
    pub transaction: String,
    /// It was prepared (two-phase commit), and named anew by that.
    pub prepared: bool,
}

/// Waits for the end of those who may have taken ids.
#[derive(Default)]
pub(super) struct Closing {
    pending: Option<Pending>,
}

struct Pending {
    id: i64,
    begun: Instant,
    awaited: BTreeSet<Holder>,
}

impl Closing {
    /// Nothing is waited for.
    pub(super) fn is_done(&self) -> bool {
        self.pending.is_none()
    }

    /// `last` was the last id given at `begun`, before `holders` were looked at. An id that is closed now, and when it had
    /// been the last one; none while somebody may still bring one up to it.
    pub(super) fn look(&mut self, begun: Instant, last: i64, holders: &BTreeSet<Holder>) -> Option<(i64, Instant)> {
        let pending = match self.pending.take() {
            Some(mut pending) => {
                pending.see(holders);
                pending
            }
            None => Pending { id: last, begun, awaited: holders.clone() },
        };
        if pending.awaited.is_empty() {
            return Some((pending.id, pending.begun));
        }
        self.pending = Some(pending);
        None
    }
}

impl Pending {
    /// One that is gone may have been prepared: then it is among the prepared ones now, and all of them are waited for.
    fn see(&mut self, holders: &BTreeSet<Holder>) {
        let before = self.awaited.iter().filter(|holder| !holder.prepared).count();
        self.awaited.retain(|holder| holders.contains(holder));
        if self.awaited.iter().filter(|holder| !holder.prepared).count() < before {
            self.awaited.extend(holders.iter().filter(|holder| holder.prepared).cloned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holders by name; those that begin with a minus are prepared.
    fn look(closing: &mut Closing, last: i64, holders: &[&str]) -> Option<i64> {
        let holder = |name: &&str| Holder { transaction: (*name).to_owned(), prepared: name.starts_with('-') };
        closing.look(Instant::now(), last, &holders.iter().map(holder).collect()).map(|(id, _)| id)
    }

    #[test]
    fn an_id_is_closed_at_once_if_nobody_holds_the_lock() {
        let mut closing = Closing::default();
        assert_eq!(look(&mut closing, 5, &[]), Some(5));
        assert_eq!(look(&mut closing, 9, &[]), Some(9));
    }

    #[test]
    fn an_id_waits_for_everybody_who_was_there_and_for_nobody_who_came_later() {
        let mut closing = Closing::default();
        assert_eq!(look(&mut closing, 5, &["a", "b"]), None);
        assert_eq!(look(&mut closing, 9, &["b", "c"]), None);
        assert_eq!(look(&mut closing, 9, &["c", "d"]), Some(5));
    }

    #[test]
    fn one_that_is_prepared_meanwhile_is_waited_for_under_its_new_name() {
        let mut closing = Closing::default();
        assert_eq!(look(&mut closing, 5, &["a", "b"]), None);
        assert_eq!(look(&mut closing, 9, &["-1", "b"]), None);
        assert_eq!(look(&mut closing, 9, &["-1"]), None);
        assert_eq!(look(&mut closing, 9, &["-1", "-2"]), None, "the later one is not waited for");
        assert_eq!(look(&mut closing, 9, &["-2"]), Some(5));
    }

    #[test]
    fn whoever_prepares_all_the_time_keeps_nothing_open() {
        let mut closing = Closing::default();
        assert_eq!(look(&mut closing, 5, &["a", "-1"]), None);
        assert_eq!(look(&mut closing, 6, &["-2"]), None);
        assert_eq!(look(&mut closing, 7, &["-3"]), Some(5));
    }
}

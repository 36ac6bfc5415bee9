//! How far the log has been settled: every transaction with rows under way, in the order of the log.
//!
//! What is confirmed to PostgreSQL is the end of the last transaction before the first that is not settled. Lanes settle
//! rows in any order among each other; the position still moves only over what is complete.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use pgwire_replication::Lsn;
use tokio::sync::watch;

/// A transaction in the ledger. They are counted in the order of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

pub(super) struct Ledger {
    inner: Mutex<Inner>,
    standing: watch::Sender<Standing>,
}

/// What the ledger comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Everything before it is settled.
    pub settled: Lsn,
    /// Transactions that are not.
    pub open: usize,
}

#[derive(Default)]
struct Inner {
    /// The ticket of the first open transaction.
    first: u64,
    open: VecDeque<Transaction>,
    settled: Lsn,
}

#[derive(Default)]
struct Transaction {
    rows: u64,
    /// Known once all its rows are.
    end: Option<Lsn>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { inner: Mutex::default(), standing: watch::Sender::new(Standing::default()) }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// A transaction begins.
    pub(super) fn open(&self) -> Ticket {
        let mut inner = self.lock();
        inner.open.push_back(Transaction::default());
        Ticket(inner.first + inner.open.len() as u64 - 1)
    }

    /// It has one more row.
    pub(super) fn row(&self, ticket: Ticket) {
        if let Some(transaction) = self.lock().get(ticket) {
            transaction.rows += 1;
        }
    }

    /// It has no more rows, and ended here.
    pub(super) fn close(&self, ticket: Ticket, end: Lsn) {
        let mut inner = self.lock();
        if let Some(transaction) = inner.get(ticket) {
            transaction.end = Some(end);
        }
        self.advance(inner);
    }

    /// One row each of these transactions is settled.
    pub(super) fn settle(&self, tickets: &[Ticket]) {
        let mut inner = self.lock();
        for ticket in tickets {
            if let Some(transaction) = inner.get(*ticket) {
                transaction.rows = transaction.rows.saturating_sub(1);
            }
        }
        self.advance(inner);
    }

    /// The log has come this far, and nothing in it since the last transaction was ours.
    pub(super) fn pass(&self, reached: Lsn) {
        let mut inner = self.lock();
        if inner.open.is_empty() {
            inner.settled = inner.settled.max(reached);
        }
        self.advance(inner);
    }

    fn advance(&self, mut inner: MutexGuard<'_, Inner>) {
        while let Some(Transaction { rows: 0, end: Some(end) }) = inner.open.front() {
            inner.settled = inner.settled.max(*end);
            inner.open.pop_front();
            inner.first += 1;
        }
        let standing = Standing { settled: inner.settled, open: inner.open.len() };
        // Still under the lock: two lanes must not tell their news in the wrong order.
        self.standing.send_if_modified(|told| std::mem::replace(told, standing) != standing);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn get(&mut self, ticket: Ticket) -> Option<&mut Transaction> {
        let index = usize::try_from(ticket.0.checked_sub(self.first)?).ok()?;
        self.open.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(ledger: &Ledger) -> (u64, usize) {
        let Standing { settled, open } = *ledger.watch().borrow();
        (settled.0, open)
    }

    #[test]
    fn the_position_never_passes_a_transaction_with_a_row_under_way() {
        let ledger = Ledger::new();
        let (first, second) = (ledger.open(), ledger.open());
        for ticket in [first, first, second] {
            ledger.row(ticket);
        }
        ledger.close(first, Lsn(10));
        ledger.close(second, Lsn(20));
        ledger.settle(&[second, first]);
        assert_eq!(standing(&ledger), (0, 2), "one row of the first is still under way");
        ledger.pass(Lsn(30));
        assert_eq!(standing(&ledger), (0, 2));
        ledger.settle(&[first]);
        assert_eq!(standing(&ledger), (20, 0));
    }

    #[test]
    fn rows_settled_before_their_transaction_has_ended_do_not_end_it() {
        let ledger = Ledger::new();
        let ticket = ledger.open();
        ledger.row(ticket);
        ledger.settle(&[ticket]);
        assert_eq!(standing(&ledger), (0, 1));
        ledger.row(ticket);
        ledger.close(ticket, Lsn(10));
        assert_eq!(standing(&ledger), (0, 1));
        ledger.settle(&[ticket]);
        assert_eq!(standing(&ledger), (10, 0));
    }

    #[test]
    fn what_is_not_ours_passes_when_nothing_is_under_way() {
        let ledger = Ledger::new();
        let ticket = ledger.open();
        ledger.close(ticket, Lsn(10));
        assert_eq!(standing(&ledger), (10, 0), "a transaction without a row of ours");
        ledger.pass(Lsn(50));
        ledger.pass(Lsn(40));
        assert_eq!(standing(&ledger), (50, 0));
    }
}

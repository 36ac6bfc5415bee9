//! One ordered stretch of a log: takes its entries batch by batch, carries them in order, and tells how far everything
//! has been settled.
//!
//! A lane never skips: it tries what is left of its batch again, for as long as it takes, and takes no more meanwhile.
//! So its queue fills, and whoever fills it must wait or hold back. Other lanes go on.

use std::sync::Arc;

use protocol::Partition;
use time::OffsetDateTime;
use tokio::{
    select,
    sync::{mpsc, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Row;
use crate::{
    RelayConfig,
    dispatch::{Dispatch, Outcome},
    letter_box::{Letter, LetterBox},
    metrics,
    probe::Probes,
    retry::Backoff,
    status::SourceState,
};

/// Something at a place in a log.
pub(crate) struct Entry<M> {
    pub content: Content,
    pub mark: M,
}

pub(crate) enum Content {
    Row(LogRow),
    /// Was never a row: put aside as it is.
    Poison(Letter),
    /// Nothing to carry; its place only counts as settled in its turn.
    Nothing,
}

/// A row and what a dead letter would say of it. The row's id is its place in `origin`.
pub(crate) struct LogRow {
    pub row: Row,
    pub origin: Arc<str>,
    pub created_at: OffsetDateTime,
}

impl LogRow {
    fn into_letter(self, reason: String, attempts: u32) -> Letter {
        let Row { id, partition, method, payload } = self.row;
        let (source, created_at) = (self.origin.to_string(), self.created_at);
        Letter { source, source_id: id, method, payload, partition, reason, attempts, created_at }
    }
}

/// Takes note of what was settled.
pub(crate) trait Acknowledge: Send {
    /// A place in the log.
    type Mark: Copy + Ord + Send;

    /// The entries at `marks` have arrived or are dead letters. `left` is the lowest that has not, of those that the
    /// lane has taken.
    fn settled(&mut self, marks: &[Self::Mark], left: Option<Self::Mark>);
}

/// What all lanes of a source share.
#[derive(Clone)]
pub(crate) struct Carrier {
    pub config: Arc<RelayConfig>,
    pub dispatch: Dispatch,
    pub letters: Arc<LetterBox>,
    pub probes: Arc<Probes>,
    pub state: Arc<SourceState>,
    pub paused: watch::Receiver<bool>,
}

impl Carrier {
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.config.first_backoff, self.config.longest_backoff)
    }

    /// Only while something is under way: it may end, but not for ever.
    pub(crate) async fn stop_timeout(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        sleep(self.config.stop_timeout).await;
    }
}

pub(crate) struct Lane<A: Acknowledge> {
    pub name: String,
    pub queue: mpsc::Receiver<Entry<A::Mark>>,
    pub acknowledge: A,
    pub carrier: Carrier,
    pub stop: CancellationToken,
}

/// What is left of a batch: rows with their marks, and what needs no destination.
struct Batch<M> {
    rows: Vec<Marked<M>>,
    letters: Vec<Letter>,
    settled: Vec<M>,
}

struct Marked<M> {
    row: LogRow,
    mark: M,
}

impl<M> AsRef<Row> for Marked<M> {
    fn as_ref(&self) -> &Row {
        &self.row.row
    }
}

impl<A: Acknowledge> Lane<A> {
    /// Carries until the stop, or until nobody can fill the queue any more and it is empty.
    pub(crate) async fn run(mut self) {
        let mut entries = Vec::new();
        while self.take(&mut entries).await {
            let batch = Batch::of(&mut entries);
            let stop = self.stop.clone();
            let carrier = self.carrier.clone();
            select! {
                () = self.carry(batch) => {}
                () = carrier.stop_timeout(&stop) => {
                    warn!(lane = self.name, "stopping in the middle of a batch: its rows will come again");
                    break;
                }
            }
        }
        self.carrier.state.recovered(&self.name);
    }

    /// The next entries, all that are there up to a batch. False at the end.
    async fn take(&mut self, entries: &mut Vec<Entry<A::Mark>>) -> bool {
        let limit = usize::from(self.carrier.config.batch_size);
        select! {
            biased;
            () = self.stop.cancelled() => false,
            taken = async {
                // An error means that nobody can pause it any more.
                let _ = self.carrier.paused.wait_for(|paused| !paused).await;
                self.queue.recv_many(entries, limit).await
            } => taken > 0,
        }
    }

    /// Tries until all of the batch is settled. At the stop it ends before the next try.
    async fn carry(&mut self, mut batch: Batch<A::Mark>) {
        let mut failures = 0;
        loop {
            let held = self.attempt(&mut batch, failures).await;
            self.bury(&mut batch.letters).await;
            let progress = !batch.settled.is_empty();
            let left = batch.rows.iter().map(|row| row.mark).min();
            self.acknowledge.settled(&batch.settled, left);
            batch.settled.clear();
            let Some(reason) = held else {
                self.carrier.state.progressed(&self.name);
                return;
            };
            failures = if progress { 1 } else { failures.saturating_add(1) };
            let pause = self.carrier.backoff().pause(failures);
            self.carrier.state.suffers(&self.name, reason);
            select! { () = self.stop.cancelled() => return, () = sleep(pause) => {} }
        }
    }

    /// Delivers what is left and sorts it: some rows stay, and why.
    async fn attempt(&self, batch: &mut Batch<A::Mark>, failures: u32) -> Option<String> {
        if batch.rows.is_empty() {
            return None;
        }
        let source = self.carrier.state.name();
        let begun = Instant::now();
        let outcome = self.carrier.dispatch.deliver(&batch.rows).await;
        ::metrics::histogram!(metrics::BATCH_ROWS, "source" => source).record(small(batch.rows.len()));
        ::metrics::histogram!(metrics::DELIVER_DURATION, "source" => source).record(begun.elapsed());
        ::metrics::counter!(metrics::DELIVERED, "source" => source).increment(count(outcome.delivered.len()));
        ::metrics::counter!(metrics::RETRIED, "source" => source).increment(count(outcome.retried));
        debug!(lane = self.name, rows = batch.rows.len(), "carried {} rows", outcome.delivered.len());
        batch.sort(outcome, failures.saturating_add(1))
    }

    /// Waits for the database as long as it takes: what is acknowledged without its letter would be lost.
    async fn bury(&self, letters: &mut Vec<Letter>) {
        let mut failures = 0;
        while !letters.is_empty() {
            match self.carrier.letters.put(letters).await {
                Ok(put) => {
                    letters.clear();
                    ::metrics::counter!(metrics::DEAD_LETTERED, "source" => self.carrier.state.name()).increment(put);
                }
                Err(error) => {
                    failures += 1;
                    self.carrier.state.suffers(&self.name, error.to_string());
                    sleep(self.carrier.backoff().pause(failures)).await;
                }
            }
        }
    }
}

impl<M: Copy> Batch<M> {
    /// Partitions in one piece each, in their order.
    fn of(entries: &mut Vec<Entry<M>>) -> Self {
        let mut batch = Self { rows: Vec::with_capacity(entries.len()), letters: Vec::new(), settled: Vec::new() };
        for Entry { content, mark } in entries.drain(..) {
            match content {
                Content::Row(row) => batch.rows.push(Marked { row, mark }),
                Content::Poison(letter) => {
                    batch.letters.push(letter);
                    batch.settled.push(mark);
                }
                Content::Nothing => batch.settled.push(mark),
            }
        }
        batch.rows.sort_by_key(|row| row.row.row.partition);
        batch
    }

    /// Keeps the rows that come again, and says why the first of them does.
    fn sort(&mut self, outcome: Outcome, attempts: u32) -> Option<String> {
        let mut delivered = outcome.delivered.into_iter().peekable();
        let mut dead = outcome.dead.into_iter().peekable();
        for (index, marked) in std::mem::take(&mut self.rows).into_iter().enumerate() {
            if delivered.next_if_eq(&index).is_some() {
                self.settled.push(marked.mark);
            } else if let Some((_, reason)) = dead.next_if(|(dead, _)| *dead == index) {
                self.settled.push(marked.mark);
                self.letters.push(marked.row.into_letter(reason, attempts));
            } else {
                self.rows.push(marked);
            }
        }
        outcome.held.into_iter().next().map(|(_, reason): (Partition, String)| reason)
    }
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

fn small(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

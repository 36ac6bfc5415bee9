//! Takes a batch to the destination and sorts the verdicts: what is delivered, what is dead, what comes again.
//!
//! Knows no source. Order is kept by one rule: of each partition, only what stands before its first row that must come
//! again is settled. What stands behind it comes again too, even if the destination accepted it: otherwise the refused
//! row would arrive after its successors for good. The repeats are the destination's to drop.

use std::{sync::Arc, time::Duration};

use protocol::{Command, Complaint, Partition};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::{
    Destination, RelayConfig, RelayError, Verdict,
    retry::{Decision, decide},
    source::Row,
};

/// Rows that wait are told so often, whoever carries them and however often they are tried.
const TELL: Duration = Duration::from_mins(1);

/// What became of a batch. Each row is in exactly one of the three: delivered, dead, or left where it was.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Accepted: indexes into the batch.
    pub delivered: Vec<usize>,
    /// Never passes: index into the batch, and why.
    pub dead: Vec<(usize, String)>,
    /// Partitions with a row that comes again, and why. In order, each once.
    pub held: Vec<(Partition, String)>,
    /// How many rows come again.
    pub retried: usize,
    /// The destination failed as a whole; `held` has the partitions of the batch.
    pub unreachable: bool,
}

impl Outcome {
    /// The rows that come again. `delivered` and `dead` are in the order of the batch.
    pub(crate) fn left<'a>(&self, rows: &'a [Row]) -> impl Iterator<Item = &'a Row> {
        let (mut delivered, mut dead) = (self.delivered.iter().peekable(), self.dead.iter().peekable());
        let left = rows.iter().enumerate().filter(move |(index, _)| {
            delivered.next_if_eq(&index).is_none() && dead.next_if(|(dead, _)| dead == index).is_none()
        });
        left.map(|(_, row)| row)
    }
}

/// The way to the destination.
#[derive(Clone)]
pub(crate) struct Dispatch {
    destination: Arc<dyn Destination>,
    away: Arc<Complaint>,
    refused: Arc<Complaint>,
    patience: Duration,
    largest_payload: usize,
}

impl Dispatch {
    pub(crate) fn new(destination: Arc<dyn Destination>, config: &RelayConfig) -> Self {
        // A refused partition is tried again after a pause, and others get on meanwhile.
        let refused = Complaint::new(TELL).over_after(config.longest_backoff.saturating_mul(2));
        Self {
            destination,
            away: Arc::new(Complaint::new(TELL)),
            refused: Arc::new(refused),
            patience: config.deliver_timeout,
            largest_payload: config.largest_payload,
        }
    }

    /// Delivers rows that are in order within each partition, each partition in one piece.
    pub(crate) async fn deliver<R: AsRef<Row>>(&self, rows: &[R]) -> Outcome {
        let mut commands = Vec::with_capacity(rows.len());
        let mut fates = Vec::with_capacity(rows.len());
        for row in rows {
            match self.read(row.as_ref()) {
                Ok(command) => {
                    commands.push(command);
                    fates.push(Ok(()));
                }
                Err(error) => fates.push(Err(error)),
            }
        }
        let answer = if commands.is_empty() { Ok(Vec::new()) } else { self.ask(&commands).await };
        let outcome = sort(rows, fates, answer);
        self.tell(&outcome);
        outcome
    }

    /// Says that rows wait and why, and that they do not wait any more.
    fn tell(&self, outcome: &Outcome) {
        match outcome.held.first() {
            Some((_, reason)) if outcome.unreachable => {
                if let Some(trouble) = self.away.happened() {
                    warn!(rows = outcome.retried, "rows wait, and are tried again until they pass: {reason}{trouble}");
                }
            }
            Some((partition, reason)) => {
                if let Some(trouble) = self.refused.happened() {
                    warn!(rows = outcome.retried, %partition, "rows of partition {partition} wait: {reason}{trouble}");
                }
            }
            None => {}
        }
        if outcome.delivered.is_empty() {
            return;
        }
        if let Some(relief) = self.away.over() {
            info!("the destination takes rows again, {relief}");
        }
        if let Some(relief) = self.refused.over() {
            info!("the destination takes the rows of every partition again, {relief}");
        }
    }

    fn read(&self, row: &Row) -> Result<Command, RelayError> {
        let (bytes, limit) = (row.payload.len(), self.largest_payload);
        if bytes > limit {
            return Err(RelayError::Oversized { bytes, limit });
        }
        Ok(Command::parse(&row.method, &row.payload)?)
    }

    async fn ask(&self, commands: &[Command]) -> Result<Vec<Verdict>, RelayError> {
        let verdicts = timeout(self.patience, self.destination.deliver(commands))
            .await
            .map_err(|_| RelayError::Overdue(self.patience))?
            .map_err(RelayError::Unreachable)?;
        if verdicts.len() == commands.len() {
            Ok(verdicts)
        } else {
            Err(RelayError::Miscounted { commands: commands.len(), verdicts: verdicts.len() })
        }
    }
}

/// Applies the rule of the module. `fates` says which rows were readable, `answer` has one verdict for each of those.
fn sort<R: AsRef<Row>>(
    rows: &[R],
    fates: Vec<Result<(), RelayError>>,
    answer: Result<Vec<Verdict>, RelayError>,
) -> Outcome {
    let mut outcome = Outcome { delivered: Vec::with_capacity(rows.len()), ..Outcome::default() };
    let (mut verdicts, failure) = match answer {
        Ok(verdicts) => (verdicts.into_iter(), None),
        Err(error) => (Vec::new().into_iter(), Some(error.to_string())),
    };
    outcome.unreachable = failure.is_some();

    for (index, (row, fate)) in rows.iter().map(AsRef::as_ref).zip(fates).enumerate() {
        // A verdict is taken for each readable row, also where it is not heeded.
        let fate = fate.and_then(|()| verdicts.next().map(heed).transpose());
        if outcome.held.last().is_some_and(|(partition, _)| *partition == row.partition) {
            outcome.retried += 1;
            continue;
        }
        match fate {
            Ok(Some(())) => outcome.delivered.push(index),
            Err(error) if decide(&error) == Decision::DeadLetter => outcome.dead.push((index, error.to_string())),
            Err(error) => outcome.again(row.partition, error.to_string()),
            // No verdict at all: the destination failed before it gave any.
            Ok(None) => outcome.again(row.partition, failure.clone().unwrap_or_default()),
        }
    }
    outcome
}

fn heed(verdict: Verdict) -> Result<(), RelayError> {
    match verdict {
        Verdict::Accepted => Ok(()),
        Verdict::Rejected { code, reason } => Err(RelayError::Rejected { code, reason }),
        Verdict::Retry { reason } => Err(RelayError::Refused { reason }),
    }
}

impl Outcome {
    fn again(&mut self, partition: Partition, reason: String) {
        self.held.push((partition, reason));
        self.retried += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DestinationError;

    const SHOUT: &str = "shout"; // no such method

    fn rows(of: &[(i16, &str)]) -> Vec<Row> {
        let row = |(id, (partition, method)): (i64, &(i16, &str))| Row {
            id,
            partition: Partition(*partition),
            method: (*method).to_owned(),
            payload: r#"{"channel":"room:1","data":{}}"#.to_owned(),
        };
        (1..).zip(of).map(row).collect()
    }

    fn sorted(of: &[(i16, &str)], answer: Result<Vec<Verdict>, RelayError>) -> Outcome {
        let rows = rows(of);
        let fates = rows.iter().map(|row| Ok(Command::parse(&row.method, &row.payload).map(|_| ())?)).collect();
        sort(&rows, fates, answer)
    }

    fn dead(outcome: &Outcome) -> Vec<usize> {
        outcome.dead.iter().map(|(index, _)| *index).collect()
    }

    fn held(outcome: &Outcome) -> Vec<i16> {
        outcome.held.iter().map(|(partition, _)| partition.0).collect()
    }

    fn retry() -> Verdict {
        Verdict::Retry { reason: "full".into() }
    }

    #[test]
    fn what_follows_a_refused_row_of_its_partition_comes_again_even_if_accepted() {
        let batch = [(1, "publish"), (1, "publish"), (1, "publish"), (1, SHOUT), (2, "publish")];
        let outcome = sorted(&batch, Ok(vec![Verdict::Accepted, retry(), Verdict::Accepted, Verdict::Accepted]));
        assert_eq!(outcome.delivered, [0, 4]);
        assert_eq!(held(&outcome), [1]);
        assert_eq!(outcome.held[0].1, "not accepted yet: full");
        assert_eq!((outcome.retried, dead(&outcome), outcome.unreachable), (3, vec![], false));
    }

    #[test]
    fn a_rejected_row_does_not_hold_its_successors() {
        let rejected = Verdict::Rejected { code: 102, reason: "unknown channel".into() };
        let batch = [(1, "publish"), (1, SHOUT), (1, "publish")];
        let outcome = sorted(&batch, Ok(vec![rejected, Verdict::Accepted]));
        assert_eq!((dead(&outcome), outcome.delivered.as_slice()), (vec![0, 1], [2].as_slice()));
        assert_eq!(outcome.dead[0].1, "rejected: unknown channel (code 102)");
        assert!(outcome.dead[1].1.starts_with("unknown method \"shout\""), "{}", outcome.dead[1].1);
    }

    #[test]
    fn a_failed_destination_makes_no_dead_letter_of_a_readable_row() {
        let batch = [(1, SHOUT), (1, "publish"), (1, SHOUT), (2, "publish")];
        let outcome = sorted(&batch, Err(RelayError::Unreachable(DestinationError::new("connection refused"))));
        assert_eq!((dead(&outcome), held(&outcome), outcome.retried), (vec![0], vec![1, 2], 3));
        assert!(outcome.delivered.is_empty() && outcome.unreachable);
        assert_eq!(outcome.held[1].1, "the destination failed: connection refused");
    }
}

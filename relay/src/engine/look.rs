//! Looks at the topics: which partitions there are, where they begin and end, and whether their brokers answer at all.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{
    consumer::{Consumer as _, StreamConsumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use tokio::task::spawn_blocking;

use super::{context::Heard, state::Positions};
use crate::source::kafka::{client::Place, topics::partitions_of};

/// How long the brokers may take for one answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What there is in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The oldest record.
    pub low: i64,
    /// Where the next record will be written.
    pub high: i64,
}

pub(super) type Ends = BTreeMap<Place, End>;

/// All partitions of these topics. An error if any cannot be asked.
pub(super) async fn ends(consumer: &Arc<StreamConsumer<Heard>>, topics: &[String]) -> KafkaResult<Ends> {
    let (consumer, topics) = (Arc::clone(consumer), topics.to_vec());
    let asked = spawn_blocking(move || {
        let mut ends = Ends::new();
        for topic in topics {
            let partitions = partitions_of(consumer.client(), &topic, PATIENCE)?;
            if partitions.is_empty() {
                return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
            }
            for partition in partitions {
                let (low, high) = consumer.fetch_watermarks(&topic, partition, PATIENCE)?;
                ends.insert((topic.clone(), partition), End { low, high });
            }
        }
        Ok(ends)
    });
    asked.await.unwrap_or(Err(KafkaError::Canceled))
}

/// What has to change, given where the reader stood before the look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Where to go on, in these partitions.
    pub to: Positions,
    /// Some records were gone before they were read.
    pub missed: bool,
}

/// Partitions that are new are read from their beginning; where the place is gone, from the end.
pub(super) fn compare(before: &Positions, now: &Positions, ends: &Ends) -> Change {
    let mut change = Change::default();
    for (place, end) in ends {
        match (before.get(place), now.get(place)) {
            (Some(before), Some(now)) if *before <= end.high && *now >= end.low => {}
            (None, _) | (_, None) => {
                change.to.insert(place.clone(), end.low);
            }
            (Some(_), Some(_)) => {
                change.to.insert(place.clone(), end.high);
                change.missed = true;
            }
        }
    }
    change
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(of: &[(i32, i64)]) -> Positions {
        of.iter().map(|(partition, next)| (("t".to_owned(), *partition), *next)).collect()
    }

    fn there(of: &[(i32, i64, i64)]) -> Ends {
        of.iter().map(|(partition, low, high)| (("t".to_owned(), *partition), End { low: *low, high: *high })).collect()
    }

    fn changed(before: i64, now: i64, low: i64, high: i64) -> Change {
        compare(&positions(&[(0, before)]), &positions(&[(0, now)]), &there(&[(0, low, high)]))
    }

    #[test]
    fn a_place_within_the_partition_is_kept_also_if_the_reader_has_gone_on_meanwhile() {
        assert_eq!(changed(5, 5, 0, 9), Change::default());
        assert_eq!(changed(9, 12, 0, 9), Change::default(), "records came after the look");
        assert_eq!(changed(5, 12, 10, 12), Change::default(), "read before the old ones went");
    }

    #[test]
    fn a_place_that_is_gone_is_left_for_the_end_and_that_is_told() {
        let to_end = |high| Change { to: positions(&[(0, high)]), missed: true };
        assert_eq!(changed(5, 5, 6, 20), to_end(20), "pruned");
        assert_eq!(changed(5, 5, 0, 2), to_end(2), "made anew");
    }

    #[test]
    fn a_new_partition_is_read_from_its_beginning() {
        let change = compare(&positions(&[(0, 5)]), &positions(&[(0, 5)]), &there(&[(0, 0, 5), (1, 0, 3)]));
        assert_eq!(change, Change { to: positions(&[(1, 0)]), missed: false });
    }
}

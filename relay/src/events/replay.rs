//! Reads topics again from their beginning to where they ended when this began.
//!
//! It assigns itself every partition and belongs to no group: nobody's position moves, and a consumer that runs keeps its
//! partitions. What is written meanwhile is that consumer's. So a read model that is emptied first and replayed then has
//! every event: those from before the end was looked up from here, the later ones from the consumer, some from both.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::{KafkaError, KafkaResult},
};
use tokio::{select, time::sleep};
use tracing::debug;

use super::{
    EventSink, EventsConfig,
    batch::{Applier, Batch},
    position::{Position, Quiet, bystander, positions},
};
use crate::{KafkaConfig, RelayError, letter_box::LetterBox};

/// How long Kafka may be silent while records are expected.
const PATIENCE: Duration = Duration::from_secs(30);

/// How far a replay has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Records that were read and applied.
    pub records: u64,
    /// Records there are to read.
    pub total: u64,
}

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Records that were read.
    pub records: u64,
    /// Dead letters that were made of them.
    pub dead_letters: u64,
}

/// Gives the sink every record that is in the topics now, from the beginning. An error leaves it in the middle: again.
pub async fn replay(
    config: &EventsConfig,
    sink: Arc<dyn EventSink>,
    mut progressed: impl FnMut(Progress),
) -> Result<Replayed, RelayError> {
    let positions = positions(&config.kafka).await?;
    let letters = Arc::new(LetterBox::new(&config.database_url));
    let total = positions.iter().map(|position| count(position.end - position.beginning)).sum();
    let mut replayed = Replayed::default();
    progressed(Progress { records: 0, total });
    for topic in &config.kafka.topics {
        let (sink, letters, timeout) = (Arc::clone(&sink), Arc::clone(&letters), config.apply_timeout);
        let applier = Applier { topic: topic.as_str().into(), sink, letters, timeout };
        let mut stretch = Stretch::of(&config.kafka, topic, &positions)?;
        let before = replayed.records;
        while !stretch.is_read() {
            let mut batch = stretch.next(config.batch_records, config.batch_bytes).await?;
            replayed.dead_letters += apply(&applier, config, &mut batch).await?;
            replayed.records = before + stretch.records();
            progressed(Progress { records: replayed.records, total });
        }
    }
    Ok(replayed)
}

/// A few tries: a database that restarts is back by then, and a person is waiting.
async fn apply(applier: &Applier, config: &EventsConfig, batch: &mut Batch) -> Result<u64, RelayError> {
    for failures in 1..8 {
        match applier.apply(batch).await {
            Ok(letters) => return Ok(letters),
            Err(error) => debug!(%error, failures, "trying again"),
        }
        sleep(config.backoff().pause(failures)).await;
    }
    applier.apply(batch).await
}

/// One topic, from the beginning to where it ended.
struct Stretch {
    consumer: StreamConsumer<Quiet>,
    topic: Arc<str>,
    partitions: BTreeMap<i32, Span>,
}

struct Span {
    beginning: i64,
    next: i64,
    end: i64,
}

impl Stretch {
    fn of(config: &KafkaConfig, topic: &str, positions: &[Position]) -> KafkaResult<Self> {
        let consumer: StreamConsumer<Quiet> = bystander(config, &format!("{}-replay", config.group))
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", "65536")
            .create_with_context(Quiet)?;
        let mut list = TopicPartitionList::new();
        let mut partitions = BTreeMap::new();
        for &Position { partition, beginning, end, .. } in positions.iter().filter(|position| position.topic == topic) {
            list.add_partition_offset(topic, partition, Offset::Offset(beginning))?;
            partitions.insert(partition, Span { beginning, next: beginning, end });
        }
        consumer.assign(&list)?;
        Ok(Self { consumer, topic: topic.into(), partitions })
    }

    fn is_read(&self) -> bool {
        self.partitions.values().all(|span| span.next >= span.end)
    }

    /// How many records were read. (Places that retention or a transaction left empty count as well.)
    fn records(&self) -> u64 {
        self.partitions.values().map(|span| count(span.next - span.beginning)).sum()
    }

    /// What is there, up to a batch.
    async fn next(&mut self, records: usize, bytes: usize) -> Result<Batch, RelayError> {
        let mut batch = Batch::default();
        while !self.is_read() && batch.records < records && batch.bytes < bytes {
            let received = select! {
                biased;
                received = self.consumer.recv() => received,
                () = std::future::ready(()), if batch.records > 0 => break,
                () = sleep(PATIENCE) => return Err(RelayError::KafkaSilent(PATIENCE)),
            };
            match received {
                Ok(record) => {
                    let Some(span) = self.partitions.get_mut(&record.partition()) else { continue };
                    if record.offset() < span.end {
                        batch.add(&self.topic, &record);
                    }
                    span.next = span.end.min(record.offset() + 1);
                }
                Err(KafkaError::PartitionEOF(partition)) => {
                    // Whatever is missing below the end is gone: there was nothing to read.
                    self.partitions.entry(partition).and_modify(|span| span.next = span.end);
                }
                Err(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(error.into()),
                Err(error) => debug!(%error, "Kafka has trouble"),
            }
        }
        Ok(batch)
    }
}

fn count(records: i64) -> u64 {
    u64::try_from(records).unwrap_or_default()
}

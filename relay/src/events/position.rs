//! How far a group has come in a topic, asked of the brokers by somebody who is no member.

use std::time::Duration;

use rdkafka::{
    ClientConfig, ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::{KafkaConfig, RelayError, clients, source::kafka::topics::partitions_of};

/// How long the brokers may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The oldest record that is there.
    pub beginning: i64,
    /// The next record that the group will read after a restart; none if it never committed.
    pub committed: Option<i64>,
    /// Where the next record will be written.
    pub end: i64,
}

impl Position {
    /// Records that the group has not committed.
    pub fn lag(&self) -> i64 {
        (self.end - self.committed.unwrap_or(self.beginning).max(self.beginning)).max(0)
    }
}

/// The positions of the group in each partition of its topics, in order. A topic that does not exist has none.
pub async fn positions(config: &KafkaConfig) -> Result<Vec<Position>, RelayError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let config = config.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&config)).await;
        match asked.map_err(|error| RelayError::Panicked(error.to_string()))? {
            Err(error) if passes(&error) && Instant::now() < deadline => {
                debug!(%error, "asking again");
                sleep(PAUSE).await;
            }
            asked => return Ok(asked?),
        }
    }
}

/// A topic that is new, or whose broker is, has no leader for a moment; nor has a group.
fn passes(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::NotCoordinator
                | Code::CoordinatorNotAvailable
                | Code::CoordinatorLoadInProgress
        )
    )
}

fn ask(config: &KafkaConfig) -> KafkaResult<Vec<Position>> {
    let consumer: BaseConsumer<Quiet> = bystander(config, &config.group).create_with_context(Quiet)?;
    let mut positions = Vec::new();
    for topic in &config.topics {
        let mut list = TopicPartitionList::new();
        for partition in partitions_of(consumer.client(), topic, PATIENCE)? {
            list.add_partition(topic, partition);
        }
        if list.count() == 0 {
            continue;
        }
        for element in consumer.committed_offsets(list, PATIENCE)?.elements() {
            let partition = element.partition();
            let (beginning, end) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
            let committed = if let Offset::Offset(offset) = element.offset() { Some(offset) } else { None };
            positions.push(Position { topic: topic.clone(), partition, beginning, committed, end });
        }
    }
    Ok(positions)
}

/// Whoever asks is answered with an error; the end of a partition, which librdkafka calls one, is none.
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, "Kafka: {reason}");
    }
}

impl ConsumerContext for Quiet {}

/// A client that never joins and never commits. (librdkafka wants the name of a group all the same.)
pub(super) fn bystander(config: &KafkaConfig, group: &str) -> ClientConfig {
    let mut client = clients::named("roomcast-bystander", &config.brokers);
    client.set("group.id", group).set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    clients::told(client, &config.settings)
}

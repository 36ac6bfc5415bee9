//! How far a group has come in a topic, asked of the brokers by somebody who is no member.

use std::time::Duration;

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
};
use serde::Serialize;

use crate::{KafkaConfig, RelayError};

/// How long the brokers may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

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
    let config = config.clone();
    let asked = tokio::task::spawn_blocking(move || ask(&config)).await;
    Ok(asked.map_err(|error| RelayError::Panicked(error.to_string()))??)
}

fn ask(config: &KafkaConfig) -> KafkaResult<Vec<Position>> {
    let consumer: BaseConsumer = bystander(config, &config.group).create()?;
    let mut positions = Vec::new();
    for topic in &config.topics {
        let mut list = TopicPartitionList::new();
        for partition in partitions(&consumer, topic)? {
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

/// A client that never joins and never commits. (librdkafka wants the name of a group all the same.)
pub(super) fn bystander(config: &KafkaConfig, group: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.brokers)
        .set("client.id", "roomcast-bystander")
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("allow.auto.create.topics", "false")
        .set("socket.nagle.disable", "true");
    for (name, value) in &config.settings {
        client.set(name, value);
    }
    client
}

/// The numbers of a topic's partitions; none if there is no such topic.
pub(super) fn partitions(consumer: &BaseConsumer, topic: &str) -> KafkaResult<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let Some(found) = metadata.topics().first() else { return Ok(Vec::new()) };
    match found.error().map(Into::into) {
        None => {}
        Some(rdkafka::error::RDKafkaErrorCode::UnknownTopicOrPartition) => return Ok(Vec::new()),
        Some(code) => return Err(KafkaError::MetadataFetch(code)),
    }
    let mut numbers: Vec<_> = found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

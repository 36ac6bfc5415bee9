//! Reads with one consumer: takes its place, hands over what comes, and looks from time to time whether all is well.

use std::{collections::BTreeMap, convert::Infallible, future::ready, sync::Arc, time::Duration};

use protocol::Command;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{Consumer as _, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use tokio::{select, sync::mpsc, time::sleep};
use tracing::{debug, info, warn};

use super::{
    Listener,
    context::Heard,
    look::{self, Change, Ends, compare},
    metrics, record,
    state::{Positions, State},
};
use crate::{RelayError, source::kafka::client::Place};

/// How much is handed over at once.
const RECORDS: usize = 1000;
const BYTES: usize = 4 << 20;

pub(super) struct Reader {
    pub consumer: Arc<StreamConsumer<Heard>>,
    pub publications: String,
    pub nodes: String,
    pub listener: Arc<dyn Listener>,
    pub state: Arc<State>,
}

/// What is handed over together.
#[derive(Default)]
struct Batch {
    commands: Vec<Command>,
    said: Vec<Vec<u8>>,
    /// The record after the last, of each partition.
    next: BTreeMap<Place, i64>,
    records: usize,
    bytes: usize,
}

/// Where the reader stood before a look, and what it saw.
type Look = (Positions, Ends);

impl Reader {
    /// At the end if this is the first time, else where the tail stood. The ends are asked for here and not left to the
    /// consumer, which would find them with its first fetch, some time later: between the two a client could come.
    pub(super) async fn begin(&mut self) -> Result<(), RelayError> {
        let mut stood = self.state.positions();
        let ends = self.look().await?;
        if stood.is_empty() {
            stood = ends.iter().map(|(place, end)| (place.clone(), end.high)).collect();
            info!(partitions = stood.len(), "reading {} partitions from their ends", stood.len());
        }
        stood.retain(|place, _| ends.contains_key(place)); // a topic that was made anew may have fewer
        self.go(stood.clone(), compare(&stood, &stood, &ends)).await?;
        self.state.sees(&ends);
        Ok(())
    }

    /// Until the consumer is of no more use.
    pub(super) async fn run(&self, look_interval: Duration) -> Result<(), RelayError> {
        let (tell, mut looks) = mpsc::channel(1);
        select! {
            ended = self.read(&mut looks) => ended,
            ended = self.watch(look_interval, tell) => ended.map(|never| match never {}),
        }
    }

    async fn read(&self, looks: &mut mpsc::Receiver<Look>) -> Result<(), RelayError> {
        loop {
            select! {
                biased;
                Some((before, ends)) = looks.recv() => {
                    let now = self.state.positions();
                    let change = compare(&before, &now, &ends);
                    self.go(now, change).await?;
                }
                batch = self.next() => self.hand_over(batch?).await,
            }
        }
    }

    /// At least one record, and what else is there. Waits for the first alone, so it is cancel-safe.
    async fn next(&self) -> Result<Batch, RelayError> {
        let mut batch = Batch::default();
        while batch.records < RECORDS && batch.bytes < BYTES {
            let received = select! {
                biased;
                received = self.consumer.recv() => received,
                () = ready(()), if batch.records > 0 => break,
            };
            match received {
                Ok(record) => self.add(&mut batch, &record),
                // The place is gone, or the consumer is: another one will see.
                Err(
                    error @ (KafkaError::MessageConsumptionFatal(_)
                    | KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset)),
                ) => return Err(error.into()),
                Err(error) => debug!(%error, "the consumer gets over this by itself"),
            }
        }
        Ok(batch)
    }

    fn add(&self, batch: &mut Batch, record: &BorrowedMessage<'_>) {
        let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
        batch.records += 1;
        batch.bytes += record.payload_len();
        batch.next.insert((topic.to_owned(), partition), offset + 1);
        if topic == self.nodes {
            batch.said.push(record.payload().unwrap_or_default().to_vec());
            return read_as("node");
        }
        match record::command(record.payload()) {
            Ok(command) => {
                batch.commands.push(command);
                read_as("command");
            }
            // A hub has no table to put it in; the topic keeps it for those who look.
            Err(error) => {
                read_as("unreadable");
                warn!(topic, partition, offset, "record {offset} of {topic}/{partition} is skipped: {error}");
            }
        }
    }

    async fn hand_over(&self, batch: Batch) {
        if !batch.commands.is_empty() {
            self.listener.publications(batch.commands).await;
        }
        if !batch.said.is_empty() {
            self.listener.said(batch.said).await;
        }
        self.state.moved(batch.next);
    }

    /// Goes on from there. Nobody is told of a place before everything behind it is sure to be read.
    async fn go(&self, mut positions: Positions, change: Change) -> Result<(), RelayError> {
        positions.extend(change.to);
        let mut list = TopicPartitionList::new();
        for ((topic, partition), next) in &positions {
            list.add_partition_offset(topic, *partition, Offset::Offset(*next))?;
        }
        self.consumer.assign(&list)?;
        self.state.place(positions);
        if change.missed {
            ::metrics::counter!(metrics::MISSED).increment(1);
            warn!("records were gone before they were read; clients are sent to their backlogs");
            self.listener.missed().await;
        }
        Ok(())
    }

    /// Looks whether all partitions can be reached, and tells the reader if something is not where it should be.
    async fn watch(&self, interval: Duration, tell: mpsc::Sender<Look>) -> Result<Infallible, RelayError> {
        loop {
            sleep(interval).await;
            let before = self.state.positions();
            match self.look().await {
                Ok(ends) => {
                    self.state.sees(&ends);
                    if compare(&before, &self.state.positions(), &ends) != Change::default() {
                        // If the reader has not heard the last one yet, the next will do.
                        let _ = tell.try_send((before, ends));
                    }
                }
                // Somebody has deleted a topic: it is made again.
                Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {
                    return Err(error.into());
                }
                Err(error) => self.state.suffers(error.to_string()),
            }
        }
    }

    async fn look(&self) -> Result<Ends, KafkaError> {
        look::ends(&self.consumer, &[&self.publications, &self.nodes].map(Clone::clone)).await
    }
}

fn read_as(kind: &'static str) {
    ::metrics::counter!(metrics::RECORDS, "kind" => kind).increment(1);
}

//! Records that are applied together, and one try to do so.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{Message, message::BorrowedMessage};
use tokio::time::{Instant, timeout};

use super::{
    metrics,
    record::{Reading, letter, read},
    sink::{Event, EventSink, EventVerdict, SinkError},
};
use crate::{
    RelayError,
    letter_box::{Letter, LetterBox},
};

/// Records of one topic, in the order of each partition.
#[derive(Default)]
pub(super) struct Batch {
    events: Vec<Event>,
    letters: Vec<Letter>,
    /// The newest offset of each partition.
    pub(super) offsets: BTreeMap<i32, i64>,
    pub(super) records: usize,
    pub(super) bytes: usize,
}

/// Gives batches to a sink, and puts aside what that can never apply.
pub(super) struct Applier {
    pub(super) topic: Arc<str>,
    pub(super) sink: Arc<dyn EventSink>,
    pub(super) letters: Arc<LetterBox>,
    pub(super) timeout: Duration,
}

impl Batch {
    pub(super) fn add(&mut self, topic: &Arc<str>, record: &BorrowedMessage<'_>) {
        self.offsets.insert(record.partition(), record.offset());
        self.records += 1;
        self.bytes += record.payload_len();
        match read(topic, record) {
            Reading::Event(event) => self.events.push(event),
            Reading::Poison(event, reason) => self.letters.push(letter(event, reason)),
            Reading::Tombstone => count(topic, "tombstone"),
        }
    }
}

impl Applier {
    /// Applies what is left of the batch. After an error it can be tried again. Gives how many dead letters it made.
    pub(super) async fn apply(&self, batch: &mut Batch) -> Result<u64, RelayError> {
        if !batch.events.is_empty() {
            let verdicts = self.ask(&batch.events).await.map_err(RelayError::Sink)?;
            for (event, verdict) in batch.events.drain(..).zip(verdicts) {
                match verdict {
                    EventVerdict::Done(outcome) => count(&self.topic, outcome),
                    EventVerdict::Poison { reason } => batch.letters.push(letter(event, reason)),
                }
            }
        }
        if batch.letters.is_empty() {
            return Ok(0);
        }
        let put = self.letters.put(&batch.letters).await?;
        for _ in batch.letters.drain(..) {
            count(&self.topic, "poison");
        }
        ::metrics::counter!(crate::metrics::DEAD_LETTERED, "source" => "events").increment(put);
        Ok(put)
    }

    async fn ask(&self, events: &[Event]) -> Result<Vec<EventVerdict>, SinkError> {
        let begun = Instant::now();
        let answer = timeout(self.timeout, self.sink.apply(events)).await;
        let verdicts =
            answer.unwrap_or_else(|_| Err(SinkError::new(format!("no answer within {:?}", self.timeout))))?;
        if verdicts.len() != events.len() {
            return Err(SinkError::new(format!("{} verdicts for {} events", verdicts.len(), events.len())));
        }
        let topic = || self.topic.to_string();
        ::metrics::histogram!(metrics::APPLY_DURATION, "topic" => topic()).record(begun.elapsed());
        #[expect(clippy::cast_precision_loss, reason = "a batch is far smaller than 2^52")]
        ::metrics::histogram!(metrics::BATCH_SIZE, "topic" => topic()).record(events.len() as f64);
        Ok(verdicts)
    }
}

fn count(topic: &Arc<str>, outcome: &'static str) {
    ::metrics::counter!(metrics::EVENTS, "topic" => topic.to_string(), "outcome" => outcome).increment(1);
}

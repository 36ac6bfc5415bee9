//! A lane for each Kafka partition that is ours: opened by its first record, closed when the partition goes elsewhere.
//!
//! A queue that is nearly full pauses its partition at the consumer, so the others go on; once it has room again, the
//! partition is resumed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use rdkafka::{TopicPartitionList, consumer::Consumer as _};
use tokio::{
    select,
    sync::{Notify, mpsc},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug};

use super::client::{Consumer, Place};
use crate::{
    metrics,
    source::lane::{Acknowledge, Carrier, Entry, Lane},
};

/// Room in a queue above the mark at which its partition is paused, for records that are on their way already.
const RESERVE: usize = 64;

pub(super) struct Lanes {
    consumer: Weak<Consumer>,
    carrier: Carrier,
    queue_rows: usize,
    stop: CancellationToken,
    open: BTreeMap<Place, Open>,
    tasks: JoinSet<()>,
    /// Rings when something was settled: a queue may have room again.
    settled: Arc<Notify>,
}

struct Open {
    queue: mpsc::Sender<Entry<i64>>,
    stop: CancellationToken,
    paused: bool,
}

/// Stores how far a partition is settled; librdkafka commits it.
struct StoreOffset {
    consumer: Weak<Consumer>,
    place: Place,
    settled: Arc<Notify>,
    newest: i64,
    stored: i64,
}

impl Acknowledge for StoreOffset {
    type Mark = i64;

    fn settled(&mut self, offsets: &[i64], left: Option<i64>) {
        self.newest = offsets.iter().copied().max().map_or(self.newest, |offset| offset.max(self.newest));
        let last = left.map_or(self.newest, |left| left - 1);
        if last > self.stored
            && let Some(consumer) = self.consumer.upgrade()
        {
            self.stored = last;
            let (topic, partition) = (self.place.0.as_str(), self.place.1);
            if let Err(error) = consumer.store_offset(topic, partition, last) {
                debug!(%error, topic, partition, "settled after the partition was given up: it comes again elsewhere");
            }
        }
        self.settled.notify_one();
    }
}

impl Lanes {
    pub(super) fn new(consumer: &Arc<Consumer>, carrier: Carrier, queue_rows: usize, stop: CancellationToken) -> Self {
        Self {
            consumer: Arc::downgrade(consumer),
            carrier,
            queue_rows,
            stop,
            open: BTreeMap::new(),
            tasks: JoinSet::new(),
            settled: Arc::default(),
        }
    }

    /// Until a lane has settled something. An error is a lane that panicked. Cancel-safe.
    pub(super) async fn settled(&mut self) -> Result<(), JoinError> {
        loop {
            select! {
                () = self.settled.notified() => return Ok(()),
                Some(ended) = self.tasks.join_next() => ended?, // its partition was given up
            }
        }
    }

    /// Hands an entry to its lane. Waits only if more comes than a paused partition should give.
    pub(super) async fn take(&mut self, place: Place, entry: Entry<i64>) {
        if !self.open.contains_key(&place) {
            let lane = self.start(&place);
            self.open.insert(place.clone(), lane);
        }
        let Some(lane) = self.open.get_mut(&place) else { return };
        // An error means that the lane has ended: the records come again.
        let _ = lane.queue.send(entry).await;
        if !lane.paused && lane.queue.capacity() <= RESERVE {
            lane.paused = true;
            ::metrics::counter!(metrics::KAFKA_PAUSES).increment(1);
            self.at_consumer(&place, "pause", |consumer, list| {
                consumer.context().paused(place.1);
                consumer.pause(list)
            });
        }
    }

    /// Goes on with partitions whose queues have room again.
    pub(super) fn resume(&mut self) {
        let room = RESERVE + self.queue_rows / 2;
        let mut resumed = Vec::new();
        for (place, lane) in &mut self.open {
            if lane.paused && lane.queue.capacity() >= room {
                lane.paused = false;
                resumed.push(place.clone());
            }
        }
        for place in resumed {
            self.at_consumer(&place, "resume", |consumer, list| {
                consumer.context().resumed(place.1);
                consumer.resume(list)
            });
        }
    }

    /// Partitions went elsewhere: what waits in their queues is for others. A batch in flight may end.
    pub(super) fn give_up(&mut self, places: &[Place]) {
        for place in places {
            if let Some(lane) = self.open.remove(place) {
                lane.stop.cancel();
            }
            if let Some(consumer) = self.consumer.upgrade() {
                consumer.context().resumed(place.1);
            }
        }
    }

    /// Until all lanes have ended after the stop.
    pub(super) async fn ended(mut self) {
        self.open.clear();
        while self.tasks.join_next().await.is_some() {}
    }

    fn start(&mut self, place: &Place) -> Open {
        let (queue, receiver) = mpsc::channel(self.queue_rows + RESERVE);
        let stop = self.stop.child_token();
        let acknowledge = StoreOffset {
            consumer: self.consumer.clone(),
            place: place.clone(),
            settled: Arc::clone(&self.settled),
            newest: -1,
            stored: -1,
        };
        let name = format!("kafka/{}/{}", place.0, place.1);
        let lane = Lane { name, queue: receiver, acknowledge, carrier: self.carrier.clone(), stop: stop.clone() };
        self.tasks.spawn(lane.run().in_current_span());
        Open { queue, stop, paused: false }
    }

    fn at_consumer(
        &self,
        place: &Place,
        what: &'static str,
        act: impl FnOnce(&Consumer, &TopicPartitionList) -> rdkafka::error::KafkaResult<()>,
    ) {
        let mut list = TopicPartitionList::new();
        list.add_partition(&place.0, place.1);
        let Some(consumer) = self.consumer.upgrade() else { return };
        if let Err(error) = act(&consumer, &list) {
            debug!(%error, topic = place.0, partition = place.1, "could not {what} a partition: it was given up");
        }
    }
}

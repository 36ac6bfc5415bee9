//! Tells the other nodes who comes to a channel and who leaves it, in order per channel.
//!
//! A shard never waits for the bus: what it announces stands in a queue, and when that is full the others are not told.
//! Presence is asked for, so it stays right; who watches comings and goings alone may see a leave too few.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::future::join_all;
use protocol::Channel;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::{
    message::{Change, Company, Message},
    metrics,
    voice::Voice,
};
use crate::frame::Kind;

/// Comings and goings that may wait to be told.
const QUEUE: usize = 16_384;
/// So many are told at once, each channel's in one message.
const BATCH: usize = 512;

pub(super) struct Herald(mpsc::Sender<News>);

enum News {
    Change(Channel, Change),
    /// Nothing comes any more; answered when everything before has been said.
    End(oneshot::Sender<()>),
}

impl Herald {
    pub(super) fn start(voice: Voice) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        let (tasks, runtime) = (voice.tasks.clone(), voice.runtime.clone());
        tasks.spawn_on(tell(voice, queue), &runtime);
        Self(sender)
    }

    /// Somebody, as others see it, has come or gone on this node.
    pub(super) fn announce(&self, channel: &Channel, kind: Kind, who: &Bytes) {
        let Ok(who) = serde_json::from_slice::<Box<RawValue>>(who) else { return };
        let change = if kind == Kind::Join { Change::Join(who) } else { Change::Leave(who) };
        if self.0.try_send(News::Change(channel.clone(), change)).is_err() {
            metrics::untold();
        }
    }

    /// Waits until everything has been said.
    pub(super) async fn finish(&self) {
        let (done, finished) = oneshot::channel();
        if self.0.send(News::End(done)).await.is_ok() {
            finished.await.ok(); // it has ended by itself
        }
    }
}

async fn tell(voice: Voice, mut queue: mpsc::Receiver<News>) {
    let mut news = Vec::with_capacity(BATCH);
    let ended = voice.ended.clone();
    while let Some(1..) = ended.run_until_cancelled(queue.recv_many(&mut news, BATCH)).await {
        let mut channels: HashMap<Channel, Vec<Change>> = HashMap::new();
        let mut end = None;
        for news in news.drain(..) {
            match news {
                News::Change(channel, change) => channels.entry(channel).or_default().push(change),
                News::End(done) => end = Some(done),
            }
        }
        let says = channels.into_iter().map(async |(channel, changes)| {
            let key = channel.clone();
            // What cannot be said is not said later: by then it is no news.
            voice.say(key.as_str(), &Message::Company(Company { channel, changes })).await.ok();
        });
        join_all(says).await;
        if let Some(done) = end {
            done.send(()).ok(); // it was given up
            return;
        }
    }
}

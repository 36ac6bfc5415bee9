//! Many hubs that are one: what concerns all of them is said on a [`Bus`] and carried out by each when it is heard, the
//! speaker included. So everything that happens in a channel happens everywhere in the same order.
//!
//! A hub that was started alone has none of this, and nothing here costs it anything.

mod bus;
mod calls;
mod hear;
mod heart;
mod herald;
mod message;
mod metrics;
mod roster;
mod survey;
mod voice;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::Channel;
use tokio::{sync::Notify, task::JoinHandle, time::timeout};
use uuid::Uuid;

pub use self::bus::{Bus, BusError};
pub(crate) use self::roster::Here;
use self::{calls::Calls, herald::Herald, message::Message, roster::Roster, survey::Surveys};
pub(crate) use self::{
    survey::{About, Part},
    voice::Voice,
};
use crate::{frame::Kind, hub::Inner};

/// A node's relations to the others.
pub(crate) struct Nodes {
    /// This node.
    id: Uuid,
    voice: Voice,
    calls: Calls,
    surveys: Surveys,
    roster: Roster,
    herald: Herald,
    heart: Mutex<Option<JoinHandle<()>>>,
    /// Somebody has come who does not know this node yet.
    newcomer: Notify,
}

impl Nodes {
    pub(crate) fn new(id: Uuid, voice: Voice, heartbeat: Duration) -> Self {
        metrics::describe();
        Self {
            id,
            herald: Herald::start(voice.clone()),
            voice,
            calls: Calls::default(),
            surveys: Surveys::default(),
            roster: Roster::new(heartbeat),
            heart: Mutex::new(None),
            newcomer: Notify::new(),
        }
    }

    /// For how long this node has not heard itself.
    pub(crate) fn silence(&self) -> Duration {
        self.roster.silence()
    }

    /// The other nodes that are known.
    pub(crate) fn others(&self) -> Vec<(Uuid, Here)> {
        self.roster.others_known()
    }

    /// Tells the other nodes who has come or gone here.
    pub(crate) fn announce(&self, channel: &Channel, kind: Kind, who: &Bytes) {
        self.herald.announce(channel, kind, who);
    }

    /// From now on the others hear that this node is there.
    pub(crate) fn appear(hub: &Arc<Inner>) {
        let context = &hub.context;
        let heart = context.tasks.spawn_on(heart::beat(Arc::downgrade(hub)), &context.runtime);
        if let Some(nodes) = &context.nodes {
            *nodes.heart.lock() = Some(heart);
        }
    }

    /// Says what still has to be said, and that this node goes. Nothing is said afterwards.
    pub(crate) async fn leave(&self, patience: Duration) {
        let heart = self.heart.lock().take();
        let goodbye = async {
            self.herald.finish().await;
            if let Some(heart) = heart {
                heart.await.ok(); // a heartbeat after the goodbye would be believed
            }
            self.voice.say(&self.id.to_string(), &Message::Bye).await.ok(); // the others find out by themselves
        };
        timeout(patience, goodbye).await.ok();
        self.voice.end();
    }
}

//! What a node does about what it hears.

use uuid::Uuid;

use super::{
    Nodes,
    message::{Commands, Message, Order, Said, Unheard},
    metrics,
};
use crate::hub::{Hub, Inner};

impl Hub {
    /// Takes a message of the bus, from whichever node. It has been carried out, or stands in line in order, when this
    /// returns: messages of one key must be handed over one after the other. Waits while the shards are behind.
    ///
    /// What no node of this version can have said is counted and left out. A hub that was started alone hears nothing.
    pub async fn hear(&self, message: &[u8]) {
        let Some(nodes) = &self.inner.context.nodes else { return };
        match Message::parse(message) {
            Ok((from, message)) => {
                metrics::heard(message.kind());
                self.inner.act(nodes, from, message).await;
            }
            Err(Unheard::Unknown) => metrics::heard("unknown"),
            Err(Unheard::Garbage) => metrics::heard("garbage"),
        }
    }

    /// The bus has lost messages that this node should have heard: nobody can say what was in them.
    ///
    /// Channels that the hub counts begin a new epoch, so that their clients know that they may have missed something;
    /// those that the truth counts and somebody hears are compared with it, and what is missing is filled in.
    pub async fn missed(&self) {
        self.inner.lost_track().await;
    }
}

impl Inner {
    async fn act(&self, nodes: &Nodes, from: Uuid, message: Message) {
        match message {
            Message::Commands(Commands { call, commands }) => {
                let known = commands.into_iter().filter_map(|Order(command)| command).collect();
                let outcomes = self.enqueue(known).await;
                if from == nodes.id {
                    nodes.calls.carried_out(call, outcomes);
                }
            }
            Message::Said(Said { call, publish, by }) => {
                let by = by.get().replace('\n', "");
                let outcome = self.enqueue_publication(publish, by.into()).await;
                if from == nodes.id {
                    nodes.calls.carried_out(call, vec![outcome]);
                }
            }
        }
    }
}

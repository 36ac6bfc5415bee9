//! What a node does about what it hears.

use std::{sync::Arc, time::Instant};

use tracing::info;
use uuid::Uuid;

use super::{
    Nodes,
    calls::Outcomes,
    message::{Answer, Change, Commands, Company, Message, Order, Question, Said, Unheard},
    metrics,
    roster::Here,
};
use crate::{
    codes::ErrorCode,
    frame::{Kind, one_line},
    hub::{Hub, Inner},
    shard::ShardCommand,
};

/// An answer is said in parts of about so many bytes.
const PART_BYTES: usize = 128 << 10;

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
    /// those that the truth counts and somebody hears are compared with it, and what is missing is filled in. Where the
    /// truth says who hears what, all clients are closed with 3010: they come back, and it is asked anew.
    pub async fn missed(&self) {
        self.inner.lost_track().await;
    }
}

impl Inner {
    async fn act(self: &Arc<Self>, nodes: &Nodes, from: Uuid, message: Message) {
        match message {
            Message::Commands(Commands { call, commands }) => {
                let outcomes = self.obey(commands).await;
                if from == nodes.id {
                    nodes.calls.carried_out(call, outcomes);
                }
            }
            Message::Said(Said { call, publish, by }) => {
                let by = one_line(&by).as_bytes().to_vec();
                let outcome = self.enqueue_publication(publish, by.into()).await;
                if from == nodes.id {
                    nodes.calls.carried_out(call, vec![outcome]);
                }
            }
            Message::Company(company) if from != nodes.id => self.announce(company).await,
            Message::Here(_) if from == nodes.id => {
                for node in nodes.roster.heard_itself(Instant::now()) {
                    info!(%node, "node {node} has not been heard for a while: it is taken for gone");
                    nodes.surveys.gone(node);
                }
            }
            Message::Here(here) => nodes.greet(from, here),
            Message::Bye if from != nodes.id => {
                info!(node = %from, "node {from} has said goodbye");
                nodes.roster.left(from);
                nodes.surveys.gone(from);
            }
            Message::Question(question) => self.answer(nodes, from, question).await,
            Message::Answer(Answer { to, call, part, last }) if to == nodes.id => {
                nodes.surveys.answered(call, from, part, last);
            }
            Message::Company(_) | Message::Bye | Message::Answer(_) => {}
        }
    }

    /// Hands on what this version knows; one outcome each.
    async fn obey(&self, orders: Vec<Order>) -> Outcomes {
        let known: Vec<bool> = orders.iter().map(|Order(command)| command.is_some()).collect();
        let commands = orders.into_iter().filter_map(|Order(command)| command).collect();
        let mut outcomes = self.enqueue(commands).await.into_iter();
        let outcome =
            |known: bool| if known { outcomes.next() } else { None }.unwrap_or(Err(ErrorCode::METHOD_NOT_FOUND));
        known.into_iter().map(outcome).collect()
    }

    /// Somebody comes or goes on another node.
    async fn announce(&self, company: Company) {
        let Company { channel, changes } = company;
        for change in changes {
            let (kind, who) = match &change {
                Change::Join(who) => (Kind::Join, who),
                Change::Leave(who) => (Kind::Leave, who),
            };
            let who = one_line(who);
            self.send(&channel, ShardCommand::Announce { channel: channel.clone(), kind, who }).await;
        }
    }

    /// Asks the shards here and now, in order with what was heard before; the answer is said when they have it.
    async fn answer(self: &Arc<Self>, nodes: &Nodes, from: Uuid, question: Question) {
        let Question { call, about } = question;
        let finding = self.inquire(about).await;
        let (hub, own) = (Arc::clone(self), from == nodes.id);
        let answer = async move {
            let (Some(nodes), Some(found)) = (&hub.context.nodes, finding.found().await) else { return };
            if own {
                return nodes.surveys.answered(call, from, found, true);
            }
            let mut parts = found.split(PART_BYTES).into_iter().peekable();
            while let Some(part) = parts.next() {
                let last = parts.peek().is_none();
                let answer = Message::Answer(Answer { to: from, call, part, last });
                if nodes.voice.say(&from.to_string(), &answer).await.is_err() {
                    return; // whoever asks finds out by the time that passes
                }
            }
        };
        let stopping = self.context.stopping.clone();
        let answer = async move { stopping.run_until_cancelled(answer).await };
        self.context.tasks.spawn_on(answer, &self.context.runtime);
    }
}

impl Nodes {
    fn greet(&self, node: Uuid, here: Here) {
        let name = here.name.clone();
        if self.roster.other_heard(node, here) {
            info!(%node, name, "node {node} is there");
            self.newcomer.notify_one();
        }
    }
}

//! What can be asked, by clients and by servers: who is in a channel, what was said there, which channels there are.
//! Answers are JSON. Who is there is a question to every node, if there are others; what was said is in the memory of
//! each.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use protocol::Channel;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::{
    admission::matches,
    codes::ErrorCode,
    frame::{Object, one_line},
    hub::Inner,
    nodes::{About, Part},
    shard::{Crowd, HistoryPage, HistoryQuestion, Presence, ShardCommand},
};

/// A question that stands in the shards' queues.
pub(crate) enum Finding {
    Presence(oneshot::Receiver<Presence>),
    Crowd(oneshot::Receiver<Crowd>),
    Channels(String, Vec<oneshot::Receiver<Vec<(Channel, usize)>>>),
}

impl Inner {
    /// `{"presence":{…}}`.
    pub(crate) async fn presence(&self, channel: &Channel) -> Result<Vec<u8>, ErrorCode> {
        let mut clients = Object::with_capacity(256);
        if let Some(nodes) = &self.context.nodes {
            let parts = nodes.survey(&self.context, About::Presence(channel.clone())).await?;
            let present =
                parts.into_iter().filter_map(|part| if let Part::Presence(it) = part { Some(it) } else { None });
            for (client, info) in present.flatten().collect::<BTreeMap<_, _>>() {
                clients.raw_field(&client.to_string(), one_line(&info).as_bytes());
            }
        } else {
            let (answer, answered) = oneshot::channel();
            self.send(channel, ShardCommand::Presence(channel.clone(), answer)).await;
            for (client, info) in answered.await.unwrap_or_default() {
                clients.raw_field(&client.to_string(), &info);
            }
        }
        let mut body = Object::with_capacity(256);
        body.raw_field("presence", &clients.finish());
        Ok(body.finish())
    }

    /// `{"num_clients":…,"num_users":…}`.
    pub(crate) async fn presence_stats(&self, channel: &Channel) -> Result<Vec<u8>, ErrorCode> {
        let (clients, users) = if let Some(nodes) = &self.context.nodes {
            let (mut sum, mut all) = (0, BTreeSet::new());
            for part in nodes.survey(&self.context, About::PresenceStats(channel.clone())).await? {
                if let Part::PresenceStats { clients, mut users } = part {
                    sum += clients;
                    all.append(&mut users);
                }
            }
            (sum, all.len())
        } else {
            let (answer, answered) = oneshot::channel();
            self.send(channel, ShardCommand::Census(channel.clone(), answer)).await;
            let census = answered.await.unwrap_or_default();
            (census.clients, census.users)
        };
        let mut body = Object::with_capacity(48);
        body.field("num_clients", &clients);
        body.field("num_users", &users);
        Ok(body.finish())
    }

    /// The channels that match (all, if there is no pattern) and are heard, with the number of their subscribers.
    pub(crate) async fn channels(&self, pattern: String) -> Result<BTreeMap<String, usize>, ErrorCode> {
        let parts = match &self.context.nodes {
            Some(nodes) => nodes.survey(&self.context, About::Channels(pattern)).await?,
            None => self.inquire(About::Channels(pattern)).await.found().await.into_iter().collect(),
        };
        let mut channels = BTreeMap::new();
        for part in parts {
            let Part::Channels(heard) = part else { continue };
            for (name, subscribers) in heard {
                *channels.entry(name).or_default() += subscribers;
            }
        }
        Ok(channels)
    }

    /// Puts a question to this node into the queues of the shards.
    pub(crate) async fn inquire(&self, about: About) -> Finding {
        match about {
            About::Presence(channel) => {
                let (answer, answered) = oneshot::channel();
                self.send(&channel, ShardCommand::Presence(channel.clone(), answer)).await;
                Finding::Presence(answered)
            }
            About::PresenceStats(channel) => {
                let (answer, answered) = oneshot::channel();
                self.send(&channel, ShardCommand::Crowd(channel.clone(), answer)).await;
                Finding::Crowd(answered)
            }
            About::Channels(pattern) => Finding::Channels(pattern, self.ask_all(ShardCommand::Channels).await),
        }
    }

    /// `{"publications":[…],"epoch":…,"offset":…}`.
    pub(crate) async fn history(&self, channel: &Channel, question: HistoryQuestion) -> Result<Vec<u8>, ErrorCode> {
        let (answer, answered) = oneshot::channel();
        self.send(channel, ShardCommand::History(channel.clone(), question, answer)).await;
        let HistoryPage { publications, position } = answered.await.unwrap_or(Err(ErrorCode::INTERNAL))?;
        let mut body = Object::with_capacity(publications.iter().map(|body| body.len() + 1).sum::<usize>() + 64);
        body.list("publications", &publications);
        if !position.epoch.is_empty() {
            body.field("epoch", &position.epoch);
        }
        if !position.offset.is_zero() {
            body.field("offset", &position.offset);
        }
        Ok(body.finish())
    }
}

impl Finding {
    /// What the shards say; `None` if they have ended.
    pub(crate) async fn found(self) -> Option<Part> {
        Some(match self {
            Self::Presence(answered) => {
                let raw = |info: Bytes| serde_json::from_slice::<Box<RawValue>>(&info);
                let clients = answered.await.ok()?.into_iter();
                Part::Presence(clients.filter_map(|(client, info)| Some((client, raw(info).ok()?))).collect())
            }
            Self::Crowd(answered) => {
                let Crowd { clients, users } = answered.await.ok()?;
                Part::PresenceStats { clients, users }
            }
            Self::Channels(pattern, answers) => {
                let mut channels = BTreeMap::new();
                for answered in answers {
                    let heard = answered.await.ok()?.into_iter();
                    let wanted = heard.filter(|(it, _)| pattern.is_empty() || matches(&pattern, it.as_str()));
                    channels.extend(wanted.map(|(channel, subscribers)| (channel.into(), subscribers)));
                }
                Part::Channels(channels)
            }
        })
    }
}

//! What can be asked, by clients and by servers: who is in a channel, what was said there, which channels there are.
//! Answers are JSON. Who is there is a question to every node, if there are others; what was said is in the memory of
//! each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use protocol::Channel;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    admission::matches,
    codes::ErrorCode,
    frame::{Object, one_line},
    hub::Inner,
    nodes::{About, Part},
    shard::{Census, Crowd, HistoryPage, HistoryQuestion, Presence, ShardCommand},
};

/// A question that stands in the shards' queues.
pub(crate) enum Finding {
    Presence(oneshot::Receiver<Presence>),
    Crowd(oneshot::Receiver<Crowd>),
    Channels(String, Vec<oneshot::Receiver<Vec<(Channel, usize)>>>),
}

impl Inner {
    /// `{"presence":{…}}`.
    pub(crate) async fn presence(self: &Arc<Self>, channel: &Channel) -> Result<Bytes, ErrorCode> {
        if let Some(nodes) = &self.context.nodes {
            return self.survey(nodes, About::Presence(channel.clone())).await;
        }
        let (answer, answered) = oneshot::channel();
        self.send(channel, ShardCommand::Presence(channel.clone(), answer)).await;
        let present = answered.await.unwrap_or_default();
        Ok(presence_of(present.iter().map(|(client, info)| (client, &info[..]))).into())
    }

    /// `{"num_clients":…,"num_users":…}`.
    pub(crate) async fn presence_stats(self: &Arc<Self>, channel: &Channel) -> Result<Bytes, ErrorCode> {
        if let Some(nodes) = &self.context.nodes {
            return self.survey(nodes, About::PresenceStats(channel.clone())).await;
        }
        let (answer, answered) = oneshot::channel();
        self.send(channel, ShardCommand::Census(channel.clone(), answer)).await;
        let Census { clients, users } = answered.await.unwrap_or_default();
        Ok(stats_of(clients, users).into())
    }

    /// `{"channels":{…}}`: those that match (all, if there is no pattern) and are heard, with the number of their
    /// subscribers.
    pub(crate) async fn channels(self: &Arc<Self>, pattern: String) -> Result<Bytes, ErrorCode> {
        let about = About::Channels(pattern);
        if let Some(nodes) = &self.context.nodes {
            return self.survey(nodes, about).await;
        }
        let found = self.inquire(about.clone()).await.found().await;
        Ok(merged(&about, found.into_iter().collect()).into())
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

/// The answers of several nodes as one.
pub(crate) fn merged(about: &About, parts: Vec<Part>) -> Vec<u8> {
    let (mut present, mut clients, mut users, mut heard) = (BTreeMap::new(), 0, BTreeSet::new(), BTreeMap::new());
    for part in parts {
        match part {
            Part::Presence(mut more) => present.append(&mut more),
            Part::PresenceStats { clients: more, users: mut named } => {
                clients += more;
                users.append(&mut named);
            }
            Part::Channels(more) => {
                for (name, subscribers) in more {
                    *heard.entry(name).or_default() += subscribers;
                }
            }
        }
    }
    match about {
        About::Presence(_) => {
            let lines: Vec<_> = present.iter().map(|(client, info)| (client, one_line(info))).collect();
            presence_of(lines.iter().map(|(client, info)| (*client, info.as_bytes())))
        }
        About::PresenceStats(_) => stats_of(clients, users.len()),
        About::Channels(_) => channels_of(&heard),
    }
}

fn presence_of<'a>(present: impl Iterator<Item = (&'a Uuid, &'a [u8])>) -> Vec<u8> {
    let mut clients = Object::with_capacity(256);
    for (client, info) in present {
        clients.raw_field(&client.to_string(), info);
    }
    let mut body = Object::with_capacity(256);
    body.raw_field("presence", &clients.finish());
    body.finish()
}

fn stats_of(clients: usize, users: usize) -> Vec<u8> {
    let mut body = Object::with_capacity(48);
    body.field("num_clients", &clients);
    body.field("num_users", &users);
    body.finish()
}

fn channels_of(heard: &BTreeMap<String, usize>) -> Vec<u8> {
    let mut channels = Object::with_capacity(heard.len() * 48);
    for (name, subscribers) in heard {
        let mut channel = Object::with_capacity(32);
        channel.field("num_clients", subscribers);
        channels.raw_field(name, &channel.finish());
    }
    let mut body = Object::with_capacity(heard.len() * 48 + 16);
    body.raw_field("channels", &channels.finish());
    body.finish()
}

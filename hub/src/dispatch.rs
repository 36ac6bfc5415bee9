//! A command on its way to its shard: checked, encoded where that is possible already, and addressed.

use std::sync::Arc;

use bytes::Bytes;
use protocol::{
    Broadcast, Channel, Command, Disconnect as DisconnectCommand, Offset, Position, Publish, Refresh, Subscribe,
};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    codes::{Disconnect, ErrorCode},
    config::{ChannelOptions, Counting},
    connection::Connection,
    frame::{self, Publication, Said, one_line},
    hub::{Accepted, Inner},
    shard::{Counted, Publishing, ShardCommand, ShardHandle, Target},
    standing::Invitation,
    terms::Grant,
};

/// How a command is answered: now, or once the hub has counted it.
pub(crate) enum Outcome {
    Now(Accepted),
    Later(oneshot::Receiver<Position>),
}

impl Inner {
    /// Publishes for a client: on every node, if there are others.
    pub(crate) async fn publish(&self, publish: Publish, publisher: Bytes) -> Result<Accepted, ErrorCode> {
        if let Some(nodes) = &self.context.nodes {
            return self.say_publication(nodes, publish, &publisher).await;
        }
        self.enqueue_publication(publish, publisher).await?.settle().await
    }

    /// Hands a client's publication to its shard.
    pub(crate) async fn enqueue_publication(&self, publish: Publish, publisher: Bytes) -> Result<Outcome, ErrorCode> {
        let mut prepared = None;
        let outcome =
            self.prepare_publish(publish, Some(publisher), |shard, command| prepared = Some((shard, command)))?;
        if let Some((shard, command)) = prepared
            && self.shards[shard].queue.send(command).await.is_err()
        {
            return Err(ErrorCode::INTERNAL);
        }
        Ok(outcome)
    }

    /// Hands commands to the shards, in order.
    pub(crate) async fn enqueue(&self, commands: Vec<Command>) -> Vec<Result<Outcome, ErrorCode>> {
        let mut outcomes = Vec::with_capacity(commands.len());
        let mut queues: Vec<Vec<ShardCommand>> = self.shards.iter().map(|_| Vec::new()).collect();
        for command in commands {
            outcomes.push(self.prepare(command, |shard, command| queues[shard].push(command)));
        }
        for (shard, queue) in self.shards.iter().zip(queues) {
            if !enqueue(shard, queue).await {
                return outcomes.iter().map(|_| Err(ErrorCode::INTERNAL)).collect();
            }
        }
        outcomes
    }

    /// Checks a command and addresses it to its shard.
    pub(crate) fn prepare(
        &self,
        command: Command,
        mut put: impl FnMut(usize, ShardCommand),
    ) -> Result<Outcome, ErrorCode> {
        match command {
            Command::Publish(publish) => return self.prepare_publish(publish, None, put),
            Command::Broadcast(broadcast) => {
                for channel in &broadcast.channels {
                    self.known(channel)?;
                }
                for publish in each_channel(broadcast) {
                    self.prepare_publish(publish, None, &mut put)?;
                }
            }
            Command::Subscribe(subscribe) => {
                self.known(&subscribe.channel)?;
                let target = target(&subscribe.user, subscribe.client.as_deref())?;
                let shard = self.shard_number(&subscribe.channel);
                let invitation = Box::new(invitation(subscribe));
                put(shard, ShardCommand::Subscribe { invitation, target, done: None });
            }
            Command::Unsubscribe(unsubscribe) => {
                self.known(&unsubscribe.channel)?;
                let target = target(&unsubscribe.user, unsubscribe.client.as_deref())?;
                let channel = unsubscribe.channel;
                put(self.shard_number(&channel), ShardCommand::Unsubscribe { channel, target, done: None });
            }
            Command::Disconnect(disconnect) => self.disconnect(disconnect)?,
            Command::Refresh(refresh) => self.refresh(&refresh),
            Command::HistoryRemove(remove) => {
                if self.known(&remove.channel)? != Counting::Hub {
                    return Err(ErrorCode::NOT_AVAILABLE);
                }
                put(self.shard_number(&remove.channel), ShardCommand::ForgetHistory(remove.channel));
            }
        }
        Ok(Outcome::Now(Accepted::default()))
    }

    /// Encodes a publication, here and not in its shard, wherever its offset is known.
    pub(crate) fn prepare_publish(
        &self,
        publish: Publish,
        publisher: Option<Bytes>,
        mut put: impl FnMut(usize, ShardCommand),
    ) -> Result<Outcome, ErrorCode> {
        let Publish { channel, data, version, version_epoch, idempotency_key, tags, skip_history } = publish;
        let counting = self.known(&channel)?;
        let said = Said { data, tags, publisher };
        let version = version.filter(|version| !version.is_zero());
        let mut answer = None;
        let (counted, outcome) = match (counting, version) {
            (Counting::Truth, Some(offset)) => {
                let epoch = version_epoch.unwrap_or_default();
                let publication = Publication::encode(&channel, offset, &said);
                let accepted = Accepted { epoch: epoch.clone(), offset };
                (Counted::Truth { epoch, publication }, Outcome::Now(accepted))
            }
            (Counting::Hub, version) if !skip_history => {
                let (sender, position) = oneshot::channel();
                answer = Some(sender);
                let version = version.map(|version| (version_epoch.unwrap_or_default(), version));
                (Counted::Hub { said, version }, Outcome::Later(position))
            }
            // A room's publication without a version is one of the moment: someone is typing.
            (Counting::Truth | Counting::Hub | Counting::Nobody, _) => {
                let publication = Publication::encode(&channel, Offset(0), &said);
                (Counted::Nobody { publication }, Outcome::Now(Accepted::default()))
            }
        };
        let idempotency_key = idempotency_key.map(String::into_boxed_str);
        let shard = self.shard_number(&channel);
        put(shard, ShardCommand::Publish(Publishing { channel, counted, idempotency_key, answer }));
        Ok(outcome)
    }

    fn disconnect(&self, disconnect: DisconnectCommand) -> Result<(), ErrorCode> {
        let why = match disconnect.disconnect {
            Some(reason) => Disconnect::from_request(reason).ok_or(ErrorCode::BAD_REQUEST)?,
            None => Disconnect::FORCED,
        };
        for connection in self.connections(&disconnect.user, disconnect.client.as_deref()) {
            if !disconnect.whitelist.contains(&connection.client.to_string()) {
                connection.close(&why);
            }
        }
        Ok(())
    }

    fn refresh(&self, refresh: &Refresh) {
        let expires = refresh.expire_at.filter(|&at| at > 0);
        for connection in self.connections(&refresh.user, refresh.client.as_deref()) {
            if refresh.expired {
                connection.close(&Disconnect::EXPIRED);
            } else {
                self.refreshed(&connection, expires);
                connection.push(&frame::refresh_push(expires));
            }
        }
    }

    /// The connections of a user, or the one of this name.
    fn connections(&self, user: &str, client: Option<&str>) -> Vec<Arc<Connection>> {
        let client = client.filter(|name| !name.is_empty());
        let mut connections = self.context.registry.of_user(user);
        connections.retain(|connection| client.is_none_or(|client| client == connection.client.to_string()));
        connections
    }

    /// Could the command be carried out, as far as its channels go?
    pub(crate) fn check(&self, command: &Command) -> Result<(), ErrorCode> {
        let channels = match command {
            Command::Publish(publish) => std::slice::from_ref(&publish.channel),
            Command::Broadcast(broadcast) => &broadcast.channels,
            Command::Subscribe(subscribe) => std::slice::from_ref(&subscribe.channel),
            Command::Unsubscribe(unsubscribe) => std::slice::from_ref(&unsubscribe.channel),
            Command::HistoryRemove(remove) => std::slice::from_ref(&remove.channel),
            Command::Disconnect(_) | Command::Refresh(_) => &[],
        };
        channels.iter().try_for_each(|channel| self.known(channel).map(|_| ()))
    }

    /// Who counts in the channel; an error for one that cannot be.
    pub(crate) fn known(&self, channel: &Channel) -> Result<Counting, ErrorCode> {
        if channel.as_str().len() > self.context.config.channel_max_length {
            return Err(ErrorCode::BAD_REQUEST);
        }
        let options = self.context.config.options_of(channel);
        options.map(ChannelOptions::counting).ok_or(ErrorCode::UNKNOWN_CHANNEL)
    }
}

/// Waits until what was handed over has been counted, where the hub counts.
pub(crate) async fn settle<E: From<ErrorCode>>(outcomes: Vec<Result<Outcome, ErrorCode>>) -> Vec<Result<Accepted, E>> {
    let mut results = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        results.push(match outcome {
            Ok(outcome) => outcome.settle().await.map_err(E::from),
            Err(error) => Err(error.into()),
        });
    }
    results
}

impl Outcome {
    async fn settle(self) -> Result<Accepted, ErrorCode> {
        match self {
            Self::Now(accepted) => Ok(accepted),
            Self::Later(position) => position.await.map(Accepted::from).map_err(|_| ErrorCode::INTERNAL),
        }
    }
}

/// False if the shard has ended.
async fn enqueue(shard: &ShardHandle, commands: Vec<ShardCommand>) -> bool {
    let mut commands = commands.into_iter();
    while commands.len() > 0 {
        // One reservation for many: a queue with room takes a whole batch without waiting.
        let part = commands.len().min(shard.queue.max_capacity());
        let Ok(permits) = shard.queue.reserve_many(part).await else { return false };
        for (permit, command) in permits.zip(&mut commands) {
            permit.send(command);
        }
    }
    true
}

/// A broadcast is a publish per channel.
pub(crate) fn each_channel(broadcast: Broadcast) -> impl Iterator<Item = Publish> {
    let Broadcast { channels, data, idempotency_key, tags, skip_history } = broadcast;
    channels.into_iter().map(move |channel| Publish {
        idempotency_key: idempotency_key.clone(),
        tags: tags.clone(),
        skip_history,
        ..Publish::new(channel, data.clone())
    })
}

fn invitation(subscribe: Subscribe) -> Invitation {
    let grant = Grant {
        known: None,
        info: subscribe.info.as_deref().map(one_line),
        data: subscribe.data.as_deref().map(one_line),
        expires: subscribe.expire_at.filter(|&at| at > 0),
        overrides: subscribe.overrides,
    };
    Invitation { channel: subscribe.channel, grant, recover: subscribe.recover_since }
}

fn target(user: &str, client: Option<&str>) -> Result<Target, ErrorCode> {
    if user.is_empty() {
        return Err(ErrorCode::BAD_REQUEST);
    }
    // A name that is none of ours is nobody's.
    let client = client.filter(|name| !name.is_empty()).map(|name| name.parse().unwrap_or(Uuid::nil()));
    Ok(Target::User { user: user.into(), client })
}

//! What can be asked about a channel, by clients and by servers: who is there, and what was said. Answers are JSON.

use protocol::Channel;
use tokio::sync::oneshot;

use crate::{
    codes::ErrorCode,
    frame::Object,
    hub::Inner,
    shard::{HistoryPage, HistoryQuestion, ShardCommand},
};

impl Inner {
    /// `{"presence":{…}}`.
    pub(crate) async fn presence(&self, channel: &Channel) -> Vec<u8> {
        let (answer, answered) = oneshot::channel();
        self.send(channel, ShardCommand::Presence(channel.clone(), answer)).await;
        let mut clients = Object::with_capacity(256);
        for (client, info) in answered.await.unwrap_or_default() {
            clients.raw_field(&client.to_string(), &info);
        }
        let mut body = Object::with_capacity(256);
        body.raw_field("presence", &clients.finish());
        body.finish()
    }

    /// `{"num_clients":…,"num_users":…}`.
    pub(crate) async fn presence_stats(&self, channel: &Channel) -> Vec<u8> {
        let (answer, answered) = oneshot::channel();
        self.send(channel, ShardCommand::Census(channel.clone(), answer)).await;
        let census = answered.await.unwrap_or_default();
        let mut body = Object::with_capacity(48);
        body.field("num_clients", &census.clients);
        body.field("num_users", &census.users);
        body.finish()
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

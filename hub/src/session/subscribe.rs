//! Subscriptions that the client asks for: who may, by token, by the channel's options or by the authority.

use std::sync::Arc;

use protocol::Channel;
use tokio::sync::oneshot;
use tracing::debug;

use super::{Session, Unnamed};
use crate::{
    authority::{Access, AuthorityError},
    codes::{Disconnect, ErrorCode},
    config::PRIVATE,
    frame::{Object, write_expiry},
    request::{SubRefresh, Subscribe},
    shard::{Answer, Join, ShardCommand, end_of},
    terms::Grant,
    token::Refusal,
};

impl Session {
    pub(super) async fn subscribe(&self, id: u32, subscribe: Subscribe) -> Result<(), Disconnect> {
        let channel = match self.channel(&subscribe.channel) {
            Ok(channel) => channel,
            Err(unnamed) => return self.turn_down(id, unnamed),
        };
        if self.connection.standing.lock().hears(&channel) {
            return self.fail(id, ErrorCode::ALREADY_SUBSCRIBED);
        }
        if subscribe.kind != 0 {
            return self.fail(id, ErrorCode::NOT_AVAILABLE);
        }
        if subscribe.tf.is_some() {
            return self.fail(id, ErrorCode::BAD_REQUEST);
        }
        let grant = match self.grant(&channel, &subscribe.token).await? {
            Ok(grant) => grant,
            Err(error) => return self.fail(id, error),
        };
        let (done, answered) = oneshot::channel();
        let join = Join::new(Arc::clone(&self.connection), channel.clone(), Answer::Reply { id, done });
        let join = Join {
            grant,
            wishes: subscribe.wishes(),
            recover: subscribe.position(),
            strict: subscribe.strict(),
            ..join
        };
        self.hub.send(&channel, ShardCommand::Join(Box::new(join))).await;
        answered.await.ok(); // without an answer the shard has ended, and with it this connection
        Ok(())
    }

    /// May it, and on which terms?
    async fn grant(&self, channel: &Channel, token: &str) -> Result<Result<Grant, ErrorCode>, Disconnect> {
        let config = &self.hub.context.config;
        let Some(options) = config.options_of(channel) else { return Ok(Err(ErrorCode::UNKNOWN_CHANNEL)) };
        if !token.is_empty() {
            return self.ticket(channel, token).await;
        }
        let anonymous = self.connection.user().is_empty();
        if channel.as_str().starts_with(PRIVATE) && !config.insecure {
            return Ok(Err(ErrorCode::PERMISSION_DENIED));
        }
        let users = named_users(channel).filter(|_| options.allow_user_limited_channels);
        let allowed = match users {
            Some(users) => !anonymous && users.split(',').any(|named| named == self.connection.user()),
            None => options.subscribing().allows(anonymous, false),
        };
        if config.insecure || allowed {
            return Ok(Ok(Grant::default()));
        }
        // A channel that names its users is for nobody else, whoever is asked.
        if users.is_some() || !options.ask_authority || anonymous {
            return Ok(Err(ErrorCode::PERMISSION_DENIED));
        }
        Ok(match self.access(channel).await {
            Ok(Access::Granted(known)) => Ok(Grant { known, ..Grant::default() }),
            Ok(Access::Denied) | Err(AuthorityError::NoSuchChannel) => Err(ErrorCode::PERMISSION_DENIED),
            Err(error) => {
                debug!(channel = %channel, error = &error as &dyn std::error::Error, "could not ask who may hear {channel}");
                Err(ErrorCode::INTERNAL)
            }
        })
    }

    /// What a subscription token grants. One that was made for something else ends the connection.
    async fn ticket(&self, channel: &Channel, token: &str) -> Result<Result<Grant, ErrorCode>, Disconnect> {
        match self.hub.context.tokens.ticket(token).await {
            Ok(ticket) => {
                let client = ticket.client.is_none_or(|client| client == self.connection.client.to_string());
                let ours = ticket.channel == channel.as_str() && ticket.user == self.connection.user() && client;
                if ours { Ok(Ok(ticket.grant)) } else { Err(Disconnect::INVALID_TOKEN) }
            }
            Err(Refusal::Expired) => Ok(Err(ErrorCode::TOKEN_EXPIRED)),
            Err(Refusal::Unknown) => Ok(Err(ErrorCode::INTERNAL)),
            Err(Refusal::Invalid | Refusal::Missing) => Ok(Err(ErrorCode::PERMISSION_DENIED)),
        }
    }

    async fn access(&self, channel: &Channel) -> Result<Access, AuthorityError> {
        let context = &self.hub.context;
        self.connection.standing.lock().start_asking(channel);
        let (authority, channel) = (Arc::clone(&context.authority), channel.clone());
        let user = self.connection.user().to_owned();
        context.ask(async move { authority.access(&user, &channel).await }).await
    }

    /// A new token for a subscription. An expired one is an error: the SDK brings another, and until it does the
    /// subscription keeps the end that it has.
    pub(super) async fn sub_refresh(&self, id: u32, refresh: SubRefresh) -> Result<(), Disconnect> {
        let channel = match self.channel(&refresh.channel) {
            Ok(channel) => channel,
            Err(unnamed) => return self.turn_down(id, unnamed),
        };
        if !self.connection.standing.lock().hears(&channel) {
            return self.fail(id, ErrorCode::PERMISSION_DENIED);
        }
        if refresh.token.is_empty() {
            return self.fail(id, ErrorCode::BAD_REQUEST);
        }
        let grant = match self.ticket(&channel, &refresh.token).await? {
            Ok(grant) => grant,
            Err(ErrorCode::PERMISSION_DENIED) => return Err(Disconnect::INVALID_TOKEN),
            Err(error) => return self.fail(id, error),
        };
        let (answer, answered) = oneshot::channel();
        let expires_at = end_of(grant.expires, self.hub.context.config.expired_sub_close_delay);
        let connection = Arc::clone(&self.connection);
        self.hub
            .send(&channel, ShardCommand::Extend { connection, channel: channel.clone(), expires_at, answer })
            .await;
        if !answered.await.unwrap_or(false) {
            return self.fail(id, ErrorCode::PERMISSION_DENIED);
        }
        let mut body = Object::with_capacity(32);
        write_expiry(&mut body, grant.expires);
        self.succeed(id, "sub_refresh", &body.finish())
    }

    pub(super) async fn unsubscribe(&self, id: u32, name: &str) -> Result<(), Disconnect> {
        // A channel that cannot exist is not heard: that is a success as well.
        let channel = match self.channel(name) {
            Ok(channel) => channel,
            Err(Unnamed::Disconnect) => return Err(Disconnect::BAD_REQUEST),
            Err(Unnamed::Error(_)) => return self.succeed(id, "unsubscribe", b"{}"),
        };
        let (done, left) = oneshot::channel();
        let connection = Arc::clone(&self.connection);
        let leave = ShardCommand::Leave { connection, channel: channel.clone(), done: Some(done) };
        self.hub.send(&channel, leave).await;
        left.await.ok();
        self.succeed(id, "unsubscribe", b"{}")
    }
}

/// The users whom the channel names, as `dialog#7,8` names 7 and 8.
fn named_users(channel: &Channel) -> Option<&str> {
    channel.as_str().rsplit_once('#').map(|(_, users)| users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_can_name_its_users() {
        let named = |name: &str| named_users(&Channel::parse(name).unwrap()).map(str::to_owned);
        assert_eq!(named("dialog#7,8").as_deref(), Some("7,8"));
        assert_eq!(named("issue#7:dialog#8").as_deref(), Some("8"), "the last ones");
        assert_eq!(named("dialog:7"), None);
    }
}

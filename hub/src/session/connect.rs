//! The connect command: token, subscriptions, and one reply that says where the client stands in each channel.
//!
//! The connection is made known to the relay's commands before the authority is asked for the user's channels. What
//! comes in between is remembered and applied after the reply, so that a room joined in another tab at this very
//! moment is neither lost nor told twice.

use std::{collections::HashMap, sync::Arc, time::Instant};

use protocol::{Channel, Command, Position};
use tokio::sync::oneshot;
use tracing::debug;

use super::{Phase, Session};
use crate::{
    codes::{Disconnect, ErrorCode},
    frame::{self, Object, write_expiry},
    metrics,
    registry::TooMany,
    request::{Connect, Recover},
    shard::{Answer, Join, ShardCommand, Target, end_of},
    standing::Remembered,
    terms::Grant,
    token::{Pass, Refusal},
};

/// What the connect reply says the server is.
const VERSION: &str = concat!("Roomcast ", env!("CARGO_PKG_VERSION"));

/// Why a connect command does not succeed.
enum Refused {
    /// It is answered with an error.
    Error(ErrorCode),
    /// The connection ends.
    Disconnect(Disconnect),
}

impl Session {
    pub(super) async fn connect(&mut self, id: u32, connect: Connect) -> Result<(), Disconnect> {
        match self.let_in(id, connect).await {
            Ok(()) => self.apply_remembered().await,
            Err(Refused::Error(error)) => {
                metrics::connected(if error == ErrorCode::TOKEN_EXPIRED { "expired_token" } else { "failed" });
                self.phase = Phase::Refused;
                self.leave_channels().await;
                return self.fail(id, error);
            }
            Err(Refused::Disconnect(why)) => return Err(why),
        }
        let (client, user) = (self.connection.client, self.connection.user());
        debug!(client = %client, user, "client {client} of user {user} is connected");
        Ok(())
    }

    async fn let_in(&mut self, id: u32, connect: Connect) -> Result<(), Refused> {
        let mut pass = self.pass(&connect.token).await?;
        let user: Arc<str> = pass.user.as_str().into();
        self.connection.identify(Arc::clone(&user), pass.info.take());
        let granted = std::mem::take(&mut pass.channels);
        self.connection.standing.lock().start_connecting();
        if !user.is_empty() {
            let most = self.hub.context.config.user_connection_limit;
            let named = self.hub.context.registry.name(&user, &self.connection, most);
            named.map_err(|TooMany| Refused::Disconnect(Disconnect::CONNECTION_LIMIT))?;
            self.be_the_only_one(&user).await.map_err(Refused::Error)?;
        }
        let mut subscriptions = self.subscriptions(&user).await.map_err(Refused::Error)?;
        for (name, grant) in granted {
            let channel = self.named(&name).map_err(Refused::Error)?;
            let known = subscriptions.remove(&channel).and_then(|grant| grant.known);
            subscriptions.insert(channel, Grant { known, ..grant });
        }
        if let Some(personal) = self.personal_channel(&user) {
            subscriptions.entry(self.named(&personal).map_err(Refused::Error)?).or_default();
        }
        if subscriptions.len() > self.hub.context.config.channel_limit {
            return Err(Refused::Disconnect(Disconnect::CHANNEL_LIMIT));
        }
        let subs = self.join_all(subscriptions, connect.subs).await.map_err(Refused::Error)?;
        self.welcome(id, &pass, &subs);
        Ok(())
    }

    /// Who it is, by its token or without one.
    async fn pass(&self, token: &str) -> Result<Pass, Refused> {
        let config = &self.hub.context.config;
        let anybody = config.anonymous || config.insecure;
        let refused = |outcome, why| {
            metrics::connected(outcome);
            Err(Refused::Disconnect(why))
        };
        match self.hub.context.tokens.pass(token).await {
            Ok(pass) if pass.user.is_empty() && !anybody => refused("missing_token", Disconnect::BAD_REQUEST),
            Ok(pass) => Ok(pass),
            Err(Refusal::Missing) if anybody => Ok(Pass::default()),
            Err(Refusal::Missing) => refused("missing_token", Disconnect::BAD_REQUEST),
            Err(Refusal::Expired) => Err(Refused::Error(ErrorCode::TOKEN_EXPIRED)),
            Err(Refusal::Unknown) => Err(Refused::Error(ErrorCode::INTERNAL)),
            Err(Refusal::Invalid) => refused("invalid_token", Disconnect::INVALID_TOKEN),
        }
    }

    /// The channel that each user has, where that is configured.
    fn personal_channel(&self, user: &str) -> Option<String> {
        let personal = self.hub.context.config.personal_channel.as_ref().filter(|_| !user.is_empty())?;
        Some(personal.of(user))
    }

    /// Closes the user's connections before this one, here and on other nodes, where a user has only one.
    async fn be_the_only_one(&self, user: &str) -> Result<(), ErrorCode> {
        let context = &self.hub.context;
        if !context.config.personal_channel.as_ref().is_some_and(|personal| personal.single_connection) {
            return Ok(());
        }
        for connection in context.registry.before(user, &self.connection) {
            connection.close(&Disconnect::CONNECTION_LIMIT);
        }
        let Some(nodes) = &context.nodes else { return Ok(()) };
        let disconnect = protocol::Disconnect {
            user: user.to_owned(),
            disconnect: Some(Disconnect::CONNECTION_LIMIT.into_request()),
            client: None,
            whitelist: vec![self.connection.client.to_string()],
        };
        let said = self.hub.say_commands(nodes, vec![Command::Disconnect(disconnect)]).await;
        if said.iter().all(Result::is_ok) { Ok(()) } else { Err(ErrorCode::INTERNAL) }
    }

    /// The channels that the authority gives the user.
    async fn subscriptions(&self, user: &Arc<str>) -> Result<HashMap<Channel, Grant>, ErrorCode> {
        if user.is_empty() || !self.hub.context.authority.gives_subscriptions() {
            return Ok(HashMap::new());
        }
        let (authority, asked) = (Arc::clone(&self.hub.context.authority), Arc::clone(user));
        let answer = self.hub.context.ask(async move { authority.subscriptions(&asked).await }).await;
        let subscriptions = answer.map_err(|error| {
            debug!(user = %user, error = &error as &dyn std::error::Error, "could not ask for the channels of user {user}");
            ErrorCode::INTERNAL
        })?;
        let granted = |known| Grant { known, ..Grant::default() };
        Ok(subscriptions.into_iter().map(|given| (given.channel, granted(given.position))).collect())
    }

    /// Joins every channel in its shard, all at the same time.
    async fn join_all(
        &self,
        subscriptions: HashMap<Channel, Grant>,
        mut recover: HashMap<String, Recover>,
    ) -> Result<Vec<u8>, ErrorCode> {
        let mut answers = Vec::with_capacity(subscriptions.len());
        for (channel, grant) in subscriptions {
            let recover = recover.remove(channel.as_str()).and_then(Recover::position);
            let answer = self.join_at_connect(&channel, grant, recover).await;
            answers.push((channel, answer));
        }
        let mut subs = Object::with_capacity(answers.len() * 96);
        for (channel, answer) in answers {
            let subscribed = answer.await.unwrap_or(Err(ErrorCode::INTERNAL))?;
            subs.raw_field(channel.as_str(), &subscribed);
        }
        Ok(subs.finish())
    }

    /// Asks a channel's shard to let the connection in; the answer is a part of the connect reply.
    async fn join_at_connect(
        &self,
        channel: &Channel,
        grant: Grant,
        recover: Option<Position>,
    ) -> oneshot::Receiver<Result<Vec<u8>, ErrorCode>> {
        let (answer, answered) = oneshot::channel();
        let join = Join::new(Arc::clone(&self.connection), channel.clone(), Answer::Collect(answer));
        self.hub.send(channel, ShardCommand::Join(Box::new(Join { grant, recover, ..join }))).await;
        answered
    }

    fn welcome(&mut self, id: u32, pass: &Pass, subs: &[u8]) {
        let config = &self.hub.context.config;
        let mut body = Object::with_capacity(subs.len() + 200);
        body.field("client", &self.connection.client);
        body.field("version", VERSION);
        write_expiry(&mut body, pass.expires);
        if subs != b"{}" {
            body.raw_field("subs", subs);
        }
        body.field("ping", &config.ping_interval.as_secs().max(1));
        body.field("pong", &true);
        if let Some(stream) = self.connection.wire.body() {
            body.field("session", &stream.session);
            body.field("node", &self.hub.node);
        }
        self.phase = Phase::Connected;
        self.connection.open(&frame::reply(id, "connect", &body.finish()));
        let expires_at = end_of(pass.expires, config.expired_close_delay);
        self.connection.pulse.lock().connected(Instant::now(), rand::random(), expires_at);
        self.hub.watch(&self.connection);
        metrics::connected("ok");
    }

    /// What the relay wanted meanwhile. Whatever comes while it is applied stays behind it.
    async fn apply_remembered(&self) {
        loop {
            let remembered = self.connection.standing.lock().take_remembered();
            if remembered.is_empty() {
                return;
            }
            for command in remembered {
                let (done, applied) = oneshot::channel();
                let target = Target::Connection(Arc::clone(&self.connection));
                let (channel, command) = match command {
                    Remembered::Subscribe(invitation) => {
                        let channel = invitation.channel.clone();
                        (channel, ShardCommand::Subscribe { invitation, target, done: Some(done) })
                    }
                    Remembered::Unsubscribe(channel) => {
                        (channel.clone(), ShardCommand::Unsubscribe { channel, target, done: Some(done) })
                    }
                };
                self.hub.send(&channel, command).await;
                applied.await.ok();
            }
        }
    }
}

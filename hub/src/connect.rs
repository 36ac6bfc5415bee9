//! The connect command: token, subscriptions, and one reply that says where the client stands in each channel.
//!
//! The connection is made known to the relay's commands before the authority is asked for the user's channels. What
//! comes in between is remembered and applied after the reply, so that a room joined in another tab at this very
//! moment is neither lost nor told twice.

use std::{collections::HashMap, sync::Arc, time::Instant};

use protocol::{Channel, Position, token::Claims};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use crate::{
    codes::{Disconnect, ErrorCode},
    frame::{self, Object},
    metrics,
    request::{Connect, Recover},
    session::{Phase, Session, write_expiry},
    shard::{ShardCommand, Target},
    standing::Remembered,
    token::Refusal,
};

/// What the connect reply says the server is.
const VERSION: &str = concat!("Roomcast ", env!("CARGO_PKG_VERSION"));

impl Session {
    pub(crate) async fn connect(&mut self, id: u32, connect: Connect) -> Result<(), Disconnect> {
        let claims = match self.hub.context.tokens.verify(&connect.token) {
            Ok(claims) => claims,
            Err(Refusal::Expired) => return self.refuse_connect(id, ErrorCode::TOKEN_EXPIRED).await,
            Err(Refusal::Invalid) => {
                metrics::connected("invalid_token");
                return Err(Disconnect::INVALID_TOKEN);
            }
            Err(Refusal::Missing) => {
                metrics::connected("missing_token");
                return Err(Disconnect::BAD_REQUEST);
            }
        };
        let user: Arc<str> = claims.sub.as_str().into();
        self.user = Some(Arc::clone(&user));
        self.connection.standing.lock().start_connecting();
        self.hub.context.registry.name(&user, &self.connection);
        let subscriptions = match self.subscriptions(&user).await {
            Ok(subscriptions) => subscriptions,
            Err(error) => return self.refuse_connect(id, error).await,
        };
        if subscriptions.len() > self.hub.context.config.channel_limit {
            return Err(Disconnect::CHANNEL_LIMIT);
        }
        match self.join_all(subscriptions, connect.subs).await {
            Ok(subs) => self.welcome(id, &claims, &subs),
            Err(error) => return self.refuse_connect(id, error).await,
        }
        self.apply_remembered().await;
        debug!(client = %self.connection.client, user = %user, "client {} of user {user} is connected", self.connection.client);
        Ok(())
    }

    async fn refuse_connect(&mut self, id: u32, error: ErrorCode) -> Result<(), Disconnect> {
        metrics::connected(if error == ErrorCode::TOKEN_EXPIRED { "expired_token" } else { "failed" });
        self.phase = Phase::Refused;
        self.leave_channels().await;
        self.fail(id, error)
    }

    async fn subscriptions(&self, user: &Arc<str>) -> Result<HashMap<Channel, Option<Position>>, ErrorCode> {
        let (authority, asked) = (Arc::clone(&self.hub.context.authority), Arc::clone(user));
        let answer = self.hub.context.ask(async move { authority.subscriptions(&asked).await }).await;
        let subscriptions = answer.map_err(|error| {
            warn!(user = %user, error = &error as &dyn std::error::Error, "could not ask for the channels of user {user}");
            ErrorCode::INTERNAL
        })?;
        Ok(subscriptions.into_iter().map(|subscription| (subscription.channel, subscription.position)).collect())
    }

    /// Joins every channel in its shard, all at the same time.
    async fn join_all(
        &self,
        subscriptions: HashMap<Channel, Option<Position>>,
        mut recover: HashMap<String, Recover>,
    ) -> Result<Vec<u8>, ErrorCode> {
        let mut answers = Vec::with_capacity(subscriptions.len());
        for (channel, known) in subscriptions {
            let recover = recover.remove(channel.as_str()).and_then(Recover::position);
            let answer = self.join_at_connect(&channel, known, recover).await;
            answers.push((channel, answer));
        }
        let mut subs = Object::with_capacity(answers.len() * 96);
        for (channel, answer) in answers {
            let subscribed = answer.await.unwrap_or(Err(ErrorCode::INTERNAL))?;
            subs.raw_field(channel.as_str(), &subscribed);
        }
        Ok(subs.finish())
    }

    fn welcome(&mut self, id: u32, claims: &Claims, subs: &[u8]) {
        let config = &self.hub.context.config;
        let mut body = Object::with_capacity(subs.len() + 200);
        body.field("client", &self.connection.client);
        body.field("version", VERSION);
        write_expiry(&mut body, claims.exp);
        if subs != b"{}" {
            body.raw_field("subs", subs);
        }
        body.field("ping", &config.ping_interval.as_secs().max(1));
        body.field("pong", &true);
        self.phase = Phase::Connected;
        let expires_at = self.expires_at(claims.exp);
        self.connection.open(&frame::reply(id, "connect", &body.finish()));
        let mut pulse = self.connection.pulse.lock();
        pulse.connected(Instant::now(), rand::random(), expires_at);
        drop(pulse);
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
                    Remembered::Subscribe(channel) => {
                        (channel.clone(), ShardCommand::Subscribe { channel, target, done: Some(done) })
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

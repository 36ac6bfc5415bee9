//! One client, from its first command to its end: what it may say when, and what it is answered.
//!
//! One command at a time, in order; the next is not read before. A violation of the protocol ends the connection with
//! the code of the protocol. The rest of the work is the shards'.

use std::{sync::Arc, time::Instant};

use protocol::{Channel, ChannelError, Position};
use tokio::sync::oneshot;
use tracing::warn;

use crate::{
    authority::{Access, AuthorityError},
    codes::{Disconnect, ErrorCode},
    config::SubscribeRight,
    connection::Connection,
    frame::{self, Object},
    hub::Inner,
    request::{self, Command, Refresh, Request, Subscribe},
    shard::{Answer, Join, ShardCommand},
    token::{self, Refusal},
};

pub(crate) struct Session {
    pub(crate) hub: Arc<Inner>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) phase: Phase,
    pub(crate) user: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing but a connect command is allowed.
    New,
    /// The connect command was answered with an error: the client goes, or becomes stale.
    Refused,
    Connected,
}

/// Why a command names no channel that can be used.
enum Unnamed {
    /// The connection has to end.
    Disconnect,
    Error(ErrorCode),
}

impl Session {
    pub(crate) fn new(hub: Arc<Inner>, connection: Arc<Connection>) -> Self {
        Self { hub, connection, phase: Phase::New, user: None }
    }

    /// Handles a message: one command a line.
    pub(crate) async fn receive(&mut self, message: &[u8]) -> Result<(), Disconnect> {
        for line in request::lines(message) {
            let command = line.and_then(Command::parse).map_err(|_| Disconnect::BAD_REQUEST)?;
            let (id, request) = command.request();
            self.handle(id, request).await?;
            if self.connection.is_closing() {
                break;
            }
        }
        Ok(())
    }

    async fn handle(&mut self, id: u32, request: Request) -> Result<(), Disconnect> {
        match (self.phase, request) {
            // Rare and large: its future must not make every idle connection large.
            (Phase::New, Request::Connect(connect)) => Box::pin(self.connect(id, connect)).await,
            (Phase::Connected, Request::Pong) => self.pong(),
            (Phase::Connected, Request::Subscribe(subscribe)) => Box::pin(self.subscribe(id, subscribe)).await,
            (Phase::Connected, Request::Unsubscribe(wanted)) => Box::pin(self.unsubscribe(id, &wanted.channel)).await,
            (Phase::Connected, Request::Publish(wanted)) => {
                self.refuse_in(id, &wanted.channel, ErrorCode::PERMISSION_DENIED)
            }
            (Phase::Connected, Request::Inspect(wanted) | Request::SubRefresh(wanted)) => {
                self.refuse_in(id, &wanted.channel, ErrorCode::NOT_AVAILABLE)
            }
            (Phase::Connected, Request::Rpc) => self.fail(id, ErrorCode::NOT_AVAILABLE),
            (Phase::Connected, Request::Send) => Err(Disconnect::NOT_AVAILABLE),
            (Phase::Connected, Request::Refresh(refresh)) => self.refresh(id, &refresh),
            _ => Err(Disconnect::BAD_REQUEST),
        }
    }

    fn pong(&self) -> Result<(), Disconnect> {
        if self.connection.pulse.lock().pong() { Ok(()) } else { Err(Disconnect::BAD_REQUEST) }
    }

    async fn subscribe(&self, id: u32, subscribe: Subscribe) -> Result<(), Disconnect> {
        let channel = match self.channel(&subscribe.channel) {
            Ok(channel) => channel,
            Err(Unnamed::Disconnect) => return Err(Disconnect::BAD_REQUEST),
            Err(Unnamed::Error(error)) => return self.fail(id, error),
        };
        if self.connection.standing.lock().hears(&channel) {
            return self.fail(id, ErrorCode::ALREADY_SUBSCRIBED);
        }
        let known = match self.access(&channel).await {
            Ok(Access::Granted(known)) => known,
            Ok(Access::Denied) | Err(AuthorityError::NoSuchChannel) => {
                return self.fail(id, ErrorCode::PERMISSION_DENIED);
            }
            Err(error) => {
                warn!(channel = %channel, error = &error as &dyn std::error::Error, "could not ask who may hear {channel}");
                return self.fail(id, ErrorCode::INTERNAL);
            }
        };
        let (done, answered) = oneshot::channel();
        let join = Join {
            connection: Arc::clone(&self.connection),
            channel: channel.clone(),
            known,
            recover: subscribe.position(),
            strict: subscribe.strict(),
            answer: Answer::Reply { id, done },
            since: Instant::now(),
            reads: 0,
        };
        self.hub.send(&channel, ShardCommand::Join(Box::new(join))).await;
        answered.await.ok(); // without an answer the shard has ended, and with it this connection
        Ok(())
    }

    async fn access(&self, channel: &Channel) -> Result<Access, AuthorityError> {
        let context = &self.hub.context;
        let right = context.config.namespace_of(channel).map(|namespace| namespace.subscribe);
        if right == Some(SubscribeRight::Anyone) {
            return Ok(Access::Granted(None));
        }
        self.connection.standing.lock().start_asking(channel);
        let (authority, channel) = (Arc::clone(&context.authority), channel.clone());
        let user = self.user.clone().unwrap_or_default();
        context.ask(async move { authority.access(&user, &channel).await }).await
    }

    async fn unsubscribe(&self, id: u32, name: &str) -> Result<(), Disconnect> {
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

    fn refresh(&self, id: u32, refresh: &Refresh) -> Result<(), Disconnect> {
        let claims = self.hub.context.tokens.verify(&refresh.token).map_err(|refusal| match refusal {
            Refusal::Expired => Disconnect::EXPIRED,
            Refusal::Invalid | Refusal::Missing => Disconnect::INVALID_TOKEN,
        })?;
        if self.user.as_deref() != Some(claims.sub.as_str()) {
            return Err(Disconnect::INVALID_TOKEN);
        }
        self.connection.pulse.lock().refreshed(self.expires_at(claims.exp));
        let mut body = Object::with_capacity(32);
        write_expiry(&mut body, claims.exp);
        self.succeed(id, "refresh", &body.finish())
    }

    /// When a connection whose token says `exp` has to be closed.
    pub(crate) fn expires_at(&self, exp: Option<u64>) -> Option<Instant> {
        let grace = self.hub.context.config.expired_close_delay;
        Instant::now().checked_add(token::time_left(exp?).checked_add(grace)?)
    }

    /// A command about a channel that is always answered with `error`.
    fn refuse_in(&self, id: u32, name: &str, error: ErrorCode) -> Result<(), Disconnect> {
        match self.channel(name) {
            Ok(_) => self.fail(id, error),
            Err(Unnamed::Error(error)) => self.fail(id, error),
            Err(Unnamed::Disconnect) => Err(Disconnect::BAD_REQUEST),
        }
    }

    fn channel(&self, name: &str) -> Result<Channel, Unnamed> {
        let channel = Channel::parse(name).map_err(|error| match error {
            ChannelError::Empty => Unnamed::Disconnect,
            ChannelError::TooLong(_) | ChannelError::NotAscii => Unnamed::Error(ErrorCode::BAD_REQUEST),
        })?;
        match self.hub.context.config.namespace_of(&channel) {
            Some(_) => Ok(channel),
            None => Err(Unnamed::Error(ErrorCode::UNKNOWN_CHANNEL)),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "an answered command is how every handler ends well")]
    fn succeed(&self, id: u32, kind: &str, body: &[u8]) -> Result<(), Disconnect> {
        self.connection.reply(&frame::reply(id, kind, body));
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "an answered command is how every handler ends well")]
    pub(crate) fn fail(&self, id: u32, error: ErrorCode) -> Result<(), Disconnect> {
        self.connection.reply(&frame::error(id, error));
        Ok(())
    }

    /// Asks a channel's shard to let the connection in; the answer is a part of the connect reply.
    pub(crate) async fn join_at_connect(
        &self,
        channel: &Channel,
        known: Option<Position>,
        recover: Option<Position>,
    ) -> oneshot::Receiver<Result<Vec<u8>, ErrorCode>> {
        let (answer, answered) = oneshot::channel();
        let join = Join {
            connection: Arc::clone(&self.connection),
            channel: channel.clone(),
            known,
            recover,
            strict: false,
            answer: Answer::Collect(answer),
            since: Instant::now(),
            reads: 0,
        };
        self.hub.send(channel, ShardCommand::Join(Box::new(join))).await;
        answered
    }

    /// Leaves everything. Nothing can be joined afterwards.
    pub(crate) async fn end(&mut self) {
        self.hub.context.registry.remove(&self.connection, self.user.as_deref());
        self.leave_channels().await;
    }

    pub(crate) async fn leave_channels(&self) {
        let channels = self.connection.standing.lock().close();
        for channel in channels {
            let connection = Arc::clone(&self.connection);
            let leave = ShardCommand::Leave { connection, channel: channel.clone(), done: None };
            self.hub.send(&channel, leave).await;
        }
    }
}

/// `expires` and `ttl`, in whole seconds, for a token that ends.
pub(crate) fn write_expiry(body: &mut Object, exp: Option<u64>) {
    if let Some(exp) = exp {
        body.field("expires", &true);
        body.field("ttl", &token::time_left(exp).as_secs().max(1));
    }
}

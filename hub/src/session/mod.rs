//! One client, from its first command to its end: what it may say when, and what it is answered.
//!
//! One command at a time, in order; the next is not read before. A violation of the protocol ends the connection with
//! the code of the protocol. The rest of the work is the shards'.

mod channel;
mod connect;
mod subscribe;

use std::sync::Arc;

use protocol::Channel;

use crate::{
    codes::{Disconnect, ErrorCode},
    connection::Connection,
    frame::{self, Object, write_expiry},
    hub::Inner,
    request::{self, Command, Refresh, Request},
    shard::ShardCommand,
    token::Refusal,
};

pub(crate) struct Session {
    pub(crate) hub: Arc<Inner>,
    pub(crate) connection: Arc<Connection>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing but a connect command is allowed.
    New,
    /// The connect command was answered with an error: the client goes, or becomes stale.
    Refused,
    Connected,
}

/// Why a command names no channel that can be used.
#[derive(Clone, Copy)]
enum Unnamed {
    /// The connection has to end.
    Disconnect,
    Error(ErrorCode),
}

impl Session {
    pub(crate) fn new(hub: Arc<Inner>, connection: Arc<Connection>) -> Self {
        Self { hub, connection, phase: Phase::New }
    }

    /// Handles a message: one command a line.
    pub(crate) async fn receive(&mut self, message: &[u8]) -> Result<(), Disconnect> {
        for line in request::lines(message) {
            let command = line.and_then(Command::parse).map_err(|_| self.misspoken(message))?;
            let (id, request) = command.request();
            self.handle(id, request).await?;
            if self.connection.is_closing() {
                break;
            }
        }
        Ok(())
    }

    /// Why a client goes that does not speak JSON.
    fn misspoken(&self, message: &[u8]) -> Disconnect {
        let is_first = self.phase == Phase::New;
        if is_first && request::is_protobuf(message) { Disconnect::ONLY_JSON } else { Disconnect::BAD_REQUEST }
    }

    async fn handle(&mut self, id: u32, request: Request) -> Result<(), Disconnect> {
        match (self.phase, request) {
            // Rare and large: its future must not make every idle connection large.
            (Phase::New, Request::Connect(connect)) => Box::pin(self.connect(id, connect)).await,
            (Phase::Connected, Request::Pong) => self.pong(),
            (Phase::Connected, Request::Subscribe(subscribe)) => Box::pin(self.subscribe(id, subscribe)).await,
            (Phase::Connected, Request::SubRefresh(refresh)) => Box::pin(self.sub_refresh(id, refresh)).await,
            (Phase::Connected, Request::Unsubscribe(wanted)) => Box::pin(self.unsubscribe(id, &wanted.channel)).await,
            (Phase::Connected, Request::Publish(publish)) => Box::pin(self.publish(id, publish)).await,
            (Phase::Connected, Request::History(history)) => Box::pin(self.history(id, history)).await,
            (Phase::Connected, Request::Presence(wanted)) => Box::pin(self.presence(id, &wanted.channel)).await,
            (Phase::Connected, Request::PresenceStats(wanted)) => {
                Box::pin(self.presence_stats(id, &wanted.channel)).await
            }
            (Phase::Connected, Request::Rpc) => self.fail(id, ErrorCode::NOT_AVAILABLE),
            (Phase::Connected, Request::Send) => Err(Disconnect::NOT_AVAILABLE),
            (Phase::Connected, Request::Refresh(refresh)) => Box::pin(self.refresh(id, &refresh)).await,
            _ => Err(Disconnect::BAD_REQUEST),
        }
    }

    fn pong(&self) -> Result<(), Disconnect> {
        if self.connection.pulse.lock().pong() { Ok(()) } else { Err(Disconnect::BAD_REQUEST) }
    }

    async fn refresh(&self, id: u32, refresh: &Refresh) -> Result<(), Disconnect> {
        let pass = match self.hub.context.tokens.pass(&refresh.token).await {
            Ok(pass) => pass,
            Err(Refusal::Unknown) => return self.fail(id, ErrorCode::INTERNAL),
            Err(Refusal::Expired) => return Err(Disconnect::EXPIRED),
            Err(Refusal::Invalid | Refusal::Missing) => return Err(Disconnect::INVALID_TOKEN),
        };
        if self.connection.user() != pass.user {
            return Err(Disconnect::INVALID_TOKEN);
        }
        self.hub.refreshed(&self.connection, pass.expires);
        let mut body = Object::with_capacity(32);
        write_expiry(&mut body, pass.expires);
        self.succeed(id, "refresh", &body.finish())
    }

    fn channel(&self, name: &str) -> Result<Channel, Unnamed> {
        if name.is_empty() { Err(Unnamed::Disconnect) } else { self.named(name).map_err(Unnamed::Error) }
    }

    /// A channel that can be used.
    fn named(&self, name: &str) -> Result<Channel, ErrorCode> {
        let config = &self.hub.context.config;
        let channel = Channel::parse(name).map_err(|_| ErrorCode::BAD_REQUEST)?;
        if name.len() > config.channel_max_length {
            return Err(ErrorCode::BAD_REQUEST);
        }
        config.options_of(&channel).map(|_| channel.clone()).ok_or(ErrorCode::UNKNOWN_CHANNEL)
    }

    /// Answers a command that names no channel that can be used.
    fn turn_down(&self, id: u32, unnamed: Unnamed) -> Result<(), Disconnect> {
        match unnamed {
            Unnamed::Error(error) => self.fail(id, error),
            Unnamed::Disconnect => Err(Disconnect::BAD_REQUEST),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "an answered command is how every handler ends well")]
    fn succeed(&self, id: u32, kind: &str, body: &[u8]) -> Result<(), Disconnect> {
        self.connection.reply(&frame::reply(id, kind, body));
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "an answered command is how every handler ends well")]
    fn fail(&self, id: u32, error: ErrorCode) -> Result<(), Disconnect> {
        self.connection.reply(&frame::error(id, error));
        Ok(())
    }

    /// Leaves everything. Nothing can be joined afterwards.
    pub(crate) async fn end(&mut self) {
        self.hub.context.registry.remove(&self.connection);
        self.leave_channels().await;
    }

    async fn leave_channels(&self) {
        let channels = self.connection.standing.lock().close();
        for channel in channels {
            let connection = Arc::clone(&self.connection);
            let leave = ShardCommand::Leave { connection, channel: channel.clone(), done: None };
            self.hub.send(&channel, leave).await;
        }
    }
}

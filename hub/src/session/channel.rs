//! What a client does in a channel besides hearing it: publish, read the history, ask who is there.

use protocol::{Channel, Publish};

use super::{Session, Unnamed};
use crate::{
    codes::{Disconnect, ErrorCode},
    config::{ChannelOptions, Counting, Right},
    request::{self, History},
};

impl Session {
    pub(super) async fn publish(&self, id: u32, publish: request::Publish) -> Result<(), Disconnect> {
        let channel = match self.open_to(&publish.channel, |_| true, ChannelOptions::publishing) {
            Ok(channel) => channel,
            Err(unnamed) => return self.turn_down(id, unnamed),
        };
        let Some(data) = publish.data else { return self.fail(id, ErrorCode::BAD_REQUEST) };
        let info = self.connection.standing.lock().info_in(&channel);
        let publisher = self.connection.as_others_see_it(info.as_deref());
        match self.hub.publish(Publish::new(channel, data), publisher).await {
            Ok(_) => self.succeed(id, "publish", b"{}"),
            Err(error) => self.fail(id, error),
        }
    }

    pub(super) async fn history(&self, id: u32, history: History) -> Result<(), Disconnect> {
        let kept = |options: &ChannelOptions| options.counting() == Counting::Hub;
        let channel = match self.open_to(&history.channel, kept, ChannelOptions::reading_history) {
            Ok(channel) => channel,
            Err(unnamed) => return self.turn_down(id, unnamed),
        };
        let most = self.hub.context.config.history_limit;
        let Some(question) = history.question(most) else { return self.fail(id, ErrorCode::BAD_REQUEST) };
        match self.hub.history(&channel, question).await {
            Ok(page) => self.succeed(id, "history", &page),
            Err(error) => self.fail(id, error),
        }
    }

    pub(super) async fn presence(&self, id: u32, name: &str) -> Result<(), Disconnect> {
        match self.open_to(name, |options| options.presence, ChannelOptions::seeing_presence) {
            Ok(channel) => match self.hub.presence(&channel).await {
                Ok(body) => self.succeed(id, "presence", &body),
                Err(error) => self.fail(id, error),
            },
            Err(unnamed) => self.turn_down(id, unnamed),
        }
    }

    pub(super) async fn presence_stats(&self, id: u32, name: &str) -> Result<(), Disconnect> {
        match self.open_to(name, |options| options.presence, ChannelOptions::seeing_presence) {
            Ok(channel) => match self.hub.presence_stats(&channel).await {
                Ok(body) => self.succeed(id, "presence_stats", &body),
                Err(error) => self.fail(id, error),
            },
            Err(unnamed) => self.turn_down(id, unnamed),
        }
    }

    /// The channel, if it offers what is wanted and this client has the right to it.
    fn open_to(
        &self,
        name: &str,
        offers: impl FnOnce(&ChannelOptions) -> bool,
        right: impl FnOnce(&ChannelOptions) -> Right,
    ) -> Result<Channel, Unnamed> {
        let channel = self.channel(name)?;
        let config = &self.hub.context.config;
        let options = config.options_of(&channel).ok_or(Unnamed::Error(ErrorCode::UNKNOWN_CHANNEL))?;
        if !offers(options) {
            return Err(Unnamed::Error(ErrorCode::NOT_AVAILABLE));
        }
        let subscribed = self.connection.standing.lock().hears(&channel);
        if config.insecure || right(options).allows(self.connection.user().is_empty(), subscribed) {
            Ok(channel)
        } else {
            Err(Unnamed::Error(ErrorCode::PERMISSION_DENIED))
        }
    }
}

//! What a connection is to the hub: whether it is connected, and which channels it hears.
//!
//! A channel is claimed and released only by the shard that owns it, so claims of one channel never race. While the
//! connect command is being answered, a command of the relay for its user is remembered and applied after the reply:
//! the list of subscriptions may have been read before or after it.

use std::{collections::HashMap, sync::Arc};

use protocol::{Channel, Position};

use crate::terms::Grant;

/// Who asked for a subscription. It decides how its end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The client, with a subscribe command: an `unsubscribe` push lets the SDK subscribe again.
    Client,
    /// The server, at connect or later: only a new connection subscribes again.
    Server,
}

/// The server subscribes somebody to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invitation {
    pub(crate) channel: Channel,
    pub(crate) grant: Grant,
    /// What it has seen already.
    pub(crate) recover: Option<Position>,
}

/// A command of the relay that came while the connection was connecting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remembered {
    Subscribe(Box<Invitation>),
    Unsubscribe(Channel),
}

/// Why a channel cannot be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unclaimed {
    AlreadySubscribed,
    ChannelLimit,
    /// Access was taken away after it had been granted, before the subscription began.
    Revoked,
    Closed,
}

#[derive(Debug, Default)]
pub(crate) struct Standing {
    closed: bool,
    connecting: bool,
    remembered: Vec<Remembered>,
    channels: HashMap<Channel, Heard>,
    asking: Option<Asking>,
}

/// A channel that is heard.
#[derive(Debug)]
struct Heard {
    side: Side,
    /// JSON that others see of the connection in this channel.
    info: Option<Arc<str>>,
}

/// The client-side subscription for which the authority is being asked.
#[derive(Debug)]
struct Asking {
    channel: Channel,
    revoked: bool,
}

impl Standing {
    /// From now on commands are remembered.
    pub(crate) fn start_connecting(&mut self) {
        self.connecting = true;
    }

    /// True if the command has to wait for the end of the connect command.
    pub(crate) fn remember(&mut self, command: &Remembered) -> bool {
        if self.connecting {
            self.remembered.push(command.clone());
        }
        self.connecting
    }

    /// What has to be applied now, in order. Empty: connecting is over, nothing is remembered any more.
    pub(crate) fn take_remembered(&mut self) -> Vec<Remembered> {
        self.connecting = !self.remembered.is_empty();
        std::mem::take(&mut self.remembered)
    }

    /// The authority is about to be asked for `channel`.
    pub(crate) fn start_asking(&mut self, channel: &Channel) {
        self.asking = Some(Asking { channel: channel.clone(), revoked: false });
    }

    /// Takes `channel`, if it may be taken.
    pub(crate) fn claim(
        &mut self,
        channel: &Channel,
        side: Side,
        info: Option<Arc<str>>,
        limit: usize,
    ) -> Result<(), Unclaimed> {
        let asked = side == Side::Client;
        let revoked = asked && self.asking.take_if(|asking| asking.channel == *channel).is_some_and(|it| it.revoked);
        if self.closed {
            Err(Unclaimed::Closed)
        } else if self.channels.contains_key(channel) {
            Err(Unclaimed::AlreadySubscribed)
        } else if revoked {
            Err(Unclaimed::Revoked)
        } else if self.channels.len() >= limit {
            Err(Unclaimed::ChannelLimit)
        } else {
            self.channels.insert(channel.clone(), Heard { side, info });
            Ok(())
        }
    }

    /// Gives `channel` back, with the side that had claimed it.
    pub(crate) fn release(&mut self, channel: &Channel) -> Option<Side> {
        self.channels.remove(channel).map(|heard| heard.side)
    }

    /// Like [`Standing::release`], and an answer that is under way comes too late.
    pub(crate) fn revoke(&mut self, channel: &Channel) {
        if let Some(asking) = self.asking.as_mut().filter(|asking| asking.channel == *channel) {
            asking.revoked = true;
        }
        self.release(channel);
    }

    /// What others see of the connection in `channel`.
    pub(crate) fn info_in(&self, channel: &Channel) -> Option<Arc<str>> {
        self.channels.get(channel)?.info.clone()
    }

    pub(crate) fn hears(&self, channel: &Channel) -> bool {
        self.channels.contains_key(channel)
    }

    /// The end: nothing can be claimed any more. Returns what has to be left.
    pub(crate) fn close(&mut self) -> Vec<Channel> {
        self.closed = true;
        std::mem::take(&mut self.channels).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::parse(name).unwrap()
    }

    #[test]
    fn a_channel_is_claimed_once_and_within_the_limit() {
        let mut standing = Standing::default();
        assert_eq!(standing.claim(&channel("a"), Side::Server, None, 1), Ok(()));
        assert_eq!(standing.claim(&channel("a"), Side::Client, None, 1), Err(Unclaimed::AlreadySubscribed));
        assert_eq!(standing.claim(&channel("b"), Side::Client, None, 1), Err(Unclaimed::ChannelLimit));
        assert_eq!(standing.release(&channel("a")), Some(Side::Server));
        assert_eq!(standing.claim(&channel("b"), Side::Client, None, 1), Ok(()));
        assert_eq!(standing.close(), [channel("b")]);
        assert_eq!(standing.claim(&channel("b"), Side::Client, None, 1), Err(Unclaimed::Closed));
    }

    #[test]
    fn commands_are_remembered_until_all_of_them_are_applied() {
        let mut standing = Standing::default();
        let invitation = Invitation { channel: channel("room:1"), grant: Grant::default(), recover: None };
        let join = Remembered::Subscribe(Box::new(invitation));
        assert!(!standing.remember(&join), "connected long ago: applied at once");
        standing.start_connecting();
        assert!(standing.remember(&join));
        assert_eq!(standing.take_remembered(), std::slice::from_ref(&join));
        assert!(standing.remember(&join), "one that comes while the first is applied must stay behind it");
        assert_eq!(standing.take_remembered(), std::slice::from_ref(&join));
        assert!(standing.take_remembered().is_empty());
        assert!(!standing.remember(&join));
    }

    #[test]
    fn a_member_removed_while_access_was_asked_does_not_get_in() {
        let mut standing = Standing::default();
        standing.start_asking(&channel("room:1"));
        standing.revoke(&channel("room:1"));
        assert_eq!(standing.claim(&channel("room:1"), Side::Client, None, 9), Err(Unclaimed::Revoked));
        standing.start_asking(&channel("room:1"));
        assert_eq!(standing.claim(&channel("room:1"), Side::Client, None, 9), Ok(()));
    }
}

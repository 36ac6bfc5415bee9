//! What can be done in a channel, and what is kept of it: by namespace, under the names that Centrifugo gives them.

use std::time::Duration;

use serde::Deserialize;

use super::time;

/// Options of the channels of one namespace. The default allows nothing and keeps nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that an operator sets by its name")]
pub struct ChannelOptions {
    /// The truth counts publications: they carry version and epoch, and the authority has the backlog.
    pub counted_by_truth: bool,
    /// The authority decides who may subscribe.
    #[serde(alias = "subscribe_proxy_enabled")]
    pub ask_authority: bool,
    /// How many of the last publications are kept. 0: none, and publications have no offset.
    pub history_size: usize,
    /// How long they are kept.
    #[serde(deserialize_with = "time::deserialize")]
    pub history_ttl: Duration,
    /// Who is in the channel can be asked.
    pub presence: bool,
    /// Subscribers that ask for it are told who comes and goes.
    pub join_leave: bool,
    /// Every subscriber is told.
    pub force_push_join_leave: bool,
    /// Any user may subscribe.
    pub allow_subscribe_for_client: bool,
    /// So may connections without a user.
    pub allow_subscribe_for_anonymous: bool,
    /// The users named in the channel may subscribe: `dialog#7,8` is for 7 and 8.
    pub allow_user_limited_channels: bool,
    /// Any user may publish.
    pub allow_publish_for_client: bool,
    /// Subscribers may publish.
    pub allow_publish_for_subscriber: bool,
    /// So may connections without a user, where they otherwise could.
    pub allow_publish_for_anonymous: bool,
    /// Any user may read the history.
    pub allow_history_for_client: bool,
    /// Subscribers may read the history.
    pub allow_history_for_subscriber: bool,
    /// So may connections without a user.
    pub allow_history_for_anonymous: bool,
    /// Any user may ask who is there.
    pub allow_presence_for_client: bool,
    /// Subscribers may ask who is there.
    pub allow_presence_for_subscriber: bool,
    /// So may connections without a user.
    pub allow_presence_for_anonymous: bool,
    /// Subscribers that ask for it are told their position.
    pub allow_positioning: bool,
    /// Every subscriber is told its position.
    pub force_positioning: bool,
    /// Subscribers that ask for it recover what they missed.
    pub allow_recovery: bool,
    /// Every subscriber recovers what it missed.
    pub force_recovery: bool,
}

/// Who gives the publications of a channel their offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counting {
    /// The truth.
    Truth,
    /// The hub, with an epoch of its own. Recoverable as far as its history reaches.
    Hub,
    /// Nobody: publications have no offset, and one that is missed is gone.
    Nobody,
}

/// Who may do something in a channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Right {
    client: bool,
    subscriber: bool,
    anonymous: bool,
}

impl ChannelOptions {
    /// Rooms: the database counts, membership decides.
    pub fn counted_by_the_truth() -> Self {
        Self {
            counted_by_truth: true,
            ask_authority: true,
            history_size: 128,
            history_ttl: Duration::from_mins(5),
            force_recovery: true,
            ..Self::default()
        }
    }

    /// Channels whose publications are for those who listen now, and whom the authority lets.
    pub fn fleeting() -> Self {
        Self { ask_authority: true, ..Self::default() }
    }

    pub(crate) fn counting(&self) -> Counting {
        if self.counted_by_truth {
            Counting::Truth
        } else if self.history_size > 0 {
            Counting::Hub
        } else {
            Counting::Nobody
        }
    }

    pub(crate) fn subscribing(&self) -> Right {
        Right {
            client: self.allow_subscribe_for_client,
            subscriber: false,
            anonymous: self.allow_subscribe_for_anonymous,
        }
    }

    pub(crate) fn publishing(&self) -> Right {
        Right {
            client: self.allow_publish_for_client,
            subscriber: self.allow_publish_for_subscriber,
            anonymous: self.allow_publish_for_anonymous,
        }
    }

    pub(crate) fn reading_history(&self) -> Right {
        Right {
            client: self.allow_history_for_client,
            subscriber: self.allow_history_for_subscriber,
            anonymous: self.allow_history_for_anonymous,
        }
    }

    pub(crate) fn seeing_presence(&self) -> Right {
        Right {
            client: self.allow_presence_for_client,
            subscriber: self.allow_presence_for_subscriber,
            anonymous: self.allow_presence_for_anonymous,
        }
    }

    /// What could never work together.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let keeps = self.history_size > 0;
        if keeps && self.history_ttl.is_zero() {
            Some("history_size needs a history_ttl")
        } else if !keeps && !self.history_ttl.is_zero() {
            Some("history_ttl needs a history_size")
        } else if !keeps
            && (self.force_recovery || self.allow_recovery || self.force_positioning || self.allow_positioning)
        {
            Some("positions and recovery need history_size and history_ttl")
        } else if self.counted_by_truth && !self.force_recovery {
            Some("counted_by_truth is for channels with force_recovery")
        } else if self.force_push_join_leave && !self.join_leave {
            Some("force_push_join_leave needs join_leave")
        } else {
            None
        }
    }
}

impl Right {
    /// `subscribed` tells whether the one who asks hears the channel.
    pub(crate) fn allows(self, anonymous: bool, subscribed: bool) -> bool {
        (self.client || self.subscriber && subscribed) && (!anonymous || self.anonymous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_for_clients_or_subscribers_and_for_anonymous_ones_where_it_says_so() {
        let right = |client, subscriber, anonymous| Right { client, subscriber, anonymous };
        assert!(right(true, false, false).allows(false, false));
        assert!(!right(true, false, false).allows(true, true));
        assert!(right(false, true, false).allows(false, true));
        assert!(!right(false, true, false).allows(false, false));
        assert!(right(false, true, true).allows(true, true));
        assert!(!right(false, false, true).allows(true, true), "anonymous alone allows nothing");
    }

    #[test]
    fn what_contradicts_itself_is_named() {
        let keeps = ChannelOptions { history_size: 1, history_ttl: Duration::from_secs(1), ..Default::default() };
        assert_eq!(keeps.contradiction(), None);
        assert!(ChannelOptions { history_ttl: Duration::ZERO, ..keeps.clone() }.contradiction().is_some());
        assert!(ChannelOptions { history_size: 0, ..keeps.clone() }.contradiction().is_some());
        assert!(ChannelOptions { force_recovery: true, ..Default::default() }.contradiction().is_some());
        assert!(ChannelOptions { counted_by_truth: true, ..keeps.clone() }.contradiction().is_some());
        assert!(ChannelOptions { force_push_join_leave: true, ..keeps }.contradiction().is_some());
        assert_eq!(ChannelOptions::counted_by_the_truth().contradiction(), None);
    }
}

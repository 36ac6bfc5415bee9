//! On which terms a connection hears a channel: the channel's options, what it was granted, and what it asked for.

use std::sync::Arc;

use protocol::{Override, Overrides, Position};

use crate::config::ChannelOptions;

/// What a subscription was given by whoever allowed it: a token, the authority, or the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The channel's position as the authority has just told it.
    pub(crate) known: Option<Position>,
    /// JSON that others see beside the connection's own.
    pub(crate) info: Option<Arc<str>>,
    /// JSON that the client is handed with the subscription.
    pub(crate) data: Option<Arc<str>>,
    /// Seconds since 1970 after which it has to be refreshed.
    pub(crate) expires: Option<u64>,
    pub(crate) overrides: Overrides,
}

/// What a client asks for when it subscribes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the protocol has them so")]
pub(crate) struct Wishes {
    pub(crate) positioned: bool,
    pub(crate) recoverable: bool,
    pub(crate) join_leave: bool,
    /// Pushes may name the channel by a number.
    pub(crate) numbered: bool,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is decided on its own")]
pub(crate) struct Terms {
    /// It is told its position.
    pub(crate) positioned: bool,
    /// It recovers what it missed.
    pub(crate) recoverable: bool,
    /// It is shown in the channel's presence.
    pub(crate) present: bool,
    /// Others are told when it comes and goes.
    pub(crate) announced: bool,
    /// It is told when others come and go.
    pub(crate) hears_joins: bool,
    /// Pushes name the channel by its number.
    pub(crate) numbered: bool,
}

impl Terms {
    pub(crate) fn of(options: &ChannelOptions, overrides: Overrides, wishes: Wishes) -> Self {
        let or = |other: Option<Override>, usual: bool| other.map_or(usual, |other| other.value);
        let kept = options.history_size > 0;
        let recoverable =
            or(overrides.force_recovery, options.force_recovery) || options.allow_recovery && wishes.recoverable;
        let positioned = or(overrides.force_positioning, options.force_positioning)
            || options.allow_positioning && wishes.positioned;
        let join_leave = or(overrides.join_leave, options.join_leave);
        let pushed = or(overrides.force_push_join_leave, options.force_push_join_leave);
        Self {
            positioned: kept && (recoverable || positioned),
            recoverable: kept && recoverable,
            present: or(overrides.presence, options.presence),
            announced: join_leave,
            hears_joins: join_leave && (pushed || wishes.join_leave),
            numbered: wishes.numbered,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn kept() -> ChannelOptions {
        ChannelOptions { history_size: 1, history_ttl: Duration::from_secs(1), ..Default::default() }
    }

    #[test]
    fn what_is_forced_is_had_and_what_is_allowed_only_by_those_who_ask() {
        let asks = Wishes { positioned: true, recoverable: true, join_leave: true, numbered: false };
        let of = |options: &ChannelOptions, wishes| Terms::of(options, Overrides::default(), wishes);
        let forced = of(&ChannelOptions { force_recovery: true, ..kept() }, Wishes::default());
        assert!(forced.recoverable && forced.positioned);
        let allowed = ChannelOptions { allow_recovery: true, allow_positioning: true, join_leave: true, ..kept() };
        assert_eq!(of(&allowed, Wishes::default()), Terms { announced: true, ..Terms::default() });
        assert!(of(&allowed, asks).recoverable && of(&allowed, asks).hears_joins);
        assert_eq!(of(&kept(), asks), Terms::default(), "neither forced nor allowed");
    }

    #[test]
    fn a_subscription_can_differ_from_its_channel() {
        let options = ChannelOptions { presence: true, force_recovery: true, ..kept() };
        let no = Some(Override { value: false });
        let overrides = Overrides { presence: no, force_recovery: no, ..Overrides::default() };
        assert_eq!(Terms::of(&options, overrides, Wishes::default()), Terms::default());
        let yes = Overrides { force_recovery: Some(Override { value: true }), ..Overrides::default() };
        assert!(!Terms::of(&ChannelOptions::default(), yes, Wishes::default()).recoverable, "nothing is kept");
    }
}

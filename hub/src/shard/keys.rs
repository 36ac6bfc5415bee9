//! Which idempotency keys were used lately: a second publication with the key of a first is answered like it.
//!
//! Scope is channel and key, for five minutes, for as many keys as fit. Kept in memory: gone with the process.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use protocol::{Channel, Position};

const WINDOW: Duration = Duration::from_mins(5);
const MOST: usize = 100_000;

type Key = (Channel, Box<str>);

#[derive(Default)]
pub(super) struct KeyWindow {
    positions: HashMap<Key, Position>,
    order: VecDeque<(Instant, Key)>,
}

impl KeyWindow {
    /// The answer that the first publication with this key got.
    pub(super) fn seen(&self, channel: &Channel, key: &str) -> Option<Position> {
        self.positions.get(&(channel.clone(), key.into())).cloned()
    }

    pub(super) fn remember(&mut self, channel: Channel, key: Box<str>, position: Position, now: Instant) {
        let key = (channel, key);
        self.positions.insert(key.clone(), position);
        self.order.push_back((now, key));
        if self.order.len() > MOST {
            self.forget_first();
        }
    }

    /// Forgets what is older than the window.
    pub(super) fn prune(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(since, _)| now.saturating_duration_since(*since) > WINDOW) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.positions.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_for_its_channel_and_for_five_minutes() {
        let mut keys = KeyWindow::default();
        let (start, room) = (Instant::now(), Channel::parse("room:1").unwrap());
        keys.remember(room.clone(), "k".into(), Position::default(), start);
        assert!(keys.seen(&room, "k").is_some());
        assert!(keys.seen(&Channel::parse("room:2").unwrap(), "k").is_none());
        keys.prune(start + WINDOW);
        assert!(keys.seen(&room, "k").is_some());
        keys.prune(start + WINDOW + Duration::from_secs(1));
        assert!(keys.seen(&room, "k").is_none());
    }
}

//! When a connection has to be pinged, or given up: one deadline per connection, on one wheel per home shard.
//!
//! [`Pulse`] decides and is pure; [`Wheel`] calls it in time. Nothing else in the hub keeps a timer per connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

use crate::{
    codes::Disconnect,
    connection::{Connection, ConnectionId},
    context::Context,
    frame,
    registry::Registry,
};

/// The wheel's precision. Waking up ten times a second costs nothing that could be measured.
const TICK: Duration = Duration::from_millis(100);
/// A little more than the default ping interval fits on the wheel; what is further off is looked at again.
const SLOTS: usize = 512;

/// The deadlines of one connection.
#[derive(Debug)]
pub(crate) struct Pulse {
    ping_interval: Duration,
    pong_timeout: Duration,
    /// Before the connect reply: when it is given up as stale.
    stale_at: Option<Instant>,
    /// After the connect reply: when it is pinged next.
    ping_at: Option<Instant>,
    /// A ping is out: when it is given up.
    pong_by: Option<Instant>,
    /// When its token has been expired for too long.
    expires_at: Option<Instant>,
    /// The wheel's entry that counts: an older one is ignored.
    entry: u32,
}

/// What has to be done now, and when to look again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    Rest(Instant),
    Ping(Instant),
    Close(Disconnect),
}

impl Pulse {
    pub(crate) fn new(ping_interval: Duration, pong_timeout: Duration, stale_at: Instant) -> Self {
        let stale_at = Some(stale_at);
        Self { ping_interval, pong_timeout, stale_at, ping_at: None, pong_by: None, expires_at: None, entry: 0 }
    }

    /// The connect reply is out. The first ping comes after a random part of the interval, to spread the load.
    pub(crate) fn connected(&mut self, now: Instant, spread: f64, expires_at: Option<Instant>) {
        self.stale_at = None;
        self.ping_at = Some(now + self.ping_interval.mul_f64(0.5 + spread / 2.0));
        self.expires_at = expires_at;
    }

    /// The token was refreshed.
    pub(crate) fn refreshed(&mut self, expires_at: Option<Instant>) {
        self.expires_at = expires_at;
    }

    /// False if no ping is out: nobody asked.
    pub(crate) fn pong(&mut self) -> bool {
        self.pong_by.take().is_some()
    }

    pub(crate) fn beat(&mut self, now: Instant) -> Beat {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if passed(self.stale_at) {
            return Beat::Close(Disconnect::STALE);
        }
        if passed(self.pong_by) {
            return Beat::Close(Disconnect::NO_PONG);
        }
        if passed(self.expires_at) {
            return Beat::Close(Disconnect::EXPIRED);
        }
        let ping = passed(self.ping_at);
        if ping {
            self.ping_at = Some(now + self.ping_interval);
            self.pong_by = Some(now + self.pong_timeout);
        }
        if ping { Beat::Ping(self.next(now)) } else { Beat::Rest(self.next(now)) }
    }

    fn next(&self, now: Instant) -> Instant {
        let deadlines = [self.stale_at, self.ping_at, self.pong_by, self.expires_at];
        deadlines.into_iter().flatten().min().unwrap_or(now + self.ping_interval)
    }
}

/// The connections of one home shard, by the time at which they have to be looked at.
pub(crate) struct Wheel {
    started: Instant,
    slots: Mutex<Slots>,
}

/// By its id: an entry keeps nothing of a connection that has gone.
struct Entry {
    connection: ConnectionId,
    number: u32,
}

struct Slots {
    entries: Vec<Vec<Entry>>,
    /// Number of the tick that was handled last.
    tick: u64,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        let entries = std::iter::repeat_with(Vec::new).take(SLOTS).collect();
        Self { started: Instant::now(), slots: Mutex::new(Slots { entries, tick: 0 }) }
    }

    /// Looks at the connection at its next deadline; this replaces the entry that it may have.
    pub(crate) fn watch(&self, connection: &Connection) {
        let mut pulse = connection.pulse.lock();
        pulse.entry += 1;
        let (number, when) = (pulse.entry, pulse.next(Instant::now()));
        drop(pulse);
        self.enter(Entry { connection: connection.id, number }, when);
    }

    /// Puts an entry where it is due, or at the wheel's horizon if that is sooner.
    fn enter(&self, entry: Entry, when: Instant) {
        let ticks = when.saturating_duration_since(self.started).as_millis() / TICK.as_millis() + 1;
        let mut slots = self.slots.lock();
        let (nearest, farthest) = (slots.tick + 1, slots.tick + SLOTS as u64 - 1);
        let tick = u64::try_from(ticks).unwrap_or(u64::MAX).clamp(nearest, farthest);
        slots.at(tick).push(entry);
    }

    /// Turns until it is dropped with its runtime.
    pub(crate) async fn turn(self: Arc<Self>, context: Arc<Context>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            for due in self.due(now) {
                self.look_at(due, &context.registry, now);
                // Thousands may be due at once; readers must not wait for all of them.
                tokio::task::consume_budget().await;
            }
        }
    }

    fn due(&self, now: Instant) -> Vec<Entry> {
        let until = now.saturating_duration_since(self.started).as_millis() / TICK.as_millis();
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        let mut slots = self.slots.lock();
        let mut due = Vec::new();
        while slots.tick < until {
            let tick = slots.tick + 1;
            due.append(slots.at(tick));
            slots.tick = tick;
        }
        due
    }

    fn look_at(&self, due: Entry, registry: &Registry, now: Instant) {
        let Some(connection) = registry.get(due.connection).filter(|connection| !connection.is_closing()) else {
            return;
        };
        let mut pulse = connection.pulse.lock();
        if pulse.entry != due.number {
            return;
        }
        let beat = pulse.beat(now);
        drop(pulse);
        match beat {
            Beat::Rest(next) => self.enter(due, next),
            Beat::Ping(next) => {
                connection.push(&frame::PING);
                self.enter(due, next);
            }
            Beat::Close(why) => connection.close(&why),
        }
    }
}

impl Slots {
    fn at(&mut self, tick: u64) -> &mut Vec<Entry> {
        let slot = usize::try_from(tick % SLOTS as u64).unwrap_or(0);
        &mut self.entries[slot]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pulse(start: Instant) -> Pulse {
        Pulse::new(25 * SECOND, 8 * SECOND, start + 10 * SECOND)
    }

    #[test]
    fn a_socket_that_never_connects_is_stale() {
        let start = Instant::now();
        let mut pulse = pulse(start);
        assert_eq!(pulse.beat(start), Beat::Rest(start + 10 * SECOND));
        assert_eq!(pulse.beat(start + 10 * SECOND), Beat::Close(Disconnect::STALE));
    }

    #[test]
    fn the_first_ping_is_spread_and_then_they_are_regular() {
        let start = Instant::now();
        let mut pulse = pulse(start);
        pulse.connected(start, 0.0, None);
        assert_eq!(pulse.beat(start), Beat::Rest(start + 25 * SECOND / 2));
        let first = start + 25 * SECOND / 2;
        assert_eq!(pulse.beat(first), Beat::Ping(first + 8 * SECOND));
        assert!(pulse.pong());
        assert_eq!(pulse.beat(first + 8 * SECOND), Beat::Rest(first + 25 * SECOND));
    }

    #[test]
    fn a_ping_without_a_pong_ends_the_connection_and_a_pong_without_a_ping_is_seen() {
        let start = Instant::now();
        let mut pulse = pulse(start);
        pulse.connected(start, 0.0, None);
        assert!(!pulse.pong());
        pulse.beat(start + 13 * SECOND);
        assert_eq!(pulse.beat(start + 21 * SECOND), Beat::Close(Disconnect::NO_PONG));
    }

    #[test]
    fn an_expired_token_ends_the_connection_unless_it_is_refreshed() {
        let start = Instant::now();
        let mut pulse = pulse(start);
        pulse.connected(start, 0.0, Some(start + SECOND));
        assert_eq!(pulse.beat(start), Beat::Rest(start + SECOND));
        pulse.refreshed(Some(start + 3 * SECOND));
        assert_eq!(pulse.beat(start + SECOND), Beat::Rest(start + 3 * SECOND));
        assert_eq!(pulse.beat(start + 3 * SECOND), Beat::Close(Disconnect::EXPIRED));
    }
}

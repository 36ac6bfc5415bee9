//! How a channel makes good what is missing: it waits a moment, reads the backlog, and tries again while that fails.

use std::time::{Duration, Instant};

use protocol::Offset;
use tracing::{debug, warn};

use super::{
    Desk,
    backlog::{self, BacklogRead, Past},
    channel::{ChannelState, fresh_start},
    join::Join,
};
use crate::{authority::AuthorityError, codes::ErrorCode, config::Counting, sequencer::Arrival, stream::Stream};

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// What a channel wants to be looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// The publication after this one is missing; if it still is, it has to be fetched.
    Hole(Offset),
    /// A read has failed and is due again.
    Retry,
}

/// What is under way about a channel's past.
#[derive(Debug, Default)]
pub(super) struct Healing {
    /// A read of the backlog is under way.
    pub(super) reading: bool,
    /// Reads in a row that brought nothing.
    failures: u32,
    /// When to look next, and what for.
    alarm: Option<(Instant, Alarm)>,
}

impl ChannelState {
    /// Asks the authority, unless it is being asked or a failed question is due again later.
    pub(super) fn read(&mut self, after: Option<Offset>, desk: &mut Desk) {
        if self.healing.reading || matches!(self.healing.alarm, Some((_, Alarm::Retry))) {
            return;
        }
        self.healing.reading = true;
        desk.counters.reads += 1;
        backlog::read(&desk.context, desk.queue.clone(), self.name.clone(), after);
    }

    /// Publications may have been lost on their way here, and nobody knows which.
    pub(super) fn lose_track(&mut self, desk: &mut Desk) {
        match self.options.counting() {
            // Nobody has to be told, and the log need not name each of thousands.
            Counting::Hub if self.is_idle() => {
                self.stream = Some(self.stream_at(fresh_start(), desk.context.config.held_limit));
            }
            Counting::Hub => self.restart(fresh_start(), desk),
            Counting::Truth if !self.subscribers.is_empty() || !self.waiting.is_empty() => self.read(None, desk),
            Counting::Truth | Counting::Nobody => {}
        }
    }

    /// The authority has answered.
    pub(super) fn take_backlog(&mut self, read: BacklogRead, desk: &mut Desk) {
        self.healing.reading = false;
        match read.answer {
            Ok(past) => self.take_past(read.after, past, desk),
            Err(error) => {
                desk.counters.failed_reads += 1;
                self.give_up_or_retry(&error, desk);
            }
        }
    }

    fn take_past(&mut self, after: Option<Offset>, past: Past, desk: &mut Desk) {
        self.learn(past.position.clone(), desk);
        let Some(stream) = &mut self.stream else { return };
        if let Some(after) = after {
            let served = |join: &&mut Join| join.recover.as_ref().is_some_and(|recover| recover.offset >= after);
            self.waiting.iter_mut().filter(served).for_each(|join| join.reads += 1);
            stream.remember(&past.publications, Instant::now());
        }
        let missing = stream.top().next();
        if stream.has_hole() && past.skips(missing) {
            warn!(channel = %self.name, offset = %missing, "the backlog of {} has no publication {missing}", self.name);
            return self.restart(past.position, desk);
        }
        // Those who wait are answered up to the top, and hear what fills the hole as pushes.
        self.advance(&past.publications, desk);
        self.fill(past, desk);
        let still_missing = |stream: &Stream| stream.has_hole() && stream.top().next() == missing;
        if after.is_some() && self.stream.as_ref().is_some_and(still_missing) {
            return self.retry(desk); // somebody knows of it, but the truth does not show it yet
        }
        self.healing.failures = 0;
        self.watch_for_hole(desk);
    }

    fn fill(&mut self, past: Past, desk: &mut Desk) {
        let mut filled = 0;
        for publication in past.publications {
            if self.stream.as_ref().is_some_and(|stream| publication.offset > stream.top()) {
                filled += u64::from(self.arrive(publication, desk) == Some(Arrival::Delivered));
            }
        }
        if filled > 0 {
            desk.counters.filled += filled;
            desk.counters.delivered -= filled;
            debug!(channel = %self.name, filled, "filled a hole of {filled} in {}", self.name);
        }
    }

    fn give_up_or_retry(&mut self, error: &AuthorityError, desk: &mut Desk) {
        debug!(channel = %self.name, error = error as &dyn std::error::Error, "the backlog of {} was not read", self.name);
        let gone = matches!(error, AuthorityError::NoSuchChannel);
        let (pushed, asked): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|join| !gone && join.is_push());
        self.waiting = pushed;
        for join in asked {
            join.connection.standing.lock().release(&self.name);
            join.fail(if gone { ErrorCode::PERMISSION_DENIED } else { ErrorCode::INTERNAL });
        }
        let needed = !self.waiting.is_empty() || self.stream.as_ref().is_some_and(Stream::has_hole);
        if needed && !gone {
            self.retry(desk);
        }
    }

    fn retry(&mut self, desk: &mut Desk) {
        let backoff = FIRST_RETRY.saturating_mul(1 << self.healing.failures.min(10)).min(LAST_RETRY);
        self.healing.failures += 1;
        self.set_alarm(backoff.mul_f64(0.5 + rand::random::<f64>() / 2.0), Alarm::Retry, desk);
    }

    /// A hole that stays for the hold time is fetched.
    pub(super) fn watch_for_hole(&mut self, desk: &mut Desk) {
        let Some(stream) = self.stream.as_ref().filter(|stream| stream.has_hole()) else {
            self.healing.alarm.take_if(|(_, alarm)| matches!(alarm, Alarm::Hole(_)));
            return;
        };
        if self.healing.alarm.is_none() && !self.healing.reading {
            self.set_alarm(desk.context.config.hold, Alarm::Hole(stream.top()), desk);
        }
    }

    fn set_alarm(&mut self, after: Duration, alarm: Alarm, desk: &mut Desk) {
        let when = Instant::now() + after;
        self.healing.alarm = Some((when, alarm));
        desk.wake(when, &self.name);
    }

    /// The time has come that was set with the alarm.
    pub(super) fn ring(&mut self, when: Instant, desk: &mut Desk) {
        let Some((_, alarm)) = self.healing.alarm.take_if(|(set, _)| *set == when) else { return };
        let top = self.stream.as_ref().filter(|stream| stream.has_hole()).map(Stream::top);
        match (alarm, top) {
            // It has moved since: the next hole has its own time.
            (Alarm::Hole(then), Some(top)) if then != top => self.watch_for_hole(desk),
            (_, Some(top)) => self.read(Some(top), desk),
            (_, None) => self.advance(&[], desk),
        }
    }
}

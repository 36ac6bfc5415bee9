//! One channel in its shard: who hears it, where it stands, who waits to join, and what is being read about it.
//!
//! A channel of the truth has no stream until somebody tells where it stands: a subscriber's access, the authority, or
//! a publication that comes while nobody listens. At most one read of the backlog is under way; it serves everybody.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use protocol::{Channel, Epoch, Offset, Position};
use tracing::{debug, warn};
use uuid::Uuid;

use super::{
    Desk,
    backlog::{self, BacklogRead, Past},
    join::{Decision, Join, RecoveryLimits, Source, decide},
    subscribers::Subscribers,
};
use crate::{
    authority::AuthorityError,
    codes::{Disconnect, ErrorCode, Unsubscribed},
    config::{Counting, Namespace},
    connection::Connection,
    frame::{self, Publication, Subscribed},
    history::History,
    sequencer::Arrival,
    standing::{Side, Unclaimed},
    stream::Stream,
};

/// A second read serves those who came while the first was under way; a third, those for whom it was not enough.
const READS_PER_JOIN: u8 = 4;
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(5);

pub(super) struct ChannelState {
    name: Channel,
    options: Namespace,
    stream: Option<Stream>,
    pub(super) subscribers: Subscribers,
    /// Frames that the subscribers have not been sent yet.
    pub(super) outbox: Vec<Bytes>,
    pub(super) dirty: bool,
    waiting: Vec<Join>,
    /// Publications that came before it was known where the channel stands.
    unplaced: Vec<(Epoch, Publication)>,
    reading: bool,
    failures: u32,
    /// When the channel wants to be looked at, and what for.
    alarm: Option<(Instant, Alarm)>,
    touched: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alarm {
    /// The publication after this one is missing; if it still is, it has to be fetched.
    Hole(Offset),
    /// A read has failed and is due again.
    Retry,
}

impl ChannelState {
    pub(super) fn new(name: Channel, options: Namespace, held_limit: usize) -> Self {
        let counted_here = options.counting == Counting::Hub;
        let mut state = Self {
            name,
            options,
            stream: None,
            subscribers: Subscribers::default(),
            outbox: Vec::new(),
            dirty: false,
            waiting: Vec::new(),
            unplaced: Vec::new(),
            reading: false,
            failures: 0,
            alarm: None,
            touched: Instant::now(),
        };
        if counted_here {
            let epoch = Uuid::new_v4().simple().to_string();
            state.stream = Some(state.stream_at(Position { epoch: epoch[..8].into(), offset: Offset(0) }, held_limit));
        }
        state
    }

    pub(super) fn name(&self) -> &Channel {
        &self.name
    }

    /// Delivers what nobody counts.
    pub(super) fn pass_on(&mut self, publication: Publication, desk: &mut Desk) {
        self.touched = Instant::now();
        desk.counters.delivered += 1;
        self.outbox.push(publication.frame);
        self.mark(desk);
    }

    /// Counts and delivers a publication.
    pub(super) fn count(&mut self, encode: impl FnOnce(&Channel, Offset) -> Publication, desk: &mut Desk) -> Position {
        let Some(stream) = &self.stream else { return Position::default() };
        let publication = encode(&self.name, stream.top().next());
        self.arrive(publication, desk);
        self.position()
    }

    /// Takes a publication that the truth has counted.
    pub(super) fn take(&mut self, epoch: Epoch, publication: Publication, desk: &mut Desk) {
        let before = Position { epoch, offset: Offset(publication.offset.0.saturating_sub(1)) };
        let nobody_cares = self.subscribers.is_empty() && self.waiting.is_empty();
        match &mut self.stream {
            None if nobody_cares && !before.epoch.is_empty() => self.place(before, desk),
            None if nobody_cares => return,
            None => {
                // Beyond the limit it is left to the backlog.
                if self.unplaced.len() < desk.context.config.held_limit {
                    self.unplaced.push((before.epoch, publication));
                }
                return;
            }
            Some(stream) if !before.epoch.is_empty() && before.epoch != *stream.epoch() => {
                desk.counters.new_epochs += 1;
                self.restart(before, desk);
            }
            Some(stream) if nobody_cares && publication.offset > stream.top().next() => {
                stream.jump_before(publication.offset);
            }
            Some(_) => {}
        }
        self.arrive(publication, desk);
    }

    fn arrive(&mut self, publication: Publication, desk: &mut Desk) -> Option<Arrival> {
        let now = Instant::now();
        self.touched = now;
        let stream = self.stream.as_mut()?;
        let arrival = stream.arrive(publication, now, &mut self.outbox);
        match arrival {
            Arrival::Repeat => desk.counters.repeats += 1,
            Arrival::Delivered => desk.counters.delivered += 1,
            Arrival::Early => desk.counters.early += 1,
        }
        self.watch_for_hole(desk);
        self.mark(desk);
        Some(arrival)
    }

    /// Begins a join. It is answered at once, or waits.
    pub(super) fn join(&mut self, join: Join, desk: &mut Desk) {
        self.touched = Instant::now();
        let claimed = join.connection.standing.lock().claim(&self.name, join.side(), desk.context.config.channel_limit);
        match claimed {
            Ok(()) => {}
            Err(Unclaimed::AlreadySubscribed) => return join.fail(ErrorCode::ALREADY_SUBSCRIBED),
            Err(Unclaimed::ChannelLimit) => return join.fail(ErrorCode::LIMIT_EXCEEDED),
            Err(Unclaimed::Revoked) => return join.fail(ErrorCode::PERMISSION_DENIED),
            Err(Unclaimed::Closed) => return join.fail(ErrorCode::INTERNAL),
        }
        if self.options.counting == Counting::Nobody {
            return self.admit(join, &Subscribed::default());
        }
        let known = join.known.clone();
        self.waiting.push(join);
        if let Some(known) = known.filter(|_| self.options.counting == Counting::Truth) {
            self.learn(known, desk);
        }
        self.advance(&[], desk);
    }

    /// The authority says where the channel stands.
    fn learn(&mut self, known: Position, desk: &mut Desk) {
        match &mut self.stream {
            None => self.place(known, desk),
            Some(stream) if *stream.epoch() != known.epoch => {
                desk.counters.new_epochs += 1;
                self.restart(known, desk);
            }
            Some(stream) => {
                stream.expect(known.offset);
                self.watch_for_hole(desk);
            }
        }
    }

    /// Begins the stream: right before what has arrived already, so that those who wait hear it.
    fn place(&mut self, position: Position, desk: &mut Desk) {
        let mut unplaced = std::mem::take(&mut self.unplaced);
        unplaced.retain(|(epoch, _)| epoch.is_empty() || *epoch == position.epoch);
        let before = |(_, publication): &(Epoch, Publication)| Offset(publication.offset.0.saturating_sub(1));
        let start = unplaced.iter().map(before).chain([position.offset]).min().unwrap_or_default();
        let epoch = position.epoch.clone();
        let mut stream = self.stream_at(Position { epoch, offset: start }, desk.context.config.held_limit);
        stream.expect(position.offset);
        self.stream = Some(stream);
        self.advance(&[], desk);
        for (_, publication) in unplaced {
            self.arrive(publication, desk);
        }
        self.watch_for_hole(desk);
    }

    /// Everything known about the channel is void. Its subscribers come back and learn the new position.
    fn restart(&mut self, position: Position, desk: &mut Desk) {
        warn!(channel = %self.name, epoch = %position.epoch, "{} starts a new stream at {}", self.name, position.offset);
        self.outbox.clear();
        for connection in self.subscribers.take() {
            let side = connection.standing.lock().release(&self.name);
            match side {
                Some(Side::Client) => {
                    connection.push(&frame::unsubscribe_push(&self.name, Unsubscribed::INSUFFICIENT_STATE));
                }
                Some(Side::Server) => connection.close(&Disconnect::INSUFFICIENT_STATE),
                None => {}
            }
        }
        self.unplaced.clear();
        self.stream = Some(self.stream_at(position, desk.context.config.held_limit));
    }

    /// Answers everybody who can be answered, and reads what the others need. Nothing may wait in the outbox.
    pub(super) fn advance(&mut self, backlog: &[Publication], desk: &mut Desk) {
        let mut needed = None;
        let Some(stream) = &mut self.stream else {
            if !self.waiting.is_empty() {
                self.read(None, desk);
            }
            return;
        };
        if !self.outbox.is_empty() {
            return; // the shard delivers it and comes back
        }
        let limits = RecoveryLimits {
            publications: u64::from(desk.context.config.recovery_limit),
            bytes: desk.context.config.recovery_bytes,
            reads: if self.options.counting == Counting::Truth { READS_PER_JOIN } else { 0 },
        };
        let mut admitted = Vec::new();
        for join in std::mem::take(&mut self.waiting) {
            match decide(&join, stream, backlog, limits) {
                Decision::Join(subscribed, source) => admitted.push((join, subscribed, source)),
                Decision::Read(after) => {
                    needed = Some(needed.map_or(after, |lowest: Offset| lowest.min(after)));
                    self.waiting.push(join);
                }
                Decision::Wait => {
                    stream.expect(join.recover.as_ref().map_or(Offset(0), |recover| recover.offset));
                    self.waiting.push(join);
                }
            }
        }
        for (join, subscribed, source) in admitted {
            self.tell(join, subscribed, source, desk);
        }
        if needed.is_some() {
            self.read(needed, desk);
        }
        self.watch_for_hole(desk);
    }

    fn tell(&mut self, join: Join, subscribed: Subscribed, source: Source, desk: &mut Desk) {
        match source {
            Source::Fresh => {}
            Source::History => desk.counters.from_history += 1,
            Source::Backlog => desk.counters.from_backlog += 1,
            Source::Nowhere => desk.counters.unrecovered += 1,
        }
        if source == Source::Nowhere && join.strict {
            join.connection.standing.lock().release(&self.name);
            return join.fail(ErrorCode::UNRECOVERABLE_POSITION);
        }
        self.admit(join, &subscribed);
    }

    /// The reply goes out before the connection is in the list: no push can come before it.
    fn admit(&mut self, join: Join, subscribed: &Subscribed) {
        let connection = Arc::clone(&join.connection);
        join.succeed(subscribed);
        self.subscribers.add(connection);
    }

    /// Asks the authority, unless it is being asked or a failed question is due again later.
    fn read(&mut self, after: Option<Offset>, desk: &mut Desk) {
        if self.reading || matches!(self.alarm, Some((_, Alarm::Retry))) {
            return;
        }
        self.reading = true;
        desk.counters.reads += 1;
        backlog::read(&desk.context, desk.queue.clone(), self.name.clone(), after);
    }

    /// The authority has answered.
    pub(super) fn take_backlog(&mut self, read: BacklogRead, desk: &mut Desk) {
        self.reading = false;
        match read.answer {
            Ok(past) => self.take_past(read.after, past, desk),
            Err(error) => {
                desk.counters.failed_reads += 1;
                self.give_up_or_retry(&error, desk);
            }
        }
    }

    fn take_past(&mut self, after: Option<Offset>, past: Past, desk: &mut Desk) {
        let now = Instant::now();
        let reaches = past.publications.last().map_or(past.position.offset, |last| last.offset);
        self.learn(past.position.clone(), desk);
        let Some(stream) = &mut self.stream else { return };
        if let Some(after) = after {
            for join in
                self.waiting.iter_mut().filter(|join| join.recover.as_ref().is_some_and(|it| it.offset >= after))
            {
                join.reads += 1;
            }
            stream.remember(&past.publications, now);
        }
        let missing = stream.top().next();
        let asked_for_it = after.is_some_and(|after| after < missing) && past.position.offset >= missing;
        if asked_for_it
            && stream.has_hole()
            && reaches >= missing
            && !past.publications.iter().any(|it| it.offset == missing)
        {
            warn!(channel = %self.name, offset = %missing, "the backlog of {} has no publication {missing}", self.name);
            return self.restart(past.position, desk);
        }
        // Those who wait are answered up to the top, and hear what fills the hole as pushes.
        self.advance(&past.publications, desk);
        let mut filled = 0;
        for publication in past.publications {
            if self.stream.as_ref().is_some_and(|stream| publication.offset > stream.top()) {
                filled += u64::from(self.arrive(publication, desk) == Some(Arrival::Delivered));
            }
        }
        if after.is_some()
            && self.stream.as_ref().is_some_and(|stream| stream.top().next() == missing && stream.has_hole())
        {
            return self.retry(desk); // the truth does not have it yet
        }
        self.failures = 0;
        if filled > 0 {
            desk.counters.filled += filled;
            desk.counters.delivered -= filled;
            debug!(channel = %self.name, filled, "filled a hole of {filled} in {}", self.name);
        }
        self.watch_for_hole(desk);
    }

    fn give_up_or_retry(&mut self, error: &AuthorityError, desk: &mut Desk) {
        warn!(channel = %self.name, error = error as &dyn std::error::Error, "the backlog of {} was not read", self.name);
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
        let backoff = FIRST_RETRY.saturating_mul(1 << self.failures.min(10)).min(LAST_RETRY);
        self.failures += 1;
        self.set_alarm(backoff.mul_f64(0.5 + rand::random::<f64>() / 2.0), Alarm::Retry, desk);
    }

    /// A hole that stays for the hold time is fetched.
    fn watch_for_hole(&mut self, desk: &mut Desk) {
        let Some(stream) = self.stream.as_ref().filter(|stream| stream.has_hole()) else {
            self.alarm.take_if(|(_, alarm)| matches!(alarm, Alarm::Hole(_)));
            return;
        };
        if self.alarm.is_none() && !self.reading {
            self.set_alarm(desk.context.config.hold, Alarm::Hole(stream.top()), desk);
        }
    }

    fn set_alarm(&mut self, after: Duration, alarm: Alarm, desk: &mut Desk) {
        let when = Instant::now() + after;
        self.alarm = Some((when, alarm));
        desk.wake(when, &self.name);
    }

    /// The time has come that was set with the alarm.
    pub(super) fn ring(&mut self, when: Instant, desk: &mut Desk) {
        let Some((_, alarm)) = self.alarm.take_if(|(set, _)| *set == when) else { return };
        let top = self.stream.as_ref().filter(|stream| stream.has_hole()).map(Stream::top);
        match (alarm, top) {
            // It has moved since: the next hole has its own time.
            (Alarm::Hole(then), Some(top)) if then != top => self.watch_for_hole(desk),
            (_, Some(top)) => self.read(Some(top), desk),
            (_, None) => self.advance(&[], desk),
        }
    }

    /// The connection no longer wants to hear the channel, or no longer may.
    pub(super) fn leave(&mut self, connection: &Connection) {
        self.subscribers.remove(connection.id);
        let (gone, stay): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|join| join.connection.id == connection.id);
        self.waiting = stay;
        for join in gone {
            join.fail(ErrorCode::PERMISSION_DENIED);
        }
    }

    /// Lets go of what is too old; true if the channel itself can be forgotten.
    pub(super) fn sweep(&mut self, now: Instant, idle_ttl: Duration, patience: Duration) -> bool {
        if let Some(stream) = &mut self.stream {
            stream.prune(now);
        }
        let late = |join: &Join| !join.is_push() && now.saturating_duration_since(join.since) > patience;
        let (late, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().partition(late);
        self.waiting = stay;
        for join in late {
            join.connection.standing.lock().release(&self.name);
            join.fail(ErrorCode::INTERNAL);
        }
        let ttl =
            if self.options.counting == Counting::Hub { idle_ttl.max(self.options.history_ttl) } else { idle_ttl };
        self.is_idle() && now.saturating_duration_since(self.touched) > ttl
    }

    /// True while nobody hears the channel or waits for it.
    pub(super) fn is_idle(&self) -> bool {
        self.subscribers.is_empty() && self.waiting.is_empty() && !self.reading && self.outbox.is_empty()
    }

    pub(super) fn touched(&self) -> Instant {
        self.touched
    }

    fn position(&self) -> Position {
        self.stream.as_ref().map(Stream::position).unwrap_or_default()
    }

    fn stream_at(&self, position: Position, held_limit: usize) -> Stream {
        let history = History::new(self.options.history_size, self.options.history_ttl);
        Stream::new(position, held_limit, history)
    }

    /// The shard has to deliver what is in the outbox, then to look who can join.
    fn mark(&mut self, desk: &mut Desk) {
        if self.subscribers.is_empty() {
            self.outbox.clear();
        }
        let something = !self.outbox.is_empty() || !self.waiting.is_empty();
        if something && !self.dirty {
            self.dirty = true;
            desk.dirty.push(self.name.clone());
        }
    }
}

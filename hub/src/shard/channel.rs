//! One channel in its shard: who hears it, where it stands, who waits to join, and what is being read about it.
//!
//! A channel of the truth has no stream until somebody tells where it stands: a subscriber's access, the authority, or
//! a publication that comes while nobody listens. At most one read of the backlog is under way; it serves everybody.

use std::{collections::HashMap, sync::Arc, time::Instant};

use protocol::{Channel, Epoch, Offset, Position};
use tracing::warn;
use uuid::Uuid;

use super::{
    Desk,
    command::{HistoryPage, HistoryQuestion},
    company::end_of,
    healing::Healing,
    join::{Decision, Join, RecoveryLimits, Source, decide},
    subscribers::Subscribers,
};
use crate::{
    codes::{Disconnect, ErrorCode, Unsubscribed},
    config::{ChannelOptions, Counting},
    connection::ConnectionId,
    frame::{self, Kind, Publication, Push, Said, Subscribed},
    history::History,
    sequencer::Arrival,
    standing::{Side, Unclaimed},
    stream::Stream,
    terms::Terms,
};

/// A second read serves those who came while the first was under way; a third, those for whom it was not enough.
const READS_PER_JOIN: u8 = 4;

pub(super) struct ChannelState {
    pub(super) name: Channel,
    /// Its name for those who would rather have a number.
    pub(super) number: u32,
    pub(super) options: ChannelOptions,
    pub(super) stream: Option<Stream>,
    pub(super) subscribers: Subscribers,
    /// What the subscribers have not been sent yet.
    pub(super) outbox: Vec<Push>,
    pub(super) dirty: bool,
    pub(super) waiting: Vec<Join>,
    /// Publications that came before it was known where the channel stands.
    unplaced: Vec<(Epoch, Publication)>,
    pub(super) healing: Healing,
    /// When subscriptions end that have an end.
    pub(super) ends: HashMap<ConnectionId, Instant>,
    /// The last version that a publisher has given, where the hub counts.
    version: (Epoch, Offset),
    touched: Instant,
}

impl ChannelState {
    pub(super) fn new(name: Channel, number: u32, options: ChannelOptions, held_limit: usize) -> Self {
        let counted_here = options.counting() == Counting::Hub;
        let mut state = Self {
            name,
            number,
            options,
            stream: None,
            subscribers: Subscribers::default(),
            outbox: Vec::new(),
            dirty: false,
            waiting: Vec::new(),
            unplaced: Vec::new(),
            healing: Healing::default(),
            ends: HashMap::new(),
            version: (Epoch::default(), Offset(0)),
            touched: Instant::now(),
        };
        if counted_here {
            state.stream = Some(state.stream_at(fresh_start(), held_limit));
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
        self.outbox.push(publication.into());
        self.mark(desk);
    }

    /// Counts and delivers a publication, unless its publisher has been further already.
    pub(super) fn count(&mut self, said: &Said, version: Option<(Epoch, Offset)>, desk: &mut Desk) -> Position {
        if let Some((epoch, version)) = version {
            if epoch == self.version.0 && version <= self.version.1 {
                desk.counters.repeats += 1;
                return self.position();
            }
            self.version = (epoch, version);
        }
        let Some(stream) = &self.stream else { return Position::default() };
        let publication = Publication::encode(&self.name, stream.top().next(), said);
        self.arrive(publication, desk);
        self.position()
    }

    /// Takes a publication that the truth has counted.
    pub(super) fn take(&mut self, epoch: Epoch, publication: Publication, desk: &mut Desk) {
        let before = Position { epoch, offset: Offset(publication.offset.0.saturating_sub(1)) };
        let nobody_cares = self.subscribers.is_empty() && self.waiting.is_empty();
        match &mut self.stream {
            None if nobody_cares && !before.epoch.is_empty() => self.place(&before, desk),
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

    pub(super) fn arrive(&mut self, publication: Publication, desk: &mut Desk) -> Option<Arrival> {
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
    pub(super) fn join(&mut self, mut join: Join, desk: &mut Desk) {
        self.touched = Instant::now();
        join.terms = Terms::of(&self.options, join.grant.overrides, join.wishes);
        let (info, limit) = (join.grant.info.clone(), desk.context.config.channel_limit);
        let claimed = join.connection.standing.lock().claim(&self.name, join.side(), info, limit);
        match claimed {
            Ok(()) => {}
            Err(Unclaimed::AlreadySubscribed) => return join.fail(ErrorCode::ALREADY_SUBSCRIBED),
            Err(Unclaimed::ChannelLimit) => return join.fail(ErrorCode::LIMIT_EXCEEDED),
            Err(Unclaimed::Revoked) => return join.fail(ErrorCode::PERMISSION_DENIED),
            Err(Unclaimed::Closed) => return join.fail(ErrorCode::INTERNAL),
        }
        if self.options.counting() == Counting::Nobody {
            return self.admit(join, Subscribed::default(), desk);
        }
        let known = join.grant.known.clone();
        self.waiting.push(join);
        if let Some(known) = known.filter(|_| self.options.counting() == Counting::Truth) {
            self.learn(known, desk);
        }
        self.advance(&[], desk);
    }

    /// The authority says where the channel stands.
    pub(super) fn learn(&mut self, known: Position, desk: &mut Desk) {
        if known.epoch.is_empty() {
            return; // says nothing that could be compared
        }
        match &mut self.stream {
            None => self.place(&known, desk),
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
    fn place(&mut self, position: &Position, desk: &mut Desk) {
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
    pub(super) fn restart(&mut self, position: Position, desk: &mut Desk) {
        warn!(channel = %self.name, epoch = %position.epoch, "{} starts a new stream at {}", self.name, position.offset);
        self.outbox.clear();
        self.ends.clear();
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
            reads: if self.options.counting() == Counting::Truth { READS_PER_JOIN } else { 0 },
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
        self.admit(join, subscribed, desk);
    }

    /// The reply goes out before the connection is in the list: no push can come before it.
    fn admit(&mut self, mut join: Join, mut subscribed: Subscribed, desk: &mut Desk) {
        let (connection, terms, info) = (Arc::clone(&join.connection), join.terms, join.grant.info.take());
        subscribed.expires = join.grant.expires;
        subscribed.data = join.grant.data.take();
        subscribed.number = terms.numbered.then_some(self.number);
        self.set_end(connection.id, end_of(subscribed.expires, desk.context.config.expired_sub_close_delay));
        join.succeed(&subscribed);
        if terms.announced {
            self.announce(Kind::Join, &connection, info.as_deref(), desk);
        }
        self.subscribers.add(connection, terms, info);
        self.mark(desk);
    }

    /// Lets go of what is too old; true if the channel itself can be forgotten.
    pub(super) fn sweep(&mut self, now: Instant, desk: &mut Desk) -> bool {
        let (idle_ttl, patience) = (desk.context.config.idle_channel_ttl, desk.context.config.authority_timeout);
        self.end_expired(now, desk);
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
            if self.options.counting() == Counting::Hub { idle_ttl.max(self.options.history_ttl) } else { idle_ttl };
        self.is_idle() && now.saturating_duration_since(self.touched) > ttl
    }

    /// True while nobody hears the channel or waits for it.
    pub(super) fn is_idle(&self) -> bool {
        self.subscribers.is_empty() && self.waiting.is_empty() && !self.healing.reading && self.outbox.is_empty()
    }

    pub(super) fn touched(&self) -> Instant {
        self.touched
    }

    pub(super) fn position(&self) -> Position {
        self.stream.as_ref().map(Stream::position).unwrap_or_default()
    }

    /// A part of what is kept.
    pub(super) fn history(&self, question: &HistoryQuestion) -> Result<HistoryPage, ErrorCode> {
        let Some(stream) = &self.stream else { return Ok(HistoryPage::default()) };
        let since = question.since.as_ref();
        if since.is_some_and(|since| !since.epoch.is_empty() && since.epoch != *stream.epoch()) {
            return Err(ErrorCode::UNRECOVERABLE_POSITION);
        }
        let publications = stream.page(since.map(|since| since.offset), question.reverse, question.limit);
        Ok(HistoryPage { publications, position: stream.position() })
    }

    pub(super) fn stream_at(&self, position: Position, held_limit: usize) -> Stream {
        let history = History::new(self.options.history_size, self.options.history_ttl);
        Stream::new(position, held_limit, history)
    }

    /// The shard has to deliver what is in the outbox, then to look who can join.
    pub(super) fn mark(&mut self, desk: &mut Desk) {
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

/// The beginning of a channel that the hub counts, in an epoch that never was.
pub(super) fn fresh_start() -> Position {
    let epoch = Uuid::new_v4().simple().to_string();
    Position { epoch: epoch[..8].into(), offset: Offset(0) }
}

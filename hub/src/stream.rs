//! One counted channel: its epoch, its order and its recent past. Pure: the shard brings time and publications.

use std::time::Instant;

use bytes::Bytes;
use protocol::{Epoch, Offset, Position};

use crate::{
    frame::{Publication, Push},
    history::History,
    sequencer::{Arrival, Sequencer},
};

#[derive(Debug)]
pub(crate) struct Stream {
    epoch: Epoch,
    sequencer: Sequencer<Publication>,
    history: History,
}

impl Stream {
    /// A stream in which everything up to `position` has been delivered.
    pub(crate) fn new(position: Position, held_limit: usize, history: History) -> Self {
        Self { epoch: position.epoch, sequencer: Sequencer::new(position.offset, held_limit), history }
    }

    pub(crate) fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    pub(crate) fn top(&self) -> Offset {
        self.sequencer.top()
    }

    pub(crate) fn position(&self) -> Position {
        Position { epoch: self.epoch.clone(), offset: self.top() }
    }

    pub(crate) fn has_hole(&self) -> bool {
        self.sequencer.has_hole()
    }

    /// See [`Sequencer::expect`].
    pub(crate) fn expect(&mut self, offset: Offset) {
        self.sequencer.expect(offset);
    }

    /// Goes on right before `offset`, because nobody has listened so far.
    pub(crate) fn jump_before(&mut self, offset: Offset) {
        self.sequencer.jump(Offset(offset.0.saturating_sub(1)));
        self.history.clear();
    }

    /// Takes a publication; those whose turn has come are added to `pushes`.
    pub(crate) fn arrive(&mut self, publication: Publication, now: Instant, pushes: &mut Vec<Push>) -> Arrival {
        let history = &mut self.history;
        self.sequencer.arrive(publication.offset, publication, |_, publication| {
            history.push(&publication, now);
            pushes.push(publication.into());
        })
    }

    /// Everything after `after` up to the top, from history alone.
    pub(crate) fn since(&self, after: Offset) -> Option<Vec<Bytes>> {
        Some(self.history.since(after, self.top())?.cloned().collect())
    }

    /// Everything after `after` up to the top, from `backlog` and, beyond its end, from history.
    pub(crate) fn since_with(&self, after: Offset, backlog: &[Publication]) -> Option<Vec<Bytes>> {
        let top = self.top();
        let mut found = Vec::new();
        let mut reached = after;
        for publication in backlog.iter().filter(|publication| publication.offset > after && publication.offset <= top)
        {
            if publication.offset != reached.next() {
                return None;
            }
            reached = publication.offset;
            found.push(publication.body.clone());
        }
        found.extend(self.history.since(reached, top)?.cloned());
        Some(found)
    }

    /// Keeps what was read from the backlog for the next who asks.
    pub(crate) fn remember(&mut self, backlog: &[Publication], now: Instant) {
        let top = self.top();
        self.history.push_older(backlog, top, now);
    }

    /// See [`History::page`].
    pub(crate) fn page(&self, since: Option<Offset>, reverse: bool, limit: usize) -> Vec<Bytes> {
        self.history.page(since, reverse, limit)
    }

    /// Forgets what was kept; the position stays.
    pub(crate) fn forget(&mut self) {
        self.history.clear();
    }

    pub(crate) fn prune(&mut self, now: Instant) {
        self.history.prune(now);
    }
}

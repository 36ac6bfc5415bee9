//! The last publications of one channel, encoded, for clients that were away for a moment.
//!
//! Gapless by construction: what does not follow the last entry starts a new history. Bounded by number and by age.
//! What it no longer has is read from the backlog.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use protocol::Offset;

use crate::frame::Publication;

#[derive(Debug)]
struct Entry {
    offset: Offset,
    body: Bytes,
    since: Instant,
}

#[derive(Debug)]
pub(crate) struct History {
    entries: VecDeque<Entry>,
    size: usize,
    ttl: Duration,
}

impl History {
    pub(crate) fn new(size: usize, ttl: Duration) -> Self {
        Self { entries: VecDeque::new(), size, ttl }
    }

    /// Keeps a publication that has just been delivered.
    pub(crate) fn push(&mut self, publication: &Publication, now: Instant) {
        if self.entries.back().is_some_and(|last| last.offset.next() != publication.offset) {
            self.entries.clear();
        }
        self.entries.push_back(Entry::new(publication, now));
        self.prune(now);
    }

    /// Keeps older publications, read from the backlog, as far as there is room: the next client finds them here.
    ///
    /// They must end where the history begins, or at `top` when it is empty; else they are left out.
    pub(crate) fn push_older(&mut self, older: &[Publication], top: Offset, now: Instant) {
        for publication in older.iter().rev().filter(|publication| publication.offset <= top) {
            let follows = self.entries.front().map_or(top.next(), |first| first.offset);
            if publication.offset < follows && publication.offset.next() != follows || self.entries.len() >= self.size {
                return;
            }
            if publication.offset < follows {
                self.entries.push_front(Entry::new(publication, now));
            }
        }
    }

    /// Everything in `(after, top]`, or `None` if a part of it is not here.
    pub(crate) fn since(&self, after: Offset, top: Offset) -> Option<impl Iterator<Item = &Bytes>> {
        let skip = if after == top {
            self.entries.len()
        } else {
            let first = self.entries.front()?.offset;
            let reaches = first <= after.next() && after < top && self.entries.back()?.offset == top;
            usize::try_from(after.next().0.checked_sub(first.0).filter(|_| reaches)?).ok()?
        };
        Some(self.entries.range(skip..).map(|entry| &entry.body))
    }

    /// At most `limit` publications after `since`, oldest first; in reverse those before it, newest first.
    pub(crate) fn page(&self, since: Option<Offset>, reverse: bool, limit: usize) -> Vec<Bytes> {
        let bodies = |entry: &Entry| entry.body.clone();
        if reverse {
            let older = self.entries.iter().rev().skip_while(|entry| since.is_some_and(|since| entry.offset >= since));
            older.take(limit).map(bodies).collect()
        } else {
            let newer = self.entries.iter().skip_while(|entry| since.is_some_and(|since| entry.offset <= since));
            newer.take(limit).map(bodies).collect()
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries = VecDeque::new();
    }

    /// Lets go of what is too old or too much.
    pub(crate) fn prune(&mut self, now: Instant) {
        while self.entries.len() > self.size
            || self.entries.front().is_some_and(|first| now.saturating_duration_since(first.since) > self.ttl)
        {
            self.entries.pop_front();
        }
        if self.entries.is_empty() {
            self.clear();
        }
    }
}

impl Entry {
    fn new(publication: &Publication, since: Instant) -> Self {
        Self { offset: publication.offset, body: publication.body.clone(), since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(offset: u64) -> Publication {
        let body = Bytes::from(offset.to_string());
        Publication { offset: Offset(offset), frame: body.clone(), body }
    }

    fn history(size: usize, offsets: impl IntoIterator<Item = u64>) -> History {
        let mut history = History::new(size, Duration::from_mins(1));
        for offset in offsets {
            history.push(&publication(offset), Instant::now());
        }
        history
    }

    fn since(history: &History, after: u64, top: u64) -> Option<Vec<String>> {
        let found = history.since(Offset(after), Offset(top))?;
        Some(found.map(|body| String::from_utf8_lossy(body).into_owned()).collect())
    }

    #[test]
    fn gives_everything_after_an_offset_or_nothing() {
        let history = history(3, 1..=5);
        assert_eq!(since(&history, 2, 5).unwrap(), ["3", "4", "5"]);
        assert_eq!(since(&history, 4, 5).unwrap(), ["5"]);
        assert_eq!(since(&history, 5, 5).unwrap(), [""; 0]);
        assert_eq!(since(&history, 1, 5), None);
        assert_eq!(since(&history, 6, 5), None);
        assert_eq!(since(&history, 3, 7), None, "does not reach the top");
    }

    #[test]
    fn pages_go_on_from_an_offset_in_both_directions() {
        let history = history(3, 1..=5);
        let page = |since: Option<u64>, reverse, limit| {
            let page = history.page(since.map(Offset), reverse, limit);
            page.into_iter().map(|body| String::from_utf8_lossy(&body).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(page(None, false, 9), ["3", "4", "5"]);
        assert_eq!(page(Some(1), false, 2), ["3", "4"], "what has gone is left out");
        assert_eq!(page(Some(4), false, 9), ["5"]);
        assert_eq!(page(None, true, 2), ["5", "4"]);
        assert_eq!(page(Some(5), true, 9), ["4", "3"]);
        assert!(page(None, false, 0).is_empty());
    }

    #[test]
    fn a_jump_starts_anew() {
        let history = history(8, [1, 2, 7]);
        assert_eq!(since(&history, 6, 7).unwrap(), ["7"]);
        assert_eq!(since(&history, 1, 7), None);
    }

    #[test]
    fn what_is_too_old_goes() {
        let mut history = history(8, 1..=3);
        history.prune(Instant::now() + Duration::from_secs(61));
        assert_eq!(since(&history, 2, 3), None);
        assert_eq!(since(&history, 3, 3).unwrap(), [""; 0]);
    }

    #[test]
    fn older_publications_are_kept_as_far_as_they_fit() {
        let older: Vec<_> = (1..=4).map(publication).collect();
        let mut kept = history(5, 4..=6);
        kept.push_older(&older, Offset(6), Instant::now());
        assert_eq!(since(&kept, 1, 6).unwrap(), ["2", "3", "4", "5", "6"]);
        let mut apart = history(5, 6..=7);
        apart.push_older(&older, Offset(7), Instant::now());
        assert_eq!(since(&apart, 4, 7), None, "4 and 6 do not touch");
        let mut empty = history(5, []);
        empty.push_older(&older, Offset(4), Instant::now());
        assert_eq!(since(&empty, 2, 4).unwrap(), ["3", "4"]);
    }
}

//! A trouble told as a person would tell it: that it began, now and then how often it came, and that it is over.
//!
//! Whoever meets the trouble calls [`Complaint::happened`], whoever succeeds [`Complaint::over`]; each says whether now
//! is the time for a line in the log. Both are cheap, and many tasks may share a complaint.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// While some succeed and others do not, the trouble is not over: it is after so long without one, unless told.
const CALM: Duration = Duration::from_secs(1);

/// One kind of trouble at one place.
#[derive(Debug)]
pub struct Complaint {
    period: Duration,
    calm: Duration,
    /// Spares whoever succeeds the lock.
    open: AtomicBool,
    episode: Mutex<Option<Episode>>,
}

#[derive(Clone, Copy, Debug)]
struct Episode {
    began: Instant,
    last: Instant,
    said: Instant,
    times: u64,
    unsaid: u64,
}

/// A trouble to be told now. As text it follows what happened: nothing at first, later how often it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// How often it came since it began.
    pub times: u64,
    /// How long ago it began; zero: just now.
    pub lasts: Duration,
}

/// The end of a trouble. As text: after how often in how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relief {
    /// How often it came.
    pub times: u64,
    /// From its first time to its last.
    pub lasted: Duration,
    /// How often it came since it was told last.
    pub untold: u64,
}

impl Complaint {
    /// Tells that a trouble goes on at most once a `period`.
    pub const fn new(period: Duration) -> Self {
        Self { period, calm: CALM, open: AtomicBool::new(false), episode: Mutex::new(None) }
    }

    /// It is over after so long without one: for what is tried again seldom, while others succeed.
    #[must_use]
    pub const fn over_after(self, calm: Duration) -> Self {
        Self { calm, ..self }
    }

    /// It came. Something: tell it now.
    pub fn happened(&self) -> Option<Trouble> {
        self.happened_at(Instant::now(), 1)
    }

    /// It came several times at once.
    pub fn happened_times(&self, times: u64) -> Option<Trouble> {
        self.happened_at(Instant::now(), times)
    }

    /// Something worked that the trouble would have kept from working. Something: tell that it is over.
    pub fn over(&self) -> Option<Relief> {
        if self.is_open() { self.over_at(Instant::now()) } else { None }
    }

    /// Whether it came and is not over.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    fn happened_at(&self, now: Instant, times: u64) -> Option<Trouble> {
        let mut place = self.lock();
        let first = place.is_none();
        let episode = place.get_or_insert(Episode { began: now, last: now, said: now, times: 0, unsaid: 0 });
        self.open.store(true, Ordering::Release);
        episode.last = now;
        episode.times = episode.times.saturating_add(times);
        episode.unsaid = episode.unsaid.saturating_add(times);
        if !first && now.duration_since(episode.said) < self.period {
            return None;
        }
        (episode.said, episode.unsaid) = (now, 0);
        Some(Trouble { times: episode.times, lasts: now.duration_since(episode.began) })
    }

    fn over_at(&self, now: Instant) -> Option<Relief> {
        let mut place = self.lock();
        let Episode { began, last, times, unsaid, .. } =
            place.take_if(|episode| now.duration_since(episode.last) >= self.calm)?;
        self.open.store(false, Ordering::Release);
        Some(Relief { times, lasted: last.duration_since(began), untold: unsaid })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Episode>> {
        self.episode.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lasts.is_zero() { Ok(()) } else { write!(f, " ({} times in {:.0?})", self.times, self.lasts) }
    }
}

impl fmt::Display for Relief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.times {
            1 => write!(f, "after one refusal"),
            times => write!(f, "after {times} refusals in {:.1?}", self.lasted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_mins(1);

    #[test]
    fn a_trouble_is_told_once_then_once_a_period_and_once_when_it_is_over() {
        let complaint = Complaint::new(PERIOD);
        let begin = Instant::now();
        let told = |after: u64| complaint.happened_at(begin + Duration::from_secs(after), 1);
        assert_eq!(told(0).map(|trouble| trouble.to_string()).as_deref(), Some(""));
        assert!((1..60).all(|second| told(second).is_none()));
        assert_eq!(told(60).map(|trouble| trouble.to_string()).as_deref(), Some(" (61 times in 60s)"));
        assert_eq!(told(61), None);
        let relief = complaint.over_at(begin + Duration::from_secs(63));
        assert_eq!(relief, Some(Relief { times: 62, lasted: Duration::from_secs(61), untold: 1 }));
        assert_eq!(relief.map(|relief| relief.to_string()).as_deref(), Some("after 62 refusals in 61.0s"));
        assert_eq!(complaint.over(), None, "told once");
        assert!(told(64).is_some(), "the next one is told anew");
    }

    #[test]
    fn it_is_not_over_while_some_still_meet_it() {
        let complaint = Complaint::new(PERIOD);
        let begin = Instant::now();
        assert!(complaint.happened_at(begin, 1).is_some());
        assert_eq!(complaint.over_at(begin + CALM / 2), None);
        assert_eq!(complaint.happened_at(begin + CALM / 2, 1), None);
        assert_eq!(complaint.over_at(begin + CALM), None);
        assert!(complaint.is_open());
        assert!(complaint.over_at(begin + CALM * 2).is_some());
        assert!(!complaint.is_open());
    }
}

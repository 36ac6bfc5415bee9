//! When a failed task is restarted: soon at first, then more and more seldom, until it has run for a while.

use std::time::{Duration, Instant};

use super::report::Sight;

/// The first look may show a failure of before a change: the second decides.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_mins(1);
/// What no restart helps against is tried all the same, as somebody may have brought back what was missing.
const HOPELESS: Duration = Duration::from_mins(5);
/// Who runs this long has recovered.
const RECOVERED: Duration = Duration::from_mins(1);

/// Of one connector.
#[derive(Debug)]
pub(super) struct Pace {
    pause: Duration,
    due: Option<Instant>,
    running_since: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { pause: FIRST, due: None, running_since: None }
    }
}

impl Pace {
    /// Whether to restart now. To be asked at each look, as it counts a yes.
    pub(super) fn restart_is_due(&mut self, sight: &Sight, now: Instant) -> bool {
        let Some(hopeless) = sight.failure().map(|failure| failure.place_lost) else {
            self.due = None;
            self.rest(sight.is_running(), now);
            return false;
        };
        self.running_since = None;
        let pause = if hopeless { HOPELESS } else { self.pause };
        if now < *self.due.get_or_insert(now + pause) {
            return false;
        }
        self.pause = (self.pause * 2).min(LONGEST);
        self.due = Some(now + if hopeless { HOPELESS } else { self.pause });
        true
    }

    fn rest(&mut self, running: bool, now: Instant) {
        if !running {
            self.running_since = None;
        } else if now - *self.running_since.get_or_insert(now) >= RECOVERED {
            self.pause = FIRST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which seconds of `looks`, two seconds apart, something is restarted.
    fn restarts(pace: &mut Pace, begin: Instant, looks: u64, sight: &Sight) -> Vec<u64> {
        let seconds = (0..looks).map(|look| look * 2);
        seconds.filter(|second| pace.restart_is_due(sight, begin + Duration::from_secs(*second))).collect()
    }

    #[test]
    fn restarts_become_rarer_until_it_has_run_for_a_while() {
        let (mut pace, begin) = (Pace::default(), Instant::now());
        let failed = Sight::failed("x", false);
        assert_eq!(restarts(&mut pace, begin, 120, &failed), [2, 6, 14, 30, 62, 122, 182]);

        let later = begin + Duration::from_mins(10);
        assert!(restarts(&mut pace, later, 5, &Sight::running()).is_empty());
        let later = later + Duration::from_secs(10);
        assert_eq!(restarts(&mut pace, later, 40, &failed), [60], "ten seconds of running are no recovery");

        let later = later + Duration::from_mins(10);
        assert!(restarts(&mut pace, later, 32, &Sight::running()).is_empty());
        assert_eq!(restarts(&mut pace, later + Duration::from_mins(5), 4, &failed), [2, 6]);
    }

    #[test]
    fn what_no_restart_mends_is_tried_once_in_five_minutes() {
        let mut pace = Pace::default();
        assert_eq!(restarts(&mut pace, Instant::now(), 310, &Sight::failed("x", true)), [300, 600]);
    }

    #[test]
    fn what_does_not_run_but_has_not_failed_is_left_alone() {
        let mut pace = Pace::default();
        assert!(restarts(&mut pace, Instant::now(), 100, &Sight::Missing).is_empty());
    }
}

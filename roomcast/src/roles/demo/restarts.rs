//! When a child process that ended by itself is started again: at once, and later and later if that does not help.

use std::time::{Duration, Instant};

/// Who lives this long after a start has recovered.
const LIVED: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The starts of one process, or of some that need each other.
pub(super) struct Restarts {
    started: Instant,
    in_a_row: u32,
}

impl Restarts {
    /// It was started just now, for the first time.
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), in_a_row: 0 }
    }

    /// It ended. How long to wait before it is started again.
    pub(super) fn ended(&mut self) -> Duration {
        if self.started.elapsed() > LIVED {
            self.in_a_row = 0;
        }
        let pause = match self.in_a_row {
            0 => Duration::ZERO,
            starts => (FIRST_PAUSE * 2_u32.saturating_pow(starts - 1)).min(LONGEST_PAUSE),
        };
        self.in_a_row += 1;
        pause
    }

    /// Its start is over, well or not.
    pub(super) fn started(&mut self) {
        self.started = Instant::now();
    }

    /// Starts since it last had lived for a while, the coming one included.
    pub(super) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_is_at_once_and_each_further_one_later() {
        let mut restarts = Restarts::new();
        let pauses: Vec<u64> = (0..7).map(|_| restarts.ended().as_secs()).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30]);
        restarts.started = Instant::now().checked_sub(LIVED * 2).unwrap();
        assert_eq!((restarts.ended(), restarts.in_a_row()), (Duration::ZERO, 1));
    }
}

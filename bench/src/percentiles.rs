//! Percentiles of measured durations, each value kept: the tail is what one looks for.

use std::fmt;

/// Durations in microseconds, sorted. Signed: a client may read a frame before the writer hears of the commit.
#[derive(Clone, Debug, Default)]
pub struct Durations(Vec<i64>);

impl Durations {
    /// Takes measurements in any order.
    pub fn of(mut micros: Vec<i64>) -> Self {
        micros.sort_unstable();
        Self(micros)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest value that at least `percent` of all values do not exceed (nearest rank); 0 of nothing.
    pub fn percentile(&self, percent: u8) -> i64 {
        let rank = (self.0.len() * usize::from(percent)).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(0)
    }

    /// The largest; 0 of nothing.
    pub fn max(&self) -> i64 {
        self.0.last().copied().unwrap_or(0)
    }

    /// The usual four in milliseconds: p50 / p90 / p99 / max.
    pub fn summary(&self) -> String {
        let [p50, p90, p99] = [50, 90, 99].map(|percent| Millis(self.percentile(percent)));
        format!("{p50} / {p90} / {p99} / {}", Millis(self.max()))
    }
}

/// Microseconds, shown as milliseconds with two digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub i64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.0 as f64 / 1000.0)
    }
}

/// The middle one of a few runs (the lower of two middles); `None` of nothing.
pub fn median<T: Clone>(runs: &[T], by: impl Fn(&T) -> f64) -> Option<T> {
    let mut runs = runs.to_vec();
    runs.sort_by(|one, other| by(one).total_cmp(&by(other)));
    runs.get(runs.len().saturating_sub(1) / 2).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let durations = Durations::of((1..=200).rev().collect());
        assert_eq!([1, 50, 90, 99, 100].map(|percent| durations.percentile(percent)), [2, 100, 180, 198, 200]);
        assert_eq!(durations.max(), 200);
        assert_eq!(Durations::of(vec![7]).percentile(50), 7);
    }

    #[test]
    fn nothing_measured_is_zero_not_a_panic() {
        assert_eq!((Durations::default().percentile(99), Durations::default().max()), (0, 0));
        assert!(median::<f64>(&[], |&run| run).is_none());
    }

    #[test]
    fn durations_keep_their_sign() {
        let durations = Durations::of(vec![150, -20, 90]);
        assert_eq!(durations.summary(), "0.09 / 0.15 / 0.15 / 0.15");
        assert_eq!(durations.percentile(1), -20);
        assert_eq!(Millis(-20).to_string(), "-0.02");
    }

    #[test]
    fn the_median_of_runs_is_one_of_them() {
        assert_eq!(median(&[3.0, 1.0, 2.0], |&run| run), Some(2.0));
        assert_eq!(median(&[4.0, 1.0], |&run| run), Some(1.0));
    }
}

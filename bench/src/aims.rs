//! What was aimed at on a quiet machine with two cores, and whether it was reached.

use crate::{
    delivery::Faults,
    drain::Run,
    percentiles::{Millis, median},
    suite::{Figures, INTO_HUB, ONE, SPLIT},
    table::{Table, thousands},
    writes::{WakeUp, Way, median_of, wake_up_cost},
};

const WRITES_OF_PGBENCH: f64 = 65.0;
const HOT_ROOM: f64 = 8_000.0;
const HOT_ROOM_P99: i64 = 10_000;
const DRAIN: f64 = 150_000.0;
const WAKE_UP_COST: f64 = 5.0;

/// Each aim with what was measured.
pub(crate) struct Aims(Vec<(String, String, bool)>);

impl Aims {
    pub(crate) fn of(figures: &Figures) -> Self {
        let mut aims = Self(Vec::new());
        aims.latency(figures, ONE, 500, 1500);
        aims.latency(figures, SPLIT, 2000, 5000);
        aims.drain(figures);
        aims.writes(figures);
        aims.faults(figures);
        aims
    }

    fn note(&mut self, aim: impl Into<String>, measured: impl Into<String>, reached: bool) {
        self.0.push((aim.into(), measured.into(), reached));
    }

    fn latency(&mut self, figures: &Figures, shape: &str, p50: i64, p99: i64) {
        for (_, outcome) in figures.latency.iter().filter(|(name, _)| *name == shape) {
            let measured = [50, 99].map(|percent| outcome.from_commit.percentile(percent));
            self.note(
                format!(
                    "{shape}, {}/s: commit → client p50 ≤ {} ms, p99 ≤ {} ms",
                    outcome.rate,
                    Millis(p50),
                    Millis(p99)
                ),
                format!("{} / {}", Millis(measured[0]), Millis(measured[1])),
                measured[0] <= p50 && measured[1] <= p99,
            );
        }
    }

    fn drain(&mut self, figures: &Figures) {
        for (case, runs) in figures.drain.iter().filter(|(case, _)| [ONE, INTO_HUB].contains(case)) {
            let rate = median(runs, Run::rows_a_second).map_or(0.0, |run| run.rows_a_second());
            let aim = format!("drain, {case}: ≥ {} rows/s", thousands(DRAIN));
            self.note(aim, thousands(rate), rate >= DRAIN);
        }
    }

    fn writes(&mut self, figures: &Figures) {
        let lines = &figures.writes;
        let poster = Way::Poster(WakeUp::InProcess);
        if let (Some(ours), Some(pgbench)) = (median_of(lines, true, poster), median_of(lines, true, Way::Pgbench)) {
            let share = 100.0 * ours.rate() / pgbench.rate();
            let aim = format!("writes over many rooms: ≥ {WRITES_OF_PGBENCH:.0} % of pgbench's");
            self.note(aim, format!("{share:.0} %"), share >= WRITES_OF_PGBENCH);
        }
        if let Some(hot) = median_of(lines, false, poster) {
            let (rate, p99) = (hot.rate(), hot.answers.percentile(99));
            self.note(
                format!("one hot room: ≥ {} messages/s, p99 < {} ms", thousands(HOT_ROOM), Millis(HOT_ROOM_P99)),
                format!("{}, {} ms", thousands(rate), Millis(p99)),
                rate >= HOT_ROOM && p99 < HOT_ROOM_P99,
            );
        }
        for wake in [WakeUp::InProcess, WakeUp::Notify] {
            if let Some(cost) = wake_up_cost(lines, true, false, wake) {
                let aim = format!("the wake-up ({wake}) costs under {WAKE_UP_COST:.0} % of the writes");
                self.note(aim, format!("{cost:.1} %"), cost < WAKE_UP_COST);
            }
        }
    }

    fn faults(&mut self, figures: &Figures) {
        let latency = figures.latency.iter().map(|(_, outcome)| outcome.faults);
        let drain = figures.drain.iter().flat_map(|(_, runs)| runs.iter().map(|run| run.faults));
        let faults = latency.chain(drain).fold(Faults::default(), Faults::and);
        self.note("lost / repeated / out of order, all runs: 0", faults.to_string(), faults == Faults::default());
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(&["aim", "measured", "reached"]);
        for (aim, measured, reached) in &self.0 {
            table.row([aim.as_str(), measured, if *reached { "yes" } else { "**no**" }]);
        }
        table
    }
}

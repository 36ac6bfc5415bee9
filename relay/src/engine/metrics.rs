//! Names of a tail's metrics.

use ::metrics::{Unit, describe_counter, describe_gauge};

/// Records of the engine's topics that this hub has not executed yet, by topic and partition.
pub(super) const LAG: &str = "roomcast_engine_lag_records";
/// Whether every partition can be reached: 1 or 0.
pub(super) const REACHED: &str = "roomcast_engine_reached";
/// Records read from the engine's topics, by what they were: `command`, `node`, or `unreadable`, which are skipped.
pub(super) const RECORDS: &str = "roomcast_engine_records_total";
/// How often records were gone before they could be read, so that all clients were sent to their backlogs.
pub(super) const MISSED: &str = "roomcast_engine_missed_total";

pub(crate) fn describe() {
    describe_gauge!(LAG, Unit::Count, "Records of the engine that this hub has not executed yet");
    describe_gauge!(REACHED, Unit::Count, "Whether every partition of the engine can be reached");
    describe_counter!(RECORDS, Unit::Count, "Records read from the engine's topics");
    describe_counter!(MISSED, Unit::Count, "Times that records were gone before they could be read");
}

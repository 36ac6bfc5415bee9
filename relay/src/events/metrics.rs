//! Names of what a consumer of events counts and times; its lag is [`crate::metrics::KAFKA_LAG`].

use ::metrics::{Unit, describe_counter, describe_histogram};

/// Events by topic and outcome: the sink's word, or `poison`, or `tombstone`.
pub(super) const EVENTS: &str = "roomcast_events_total";
/// Records that were applied together, by topic.
pub(super) const BATCH_SIZE: &str = "roomcast_events_batch_size";
/// Time that the sink took for them.
pub(super) const APPLY_DURATION: &str = "roomcast_events_apply_duration_seconds";

/// Tells the recorder what the names mean.
pub(crate) fn describe() {
    describe_counter!(EVENTS, Unit::Count, "Events read for a read model, by what became of them");
    describe_histogram!(BATCH_SIZE, Unit::Count, "Events applied together");
    describe_histogram!(APPLY_DURATION, Unit::Seconds, "Time that applying a batch of events took");
}

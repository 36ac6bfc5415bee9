//! Names of the relay's metrics. None is labelled by room, user or channel: their number has no bound.

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Rows that wait in the partitions of this relay; summed over the relays, all of them. Counted up to 10,000 a partition.
pub const OUTBOX_ROWS: &str = "roomcast_outbox_rows";
/// Age of the oldest row that waits in the partitions of this relay.
pub const OUTBOX_OLDEST_AGE: &str = "roomcast_outbox_oldest_age_seconds";
/// Partitions that this relay carries.
pub const PARTITIONS_OWNED: &str = "roomcast_relay_partitions";
/// Rows of a claimed batch; empty claims are not counted.
pub const BATCH_ROWS: &str = "roomcast_relay_batch_rows";
/// Rows that the destination accepted and that were deleted.
pub const DELIVERED: &str = "roomcast_relay_delivered_total";
/// Rows that were claimed and left for another try.
pub const RETRIED: &str = "roomcast_relay_retried_total";
/// Rows that went to the table `dead_letters`.
pub const DEAD_LETTERED: &str = "roomcast_relay_dead_lettered_total";
/// Time of one claim, empty ones included.
pub const CLAIM_DURATION: &str = "roomcast_relay_claim_duration_seconds";
/// Time that the destination took for one batch.
pub const DELIVER_DURATION: &str = "roomcast_relay_deliver_duration_seconds";
/// Time that the deletion of one batch took.
pub const ACK_DURATION: &str = "roomcast_relay_ack_duration_seconds";
/// Sessions that a worker lost and opened again.
pub const RECONNECTS: &str = "roomcast_relay_reconnects_total";
/// Wake-ups sent to other processes.
pub const NOTIFICATIONS: &str = "roomcast_outbox_notifications_total";

/// Tells the recorder what the names mean. Call it once it is installed.
pub fn describe() {
    describe_gauge!(OUTBOX_ROWS, Unit::Count, "Rows waiting in the relay's partitions, counted up to 10,000 each");
    describe_gauge!(OUTBOX_OLDEST_AGE, Unit::Seconds, "Age of the oldest row waiting in the relay's partitions");
    describe_gauge!(PARTITIONS_OWNED, Unit::Count, "Partitions that this relay carries");
    describe_histogram!(BATCH_ROWS, Unit::Count, "Rows of a claimed batch");
    describe_counter!(DELIVERED, Unit::Count, "Rows accepted by the destination and deleted");
    describe_counter!(RETRIED, Unit::Count, "Rows claimed and left for another try");
    describe_counter!(DEAD_LETTERED, Unit::Count, "Rows moved to dead_letters");
    describe_histogram!(CLAIM_DURATION, Unit::Seconds, "Time of one claim");
    describe_histogram!(DELIVER_DURATION, Unit::Seconds, "Time the destination took for one batch");
    describe_histogram!(ACK_DURATION, Unit::Seconds, "Time the deletion of one batch took");
    describe_counter!(RECONNECTS, Unit::Count, "Database sessions lost by a worker");
    describe_counter!(NOTIFICATIONS, Unit::Count, "Wake-ups sent to other processes");
}

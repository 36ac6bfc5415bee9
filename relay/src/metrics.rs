//! Names of the relay's metrics. None is labelled by room, user or channel: their number has no bound.

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Rows that wait in the partitions of this relay; summed over the relays, all of them. Counted up to 10,000 a partition.
pub const OUTBOX_ROWS: &str = "roomcast_outbox_rows";
/// Age of the oldest row that waits in the partitions of this relay.
pub const OUTBOX_OLDEST_AGE: &str = "roomcast_outbox_oldest_age_seconds";
/// How often a row of the outbox appeared where none could any more, so that claims began at the lowest id again.
pub const OUTBOX_BELOW_FLOOR: &str = "roomcast_outbox_below_floor_total";
/// Age of the oldest snapshot that anybody holds: a session, a prepared transaction, a standby, a slot. While it is held
/// nothing that died since is removed.
pub const OLDEST_SNAPSHOT: &str = "roomcast_oldest_snapshot_seconds";
/// Partitions that this relay carries.
pub const PARTITIONS_OWNED: &str = "roomcast_relay_partitions";
/// Rows of a batch, by source; empty claims are not counted.
pub const BATCH_ROWS: &str = "roomcast_relay_batch_rows";
/// Rows that the destination accepted. This and the next three are labelled by source.
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
/// Sessions that were lost and opened again, by source.
pub const RECONNECTS: &str = "roomcast_relay_reconnects_total";
/// Write-ahead log that the server keeps because a slot of ours may need it: from its `restart_lsn` on. By slot.
pub const WAL_RETAINED_BYTES: &str = "roomcast_wal_retained_bytes";
/// Write-ahead log from the position that a slot's reader confirmed to its end. By slot.
pub const WAL_LAG_BYTES: &str = "roomcast_wal_lag_bytes";
/// Whether somebody reads from a slot: 1 or 0. By slot.
pub const SLOT_ACTIVE: &str = "roomcast_slot_active";
/// Time since somebody last read from a slot, 0 while somebody does. By slot.
pub const SLOT_IDLE: &str = "roomcast_slot_idle_seconds";
/// Whether a slot is what it should be: 0 if it is missing or the server gave it up. By slot.
pub const SLOT_USABLE: &str = "roomcast_slot_usable";
/// Rows of `chat_cdc` read from the write-ahead log: `carried`, or `passed` because another source carries them.
pub const WAL_ROWS: &str = "roomcast_wal_rows_total";
/// Slots that were gone and had to be made anew. Any is a reason to look.
pub const WAL_SLOTS_LOST: &str = "roomcast_wal_slots_lost_total";
/// Records that wait in a Kafka partition of this relay; summed over the relays, all of them.
pub const KAFKA_LAG: &str = "roomcast_kafka_lag_records";
/// Records read from Kafka, by what they were.
pub const KAFKA_RECORDS: &str = "roomcast_kafka_records_total";
/// How often a Kafka partition was paused because its rows could not be delivered as fast as they came.
pub const KAFKA_PAUSES: &str = "roomcast_kafka_pauses_total";
/// Records that wait in all Kafka partitions of this relay together.
pub const KAFKA_LAG_ALL: &str = "roomcast_kafka_lag_all_records";
/// Clients of Kafka that were of no more use and made anew, by what they are for: `publications`, `nodes`, `tail`, `source`,
/// `events`.
pub const KAFKA_CLIENTS_RENEWED: &str = "roomcast_kafka_clients_renewed_total";
/// Time that a probe took from its sending to the reader at the end of its way, by way.
pub const PROBE_DURATION: &str = "roomcast_probe_seconds";
/// Time since a probe came through last, by way. Above 30 s the way does not work.
pub const PROBE_AGE: &str = "roomcast_probe_age_seconds";
/// Rows of `chat_cdc` that were pruned by age.
pub const CDC_PRUNED: &str = "roomcast_cdc_pruned_rows_total";
/// Size of a table with its indexes, by table. What bounds each is in docs/growth.md.
pub const TABLE_BYTES: &str = "roomcast_table_bytes";
/// Rows of `dead_letters`, which wait for a person; counted up to 100,000.
pub const DEAD_LETTERS: &str = "roomcast_dead_letters";
/// Wake-ups sent to other processes.
pub const NOTIFICATIONS: &str = "roomcast_outbox_notifications_total";

/// Tells the recorder what the names mean. Call it once it is installed.
pub fn describe() {
    crate::events::metrics::describe();
    crate::engine::metrics::describe();
    describe_gauge!(OUTBOX_ROWS, Unit::Count, "Rows waiting in the relay's partitions, counted up to 10,000 each");
    describe_gauge!(OUTBOX_OLDEST_AGE, Unit::Seconds, "Age of the oldest row waiting in the relay's partitions");
    describe_counter!(OUTBOX_BELOW_FLOOR, Unit::Count, "Rows that appeared below the floor of their partition");
    describe_gauge!(OLDEST_SNAPSHOT, Unit::Seconds, "Age of the oldest snapshot that anybody holds");
    describe_gauge!(PARTITIONS_OWNED, Unit::Count, "Partitions that this relay carries");
    describe_histogram!(BATCH_ROWS, Unit::Count, "Rows of a batch");
    describe_counter!(DELIVERED, Unit::Count, "Rows accepted by the destination");
    describe_counter!(RETRIED, Unit::Count, "Rows claimed and left for another try");
    describe_counter!(DEAD_LETTERED, Unit::Count, "Rows moved to dead_letters");
    describe_histogram!(CLAIM_DURATION, Unit::Seconds, "Time of one claim");
    describe_histogram!(DELIVER_DURATION, Unit::Seconds, "Time the destination took for one batch");
    describe_histogram!(ACK_DURATION, Unit::Seconds, "Time the deletion of one batch took");
    describe_counter!(RECONNECTS, Unit::Count, "Sessions that were lost and opened again");
    describe_gauge!(WAL_RETAINED_BYTES, Unit::Bytes, "Write-ahead log kept for a slot");
    describe_gauge!(WAL_LAG_BYTES, Unit::Bytes, "Write-ahead log not confirmed by a slot's reader yet");
    describe_gauge!(SLOT_ACTIVE, Unit::Count, "Whether somebody reads from a slot");
    describe_gauge!(SLOT_IDLE, Unit::Seconds, "Time since somebody last read from a slot");
    describe_gauge!(SLOT_USABLE, Unit::Count, "Whether a slot is there and was not given up");
    describe_counter!(WAL_ROWS, Unit::Count, "Rows read from the write-ahead log");
    describe_counter!(WAL_SLOTS_LOST, Unit::Count, "Replication slots that were gone and made anew");
    describe_gauge!(KAFKA_LAG, Unit::Count, "Records waiting in a Kafka partition of this relay");
    describe_counter!(KAFKA_RECORDS, Unit::Count, "Records read from Kafka");
    describe_counter!(KAFKA_PAUSES, Unit::Count, "Kafka partitions paused because their queue was full");
    describe_gauge!(KAFKA_LAG_ALL, Unit::Count, "Records waiting in the Kafka partitions of this relay");
    describe_counter!(KAFKA_CLIENTS_RENEWED, Unit::Count, "Clients of Kafka thrown away and made anew");
    describe_histogram!(PROBE_DURATION, Unit::Seconds, "Time a probe took from the database to its reader");
    describe_gauge!(PROBE_AGE, Unit::Seconds, "Time since a probe came through last");
    describe_counter!(CDC_PRUNED, Unit::Count, "Rows of chat_cdc pruned by age");
    describe_gauge!(TABLE_BYTES, Unit::Bytes, "Size of a table with its indexes");
    describe_gauge!(DEAD_LETTERS, Unit::Count, "Rows that wait in dead_letters for a person, counted up to 100,000");
    describe_counter!(NOTIFICATIONS, Unit::Count, "Wake-ups sent to other processes");
}

//! Names of the supervisor's metrics, labelled by connector.

use ::metrics::{Unit, describe_counter, describe_gauge};

/// 1 while a connector and its task are RUNNING, else 0.
pub const CONNECTOR_STATE: &str = "roomcast_connector_state";
/// How often a failed task was restarted.
pub const TASK_RESTARTS: &str = "roomcast_connector_task_restarts_total";

/// Tells the recorder what the names mean. Call it once it is installed.
pub fn describe() {
    describe_gauge!(CONNECTOR_STATE, Unit::Count, "1 while the connector and its task are RUNNING, else 0");
    describe_counter!(TASK_RESTARTS, Unit::Count, "Restarts of failed tasks");
}

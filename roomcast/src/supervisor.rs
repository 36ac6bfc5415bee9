//! Watches Debezium's connectors from this process: a part of `/readyz`, and metrics.

use debezium::{Connect, Kind, Supervisor, SupervisorHandle};

use crate::{health::Health, lifecycle::Lifecycle};

/// Starts watching; ends with the lifecycle.
pub fn start(connect_url: &str, kinds: &[Kind], lifecycle: &Lifecycle) -> SupervisorHandle {
    let names = kinds.iter().map(|kind| kind.connector_name());
    let supervisor = Supervisor::new(Connect::new(connect_url), names);
    let (handle, stopping) = (supervisor.handle(), lifecycle.stopping());
    lifecycle.run("the supervisor of the connectors", async move {
        supervisor.run(stopping.cancelled_owned()).await;
        Ok(())
    });
    handle
}

/// Ready while every connector runs.
pub fn health_of(health: Health, supervisor: SupervisorHandle) -> Health {
    health.with("connectors", move || {
        let report = supervisor.report();
        async move {
            let details = || serde_json::to_value(&report).map_err(|error| error.to_string());
            if report.is_ready() { details() } else { Err(report.to_string()) }
        }
    })
}

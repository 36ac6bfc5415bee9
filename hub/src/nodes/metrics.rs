//! What a node counts about the others and the bus between them.

use metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::metrics::as_gauge;

const NODES: &str = "hub_nodes";
const SAID: &str = "hub_bus_said_total";
const HEARD: &str = "hub_bus_heard_total";
const SURVEYS: &str = "hub_surveys_total";
const UNTOLD: &str = "hub_joins_untold_total";

/// Says what the names mean.
pub(super) fn describe() {
    describe_gauge!(NODES, "Nodes that are there, this one included");
    describe_counter!(SAID, "Messages said to the other nodes, by kind and outcome");
    describe_counter!(HEARD, "Messages heard on the bus by kind; unknown: of another version; garbage: of none");
    describe_counter!(SURVEYS, "Questions to all nodes by outcome: ok, failed");
    describe_counter!(UNTOLD, "Joins and leaves that other nodes were not told, because the bus was behind");
}

/// So many nodes are there.
pub(super) fn nodes(now: usize) {
    gauge!(NODES).set(as_gauge(now));
}

/// A message was said, or could not be.
pub(super) fn said(kind: &'static str, ok: bool) {
    counter!(SAID, "kind" => kind, "outcome" => outcome(ok)).increment(1);
}

/// A message was heard.
pub(super) fn heard(kind: &'static str) {
    counter!(HEARD, "kind" => kind).increment(1);
}

/// All nodes were asked.
pub(super) fn surveyed(ok: bool) {
    counter!(SURVEYS, "outcome" => outcome(ok)).increment(1);
}

/// A coming or going is not told.
pub(super) fn untold() {
    counter!(UNTOLD).increment(1);
}

fn outcome(ok: bool) -> &'static str {
    if ok { "ok" } else { "failed" }
}

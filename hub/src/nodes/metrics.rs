//! What a node counts about the others and the bus between them.

use metrics::{counter, describe_counter};

const SAID: &str = "hub_bus_said_total";
const HEARD: &str = "hub_bus_heard_total";

/// Says what the names mean.
pub(super) fn describe() {
    describe_counter!(SAID, "Messages said to the other nodes, by kind and outcome");
    describe_counter!(HEARD, "Messages heard on the bus by kind; unknown: of another version; garbage: of none");
}

/// A message was said, or could not be.
pub(super) fn said(kind: &'static str, ok: bool) {
    counter!(SAID, "kind" => kind, "outcome" => if ok { "ok" } else { "failed" }).increment(1);
}

/// A message was heard.
pub(super) fn heard(kind: &'static str) {
    counter!(HEARD, "kind" => kind).increment(1);
}

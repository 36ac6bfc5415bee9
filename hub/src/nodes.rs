//! Many hubs that are one: what concerns all of them is said on a [`Bus`] and carried out by each when it is heard, the
//! speaker included. So everything that happens in a channel happens everywhere in the same order.
//!
//! A hub that was started alone has none of this, and nothing here costs it anything.

mod bus;
mod calls;
mod hear;
mod message;
mod metrics;

use std::sync::Arc;

use uuid::Uuid;

pub use self::bus::{Bus, BusError};
use self::calls::Calls;

/// A node's relations to the others.
pub(crate) struct Nodes {
    /// This node.
    id: Uuid,
    bus: Arc<dyn Bus>,
    calls: Calls,
}

impl Nodes {
    pub(crate) fn new(id: Uuid, bus: Arc<dyn Bus>) -> Self {
        metrics::describe();
        Self { id, bus, calls: Calls::default() }
    }
}

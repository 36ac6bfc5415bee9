//! The connections that hear a channel: one slice to deliver to, and constant time to join and leave.

use std::{collections::HashMap, sync::Arc};

use crate::connection::{Connection, ConnectionId};

#[derive(Default)]
pub(super) struct Subscribers {
    connections: Vec<Arc<Connection>>,
    places: HashMap<ConnectionId, usize>,
}

impl Subscribers {
    pub(super) fn as_slice(&self) -> &[Arc<Connection>] {
        &self.connections
    }

    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    pub(super) fn add(&mut self, connection: Arc<Connection>) {
        if self.places.insert(connection.id, self.connections.len()).is_none() {
            self.connections.push(connection);
        }
    }

    /// True if it was one of them.
    pub(super) fn remove(&mut self, id: ConnectionId) -> bool {
        let Some(place) = self.places.remove(&id) else { return false };
        self.connections.swap_remove(place);
        if let Some(moved) = self.connections.get(place) {
            self.places.insert(moved.id, place);
        }
        true
    }

    pub(super) fn take(&mut self) -> Vec<Arc<Connection>> {
        self.places.clear();
        std::mem::take(&mut self.connections)
    }
}

//! Every open socket, and the connected ones by user. Short locks, none across a write.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::{
    connection::{Connection, ConnectionId},
    metrics,
};

/// The user has as many connections as it may have.
pub(crate) struct TooMany;

#[derive(Default)]
pub(crate) struct Registry {
    next: AtomicU64,
    open: RwLock<HashMap<ConnectionId, Arc<Connection>>>,
    users: RwLock<HashMap<Arc<str>, Vec<Arc<Connection>>>>,
    emptied: Notify,
}

impl Registry {
    pub(crate) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A socket was opened.
    pub(crate) fn open(&self, connection: &Arc<Connection>) {
        let mut open = self.open.write();
        open.insert(connection.id, Arc::clone(connection));
        metrics::clients(open.len());
    }

    /// The socket belongs to `user`. From here on the commands of the relay reach it. `most` 0 is any number.
    pub(crate) fn name(&self, user: &Arc<str>, connection: &Arc<Connection>, most: usize) -> Result<(), TooMany> {
        let mut users = self.users.write();
        if most > 0 && users.get(user).is_some_and(|connections| connections.len() >= most) {
            return Err(TooMany);
        }
        users.entry(Arc::clone(user)).or_default().push(Arc::clone(connection));
        Ok(())
    }

    /// The socket has ended.
    pub(crate) fn remove(&self, connection: &Connection) {
        let user = connection.user();
        if !user.is_empty() {
            let mut users = self.users.write();
            if let Some(connections) = users.get_mut(user) {
                connections.retain(|other| other.id != connection.id);
                if connections.is_empty() {
                    users.remove(user);
                }
            }
        }
        let mut open = self.open.write();
        open.remove(&connection.id);
        metrics::clients(open.len());
        if open.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// An open socket.
    pub(crate) fn get(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        self.open.read().get(&id).cloned()
    }

    /// The connections of a user, connecting ones included.
    pub(crate) fn of_user(&self, user: &str) -> Vec<Arc<Connection>> {
        self.users.read().get(user).cloned().unwrap_or_default()
    }

    /// The connections that were the user's when this one became so. Of two that come together, one sees the other.
    pub(crate) fn before(&self, user: &str, connection: &Connection) -> Vec<Arc<Connection>> {
        let users = self.users.read();
        let connections = users.get(user).into_iter().flatten();
        connections.take_while(|other| other.id != connection.id).cloned().collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.open.read().values().cloned().collect()
    }

    pub(crate) fn clients(&self) -> usize {
        self.open.read().len()
    }

    pub(crate) fn users(&self) -> usize {
        self.users.read().len()
    }

    /// Waits until no socket is open.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable(); // before looking: a removal from here on is not missed
            if self.clients() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

//! Whoever has to wait for the lock of a room waits here first, where waiting costs no connection.
//!
//! Of one room one request at a time has a connection; of all rooms together a share of the pool. So a room that somebody
//! has locked for long (a migration, a forgotten psql) takes one connection, however many want to join it, and others
//! go on. Nothing is lost by it: under the room's lock they would have gone one after the other anyway.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use protocol::RoomId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::ApiError;

/// How long a request waits for its turn before it is answered with 503.
const PATIENCE: Duration = Duration::from_secs(3);

/// Requests that may wait for one room.
const WAITING: usize = 256;

/// The turns of all rooms.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Shared>);

struct Shared {
    /// Rooms that somebody waits for or works in.
    rooms: Mutex<HashMap<RoomId, Queue>>,
    /// The share of the pool.
    connections: Arc<Semaphore>,
}

struct Queue {
    turn: Arc<Semaphore>,
    requests: usize,
}

/// A request's turn in a room. Dropped, the next one has it.
pub(crate) struct Turn {
    _room: OwnedSemaphorePermit,
    _connection: OwnedSemaphorePermit,
    _place: Place,
}

/// A request's place in the queue of a room.
struct Place {
    shared: Arc<Shared>,
    room: RoomId,
}

impl Turns {
    /// Of a pool with so many connections rooms that wait take a quarter.
    pub(crate) fn new(connections: u32) -> Self {
        let share = (connections / 4).max(1) as usize;
        Self(Arc::new(Shared { rooms: Mutex::default(), connections: Arc::new(Semaphore::new(share)) }))
    }

    /// Waits for the turn of a request in a room, but not for ever.
    pub(crate) async fn take(&self, room: RoomId) -> Result<Turn, ApiError> {
        self.take_within(PATIENCE, room).await
    }

    async fn take_within(&self, patience: Duration, room: RoomId) -> Result<Turn, ApiError> {
        let (place, turn) = self.queue(room)?;
        let taken = async {
            // The room's first: who waits for it must not keep a connection from another room.
            Some((turn.acquire_owned().await.ok()?, self.0.connections.clone().acquire_owned().await.ok()?))
        };
        match timeout(patience, taken).await {
            Ok(Some((turn, connection))) => Ok(Turn { _room: turn, _connection: connection, _place: place }),
            Ok(None) | Err(_) => Err(ApiError::RoomBusy),
        }
    }

    fn queue(&self, room: RoomId) -> Result<(Place, Arc<Semaphore>), ApiError> {
        let mut rooms = self.0.rooms.lock();
        let queue = rooms.entry(room).or_insert_with(|| Queue { turn: Arc::new(Semaphore::new(1)), requests: 0 });
        if queue.requests >= WAITING {
            return Err(ApiError::RoomBusy);
        }
        queue.requests += 1;
        Ok((Place { shared: Arc::clone(&self.0), room }, Arc::clone(&queue.turn)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut rooms = self.shared.rooms.lock();
        let Some(queue) = rooms.get_mut(&self.room) else { return };
        queue.requests -= 1;
        if queue.requests == 0 {
            rooms.remove(&self.room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_room_takes_one_connection_and_leaves_nothing_behind() {
        let turns = Turns::new(16);
        let first = turns.take(RoomId(1)).await.unwrap();
        let late = turns.take_within(Duration::from_millis(10), RoomId(1)).await;
        assert!(matches!(late, Err(ApiError::RoomBusy)), "it waits, and gives up");
        let others = [turns.take(RoomId(2)).await.unwrap(), turns.take(RoomId(3)).await.unwrap()];
        drop(first);
        drop(turns.take(RoomId(1)).await.unwrap());
        drop(others);
        assert!(turns.0.rooms.lock().is_empty());
        assert_eq!(turns.0.connections.available_permits(), 4);
    }

    #[tokio::test]
    async fn a_queue_that_is_full_is_told_at_once() {
        let turns = Turns::new(16);
        let _first = turns.take(RoomId(1)).await.unwrap();
        let waiting: Vec<_> = (1..WAITING).map(|_| turns.queue(RoomId(1)).unwrap()).collect();
        assert!(turns.queue(RoomId(1)).is_err());
        drop(waiting);
        assert!(turns.queue(RoomId(1)).is_ok());
    }
}

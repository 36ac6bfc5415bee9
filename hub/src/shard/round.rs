//! A round of deliveries: what a batch of publications has for each connection goes out in one write, in order, whatever
//! number of its channels has news. The one place through which publications leave.

use std::sync::Arc;

use bytes::Bytes;

use crate::connection::Connection;

/// After so much work the sockets' readers and flushers have their turn: 256 writes, or many more frames gathered.
const TURN: usize = 256 * WRITE;
/// What a write costs, where gathering a frame costs 1.
const WRITE: usize = 32;

pub(super) enum Round {
    /// The news of one channel: nobody has anything else to wait for.
    Single { done: usize },
    /// The connections that have something to be posted.
    Gathered { waiting: Vec<Arc<Connection>>, done: usize },
}

impl Round {
    /// A round with the news of so many channels.
    pub(super) fn of(channels: usize) -> Self {
        if channels > 1 { Self::Gathered { waiting: Vec::new(), done: 0 } } else { Self::Single { done: 0 } }
    }

    /// Sends the same bytes to many connections, at once or at the end of the round.
    pub(super) async fn deliver(&mut self, connections: &[Arc<Connection>], frames: &Bytes) {
        for connection in connections {
            match self {
                Self::Single { done } => {
                    connection.push(frames);
                    take_turns(done, WRITE).await;
                }
                Self::Gathered { waiting, done } => {
                    if connection.push_gathering(frames) {
                        waiting.push(Arc::clone(connection));
                    }
                    take_turns(done, 1).await;
                }
            }
        }
    }

    /// Everything has been sent, or is in the hands of flushers.
    pub(super) async fn finish(self) {
        if let Self::Gathered { waiting, mut done } = self {
            for connection in waiting {
                connection.send_gathered();
                take_turns(&mut done, WRITE).await;
            }
        }
    }
}

async fn take_turns(done: &mut usize, cost: usize) {
    *done += cost;
    if *done >= TURN {
        *done = 0;
        tokio::task::yield_now().await;
    }
}

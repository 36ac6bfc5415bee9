//! Which rooms have a write in flight, and what waits for them.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use parking_lot::Mutex;
use protocol::RoomId;

use super::{Job, PostError, PosterLimits};
use crate::metrics;

/// One queue a room. A room is in the map exactly while a task writes for it.
pub(super) struct Queues {
    limits: PosterLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// Posts that are accepted and not answered: waiting or in flight.
    pending: usize,
    rooms: HashMap<RoomId, VecDeque<Job>>,
}

impl Queues {
    pub(super) fn new(limits: PosterLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// Takes a post. Given back if its room is idle: then the caller starts the task that writes it.
    pub(super) fn push(&self, job: Job) -> Result<Option<Job>, PostError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(PostError::Stopping);
        }
        if state.pending >= self.limits.total {
            return Err(PostError::Full);
        }
        let first = match state.rooms.entry(job.post.room) {
            Entry::Vacant(room) => {
                room.insert(VecDeque::new());
                Some(job)
            }
            Entry::Occupied(room) if room.get().len() >= self.limits.room => return Err(PostError::Full),
            Entry::Occupied(mut room) => {
                room.get_mut().push_back(job);
                None
            }
        };
        state.pending += 1;
        ::metrics::gauge!(metrics::POSTS_PENDING).increment(1);
        Ok(first)
    }

    /// After `answered` posts: what waits for the room now, up to a batch. Nothing: the room is idle again.
    pub(super) fn next(&self, room: RoomId, answered: usize) -> Vec<Job> {
        let mut state = self.state.lock();
        state.answered(answered);
        let Some(queue) = state.rooms.get_mut(&room) else { return Vec::new() };
        let batch = queue.len().min(self.limits.batch.max(1));
        let jobs: Vec<Job> = queue.drain(..batch).collect();
        if jobs.is_empty() {
            state.rooms.remove(&room);
        }
        jobs
    }

    /// The room's task ends before its time. Who waits for it hears so, as their senders are dropped.
    pub(super) fn abandon(&self, room: RoomId, in_flight: usize) {
        let mut state = self.state.lock();
        let waiting = state.rooms.remove(&room).unwrap_or_default();
        state.answered(in_flight + waiting.len());
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
    }
}

impl State {
    fn answered(&mut self, posts: usize) {
        self.pending -= posts;
        #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
        ::metrics::gauge!(metrics::POSTS_PENDING).decrement(posts as f64);
    }
}

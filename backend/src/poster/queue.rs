//! What waits for each room, which rooms a writer may take, and how many writers there are.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use parking_lot::Mutex;
use protocol::RoomId;

use super::{Job, PostError, PosterLimits};
use crate::metrics;

/// Posts of one room that are written together, in the order of their arrival.
pub(super) struct RoomJobs {
    pub room: RoomId,
    pub jobs: Vec<Job>,
}

/// One queue a room. A room is in the map exactly while it has posts, waiting or in flight; it is `ready` exactly while
/// it has waiting ones and nobody writes for it.
pub(super) struct Queues {
    limits: PosterLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// Posts that are accepted and not answered: waiting or in flight.
    pending: usize,
    writers: usize,
    ready: VecDeque<RoomId>,
    rooms: HashMap<RoomId, VecDeque<Job>>,
}

impl Queues {
    pub(super) fn new(limits: PosterLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// Takes a post. What it gives back is for a new writer: there was room for one.
    pub(super) fn push(&self, job: Job) -> Result<Vec<RoomJobs>, PostError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(PostError::Stopping);
        }
        if state.pending >= self.limits.total {
            return Err(PostError::Full);
        }
        let room = job.post.room;
        match state.rooms.entry(room) {
            Entry::Vacant(queue) => {
                queue.insert(VecDeque::from([job]));
                state.ready.push_back(room);
            }
            Entry::Occupied(queue) if queue.get().len() >= self.limits.room => return Err(PostError::Full),
            Entry::Occupied(mut queue) => queue.get_mut().push_back(job),
        }
        state.pending += 1;
        ::metrics::gauge!(metrics::POSTS_PENDING).increment(1);
        Ok(state.new_writer(self.limits))
    }

    /// A writer is done with these rooms and has answered so many posts: what it writes next. Nothing: it ends.
    pub(super) fn next(&self, written: &[RoomId], answered: usize) -> Vec<RoomJobs> {
        let mut state = self.state.lock();
        state.answered(answered);
        for room in written {
            state.release(*room);
        }
        let next = state.take(self.limits);
        state.writers -= usize::from(next.is_empty());
        next
    }

    /// A room that was written by itself is done. What it gives back is for a new writer.
    pub(super) fn released(&self, room: RoomId, answered: usize) -> Vec<RoomJobs> {
        let mut state = self.state.lock();
        state.answered(answered);
        state.release(room);
        state.new_writer(self.limits)
    }

    /// A task ends before its time, with these rooms and posts in its hands. Who waits for them hears so, as their
    /// senders are dropped. What it gives back is for a new writer.
    pub(super) fn abandon(&self, rooms: &[RoomId], in_flight: usize, writer: bool) -> Vec<RoomJobs> {
        let mut state = self.state.lock();
        let waiting: usize = rooms.iter().filter_map(|room| state.rooms.remove(room)).map(|queue| queue.len()).sum();
        state.answered(in_flight + waiting);
        state.writers -= usize::from(writer);
        state.new_writer(self.limits)
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
    }
}

impl State {
    fn new_writer(&mut self, limits: PosterLimits) -> Vec<RoomJobs> {
        if self.writers >= limits.writers.max(1) {
            return Vec::new();
        }
        let first = self.take(limits);
        self.writers += usize::from(!first.is_empty());
        first
    }

    /// What waits, from the rooms that became ready first.
    fn take(&mut self, limits: PosterLimits) -> Vec<RoomJobs> {
        let (mut taken, mut left) = (Vec::new(), limits.batch.max(1));
        while taken.len() < limits.rooms.max(1) && left > 0 {
            let Some(room) = self.ready.pop_front() else { break };
            let Some(queue) = self.rooms.get_mut(&room) else { continue };
            let count = queue.len().min(left);
            left -= count;
            taken.push(RoomJobs { room, jobs: queue.drain(..count).collect() });
        }
        taken
    }

    fn release(&mut self, room: RoomId) {
        match self.rooms.get(&room).map(VecDeque::is_empty) {
            Some(true) => drop(self.rooms.remove(&room)),
            Some(false) => self.ready.push_back(room),
            None => {}
        }
    }

    fn answered(&mut self, posts: usize) {
        self.pending -= posts;
        #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
        ::metrics::gauge!(metrics::POSTS_PENDING).decrement(posts as f64);
    }
}

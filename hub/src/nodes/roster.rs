//! Who is a node of this hub: those who have said so lately.
//!
//! Time is measured in this node's own heartbeats, as it hears them: while the bus is away nobody is heard, and nobody
//! is taken for dead for it. A node that has just started does not know the others; it does after two of its own
//! heartbeats, because each node answers a newcomer's first.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use super::metrics;

/// A node that has not been heard for so many heartbeats is gone.
const LIFE: u32 = 3;
/// After so many of its own a node knows the others.
const ACQUAINTED: u32 = 2;

/// What a node says about itself: so `info` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Here {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) num_clients: usize,
    pub(crate) num_users: usize,
    pub(crate) num_channels: usize,
    pub(crate) num_subs: usize,
    /// Seconds since it started.
    pub(crate) uptime: u64,
}

pub(super) struct Roster {
    /// Time between two heartbeats.
    beat: Duration,
    known: Mutex<Known>,
    acquainted: watch::Sender<bool>,
}

#[derive(Default)]
struct Known {
    others: HashMap<Uuid, Other>,
    /// This node's own heartbeats, as far as they came one at a time.
    beats: u32,
    last: Option<Instant>,
    /// When this node heard itself last, or began to listen.
    heard: Option<Instant>,
}

struct Other {
    here: Here,
    /// Own heartbeats since it was heard.
    silent_for: u32,
}

impl Roster {
    pub(super) fn new(beat: Duration) -> Self {
        let known = Known { heard: Some(Instant::now()), ..Known::default() };
        Self { beat, known: Mutex::new(known), acquainted: watch::Sender::new(false) }
    }

    pub(super) fn beat(&self) -> Duration {
        self.beat
    }

    /// Another node was heard. True if it is new.
    pub(super) fn other_heard(&self, node: Uuid, here: Here) -> bool {
        let mut known = self.known.lock();
        let new = known.others.insert(node, Other { here, silent_for: 0 }).is_none();
        metrics::nodes(known.others.len() + 1);
        new
    }

    /// This node has heard itself. Returns those who are gone.
    pub(super) fn heard_itself(&self, now: Instant) -> Vec<Uuid> {
        let mut known = self.known.lock();
        known.heard = Some(now);
        // What the bus had held back comes at once, and is one heartbeat.
        if known.last.is_some_and(|last| now.saturating_duration_since(last) < self.beat.mul_f64(0.9)) {
            return Vec::new();
        }
        known.last = Some(now);
        known.beats = known.beats.saturating_add(1);
        self.acquainted.send_if_modified(|acquainted| {
            !std::mem::replace(acquainted, known.beats >= ACQUAINTED) && known.beats >= ACQUAINTED
        });
        known.others.values_mut().for_each(|other| other.silent_for += 1);
        let gone = known.others.extract_if(|_, other| other.silent_for > LIFE).map(|(node, _)| node).collect();
        metrics::nodes(known.others.len() + 1);
        gone
    }

    /// A node has said that it goes.
    pub(super) fn left(&self, node: Uuid) {
        let mut known = self.known.lock();
        known.others.remove(&node);
        metrics::nodes(known.others.len() + 1);
    }

    /// The other nodes, once this one knows them.
    pub(super) async fn others(&self) -> Vec<(Uuid, Here)> {
        self.acquainted.subscribe().wait_for(|acquainted| *acquainted).await.ok(); // the sender is here
        self.others_known()
    }

    /// The other nodes that this one knows so far, ordered by their names.
    pub(super) fn others_known(&self) -> Vec<(Uuid, Here)> {
        let known = self.known.lock();
        let mut others: Vec<_> = known.others.iter().map(|(node, other)| (*node, other.here.clone())).collect();
        others.sort_unstable_by(|(left, here), (right, there)| (&here.name, left).cmp(&(&there.name, right)));
        others
    }

    /// How long this node has not heard itself.
    pub(super) fn silence(&self) -> Duration {
        self.known.lock().heard.map(|heard| heard.elapsed()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(2);
    const OTHER: Uuid = Uuid::from_u128(1);

    #[test]
    fn a_node_lives_for_a_few_heartbeats_of_this_one() {
        let (roster, start) = (Roster::new(BEAT), Instant::now());
        assert!(roster.other_heard(OTHER, Here::default()), "is new");
        assert!(!roster.other_heard(OTHER, Here::default()));
        for beat in 1..=LIFE {
            assert!(roster.heard_itself(start + BEAT * beat).is_empty());
        }
        assert_eq!(roster.heard_itself(start + BEAT * (LIFE + 1)), [OTHER]);
        assert!(roster.others_known().is_empty());
    }

    #[test]
    fn while_the_bus_is_away_nobody_dies() {
        let (roster, start) = (Roster::new(BEAT), Instant::now());
        roster.other_heard(OTHER, Here::default());
        let after_an_hour = start + Duration::from_hours(1);
        for _ in 0..9 {
            assert!(roster.heard_itself(after_an_hour).is_empty(), "held back heartbeats come at once");
        }
        roster.left(OTHER);
        assert!(roster.others_known().is_empty());
    }

    #[tokio::test]
    async fn the_others_are_known_after_two_heartbeats() {
        let (roster, start) = (Roster::new(BEAT), Instant::now());
        roster.heard_itself(start);
        roster.heard_itself(start + BEAT / 2);
        assert!(!*roster.acquainted.borrow());
        roster.heard_itself(start + BEAT);
        assert!(roster.others().await.is_empty());
    }
}

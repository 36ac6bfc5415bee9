//! Where claims of `chat_outbox` begin: in each partition at its floor, up to which nothing waits and nothing can appear
//! any more.
//!
//! Rows that were carried are deleted, but while anybody holds a snapshot PostgreSQL must keep what is left of them, and a
//! claim that begins at the lowest id walks over all of it. A floor cannot simply be the last id that was carried: an id is
//! taken before its commit, so a lower one may become visible later. It moves to an id only when that is *closed*, which
//! the [`Surveyor`] finds out: every transaction that may have taken an id up to it has ended.
//!
//! A floor that is too low costs time, one that is too high would lose a row. So it belongs to one session and one server:
//! whoever reconnects begins anew, as ids that a crash or a failover took back are given a second time.

mod closing;
mod store;
mod surveyor;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use protocol::{PARTITIONS, Partition};
use tokio::time::Instant;

pub(crate) use store::{Server, kept};
pub(crate) use surveyor::Surveyor;

use super::outbox::Batch;

/// What the sessions of one relay share: what is closed, and where each partition's claims begin.
pub(crate) struct Ground {
    closed: Mutex<Option<Closed>>,
    floors: [AtomicI64; PARTITIONS as usize],
    /// How often all floors were taken back.
    resets: AtomicU64,
}

/// No row with an id up to this can appear any more.
#[derive(Clone)]
struct Closed {
    id: i64,
    server: Server,
    /// When this began to be found out, on a session of `server`.
    begun: Instant,
}

impl Default for Ground {
    fn default() -> Self {
        Self { closed: Mutex::default(), floors: [const { AtomicI64::new(0) }; _], resets: AtomicU64::new(0) }
    }
}

impl Ground {
    /// Where claims of these partitions begin at the moment, for whoever only looks.
    pub(crate) fn floors(&self, partitions: &[i16]) -> Vec<i64> {
        let floor = |partition: &i16| self.floor(*partition).map_or(0, |floor| floor.load(Ordering::Relaxed));
        partitions.iter().map(floor).collect()
    }

    fn close(&self, closed: Closed) {
        *self.lock() = Some(closed);
    }

    /// All claims begin at the lowest id again.
    fn reset(&self) {
        *self.lock() = None;
        self.floors.iter().for_each(|floor| floor.store(0, Ordering::Relaxed));
        self.resets.fetch_add(1, Ordering::Release);
    }

    fn floor(&self, partition: i16) -> Option<&AtomicI64> {
        usize::try_from(partition).ok().and_then(|index| self.floors.get(index))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Closed>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The floors of one worker's session.
pub(crate) struct Floors {
    ground: Arc<Ground>,
    server: Server,
    opened: Instant,
    resets: u64,
    by_partition: BTreeMap<i16, i64>,
}

/// One claim, as far as it says where the next may begin.
pub(crate) struct Claim<'a> {
    /// In the order in which they were served.
    pub partitions: &'a [i16],
    /// What [`Floors::closed`] said before the claim.
    pub closed: i64,
    pub batch: &'a Batch,
}

impl Floors {
    /// Of a session that was just opened.
    pub(crate) fn new(ground: Arc<Ground>, server: Server) -> Self {
        let resets = ground.resets.load(Ordering::Acquire);
        Self { ground, server, opened: Instant::now(), resets, by_partition: BTreeMap::new() }
    }

    /// Up to which id no row can appear any more. To be asked before a claim, so that the claim sees all that ever will be.
    pub(crate) fn closed(&mut self) -> i64 {
        let resets = self.ground.resets.load(Ordering::Acquire);
        if resets != self.resets {
            self.resets = resets;
            for partition in self.by_partition.keys().copied().collect::<Vec<_>>() {
                self.put(partition, 0);
            }
        }
        let closed = self.ground.lock();
        let ours = closed.as_ref().filter(|closed| closed.server == self.server && closed.begun > self.opened);
        ours.map_or(0, |closed| closed.id)
    }

    /// Where claims of these partitions begin.
    pub(crate) fn of(&self, partitions: &[i16]) -> Vec<i64> {
        partitions.iter().map(|partition| self.by_partition.get(partition).copied().unwrap_or(0)).collect()
    }

    /// Keeps the floors of these partitions, and begins at `stored` in those that are new.
    pub(crate) fn retain(&mut self, owned: &[Partition], stored: &BTreeMap<i16, i64>) {
        self.by_partition.retain(|partition, _| owned.contains(&Partition(*partition)));
        for Partition(partition) in owned {
            if !self.by_partition.contains_key(partition) {
                self.put(*partition, stored.get(partition).copied().unwrap_or(0));
            }
        }
    }

    /// Moves up behind what a claim showed. `left` are its rows that wait for another try.
    pub(crate) fn advance<'a>(&mut self, claim: &Claim<'a>, left: impl Iterator<Item = &'a super::Row>) {
        let mut lowest = BTreeMap::new();
        for row in left {
            let id = lowest.entry(row.partition.0).or_insert(row.id);
            *id = row.id.min(*id);
        }
        let cut = claim.batch.rows.last().filter(|_| claim.batch.full);
        for partition in claim.partitions {
            let cut = cut.filter(|row| row.partition.0 == *partition);
            let below = lowest.get(partition).map_or(i64::MAX, |id| id - 1);
            let floor = claim.closed.min(below).min(cut.map_or(i64::MAX, |row| row.id));
            if self.by_partition.get(partition).is_some_and(|before| *before < floor) {
                self.put(*partition, floor);
            }
            if cut.is_some() {
                break; // the claim did not come to the others
            }
        }
    }

    fn put(&mut self, partition: i16, floor: i64) {
        self.by_partition.insert(partition, floor);
        if let Some(shared) = self.ground.floor(partition) {
            shared.store(floor, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Row;

    const SERVER: &str = "a server";

    fn ground(closed: i64) -> Arc<Ground> {
        let ground = Arc::new(Ground::default());
        close(&ground, closed, SERVER);
        ground
    }

    fn close(ground: &Ground, id: i64, server: &str) {
        ground.close(Closed { id, server: Server(server.to_owned()), begun: Instant::now() });
    }

    fn floors(ground: &Arc<Ground>) -> Floors {
        let mut floors = Floors::new(Arc::clone(ground), Server(SERVER.to_owned()));
        floors.opened -= std::time::Duration::from_secs(1);
        floors.retain(&[Partition(1), Partition(2), Partition(3)], &BTreeMap::new());
        floors
    }

    fn row(partition: i16, id: i64) -> Row {
        Row { id, partition: Partition(partition), method: String::new(), payload: String::new() }
    }

    /// After a claim of the partitions 2, 3, 1 that brought these rows, of which these are left.
    fn after(floors: &mut Floors, rows: &[(i16, i64)], full: bool, left: &[(i16, i64)]) -> Vec<i64> {
        let closed = floors.closed();
        let batch = Batch { rows: rows.iter().map(|(partition, id)| row(*partition, *id)).collect(), full };
        let left: Vec<Row> = left.iter().map(|(partition, id)| row(*partition, *id)).collect();
        floors.advance(&Claim { partitions: &[2, 3, 1], closed, batch: &batch }, left.iter());
        floors.of(&[1, 2, 3])
    }

    #[test]
    fn a_claim_that_saw_everything_moves_every_floor_to_what_is_closed() {
        let ground = ground(50);
        let mut floors = floors(&ground);
        assert_eq!(after(&mut floors, &[], false, &[]), [50, 50, 50]);
        close(&ground, 70, SERVER);
        assert_eq!(after(&mut floors, &[(2, 60), (1, 90)], false, &[]), [70, 70, 70]);
        assert_eq!(ground.floors(&[1, 9]), [70, 0], "others see it");
    }

    #[test]
    fn a_row_that_waits_keeps_its_floor_below_it() {
        let mut floors = floors(&ground(50));
        assert_eq!(after(&mut floors, &[(2, 20), (2, 30), (3, 25)], false, &[(2, 30), (2, 20)]), [50, 19, 50]);
    }

    #[test]
    fn a_claim_that_was_cut_says_nothing_of_what_it_did_not_come_to() {
        let mut floors = floors(&ground(50));
        assert_eq!(after(&mut floors, &[(2, 20), (3, 21), (3, 22)], true, &[]), [0, 50, 22]);
    }

    #[test]
    fn floors_never_sink_but_by_a_reset() {
        let ground = ground(50);
        let mut floors = floors(&ground);
        after(&mut floors, &[], false, &[]);
        close(&ground, 40, SERVER);
        assert_eq!(after(&mut floors, &[], false, &[]), [50, 50, 50]);
        ground.reset();
        assert_eq!(after(&mut floors, &[], false, &[]), [0, 0, 0]);
    }

    #[test]
    fn what_another_server_closed_or_this_one_before_the_session_is_not_believed() {
        let ground = ground(50);
        let mut floors = floors(&ground);
        close(&ground, 60, "another server");
        assert_eq!(after(&mut floors, &[], false, &[]), [0, 0, 0]);
        close(&ground, 60, SERVER);
        floors.opened = Instant::now();
        assert_eq!(after(&mut floors, &[], false, &[]), [0, 0, 0]);
    }

    #[test]
    fn a_partition_that_was_taken_over_begins_where_it_was_stored() {
        let ground = ground(50);
        let mut floors = floors(&ground);
        after(&mut floors, &[], false, &[]);
        floors.retain(&[Partition(3), Partition(4), Partition(5)], &BTreeMap::from([(3, 20), (4, 30)]));
        assert_eq!(floors.of(&[1, 3, 4, 5]), [0, 50, 30, 0]);
    }
}

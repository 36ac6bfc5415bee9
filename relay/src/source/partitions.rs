//! Who carries which partition: agreed through advisory locks, so that PostgreSQL itself knows who is alive.
//!
//! Each worker of each relay holds one shared lock, its membership, and one exclusive lock for each partition that it
//! carries. All belong to its session: they are free the moment it dies. From the members each works out its own
//! share, so that nobody has to lead; the shares of those who see the same members add up to exactly all partitions.

use std::time::Duration;

use protocol::{PARTITIONS, Partition};
use sqlx::PgConnection;
use tokio::time::Instant;

use super::session::within;
use crate::{RelayConfig, RelayError};

/// First half of all our lock keys ("RMCA"); the second half is the partition.
const LOCK_CLASS: i32 = 0x524d_4341;
/// Second half of the membership's key: above every partition.
const MEMBERSHIP: i32 = 0x0001_0000;

/// How soon a worker with less than its share looks again: others give back within a moment, and until then rows of
/// what they gave back wait.
const HUNGRY: Duration = Duration::from_millis(50);

/// The partitions of one worker. Lives and dies with its session.
pub(crate) struct Partitions {
    owned: Vec<Partition>,
    first: Partition,
    interval: Duration,
    next_look: Instant,
}

/// How many workers there are, and how many of them stand before this one.
struct Members {
    count: i64,
    before: i64,
    present: bool,
}

impl Partitions {
    /// Becomes a member. The first share is taken by the first [`Partitions::rebalance`], which is due at once.
    pub(crate) async fn join(connection: &mut PgConnection, config: &RelayConfig) -> Result<Self, RelayError> {
        let membership = sqlx::query!("select pg_advisory_lock_shared($1, $2)", LOCK_CLASS, MEMBERSHIP);
        within(membership.execute(connection)).await?;
        let interval = config.rebalance_interval;
        Ok(Self { owned: Vec::new(), first: Partition(0), interval, next_look: Instant::now() })
    }

    /// When to look again.
    pub(crate) fn next_look(&self) -> Instant {
        self.next_look
    }

    /// What is ours, in ascending order.
    pub(crate) fn owned(&self) -> &[Partition] {
        &self.owned
    }

    /// What is ours, in the order in which to serve it.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = Partition> {
        let (before, from) = self.owned.split_at(self.owned.partition_point(|partition| *partition < self.first));
        from.iter().chain(before).copied()
    }

    /// A full batch ended with this partition: the next begins behind it, so that a hot one cannot starve the others.
    pub(crate) fn served(&mut self, last: Partition) {
        self.first = Partition((last.0 + 1).rem_euclid(PARTITIONS));
    }

    /// Takes or gives back partitions until this worker has its share. Only between batches. True if something changed.
    pub(crate) async fn rebalance(&mut self, connection: &mut PgConnection) -> Result<bool, RelayError> {
        let members = members(connection).await?;
        if !members.present {
            return Err(RelayError::NotOurSession);
        }
        let (before, share) = (self.owned.len(), share(&members));
        if self.owned.len() > share {
            let surplus = self.owned.split_off(share);
            unlock(connection, &surplus).await?;
        } else if self.owned.len() < share {
            let wanted = share - self.owned.len();
            let taken = try_lock(connection, &self.candidates(&members), wanted).await?;
            self.owned.extend(taken);
            self.owned.sort_unstable();
        }
        let hungry = self.owned.len() < share;
        self.next_look = Instant::now() + if hungry { HUNGRY.min(self.interval) } else { self.interval };
        Ok(self.owned.len() != before)
    }

    /// Gives everything back before the session is closed, so that others need not wait for its end.
    pub(crate) async fn leave(connection: &mut PgConnection) -> Result<(), RelayError> {
        within(sqlx::query!("select pg_advisory_unlock_all()").execute(connection)).await?;
        Ok(())
    }

    /// What is not ours yet, from where this worker's share would lie if all shares lay side by side: workers that
    /// start together then rarely reach for the same.
    fn candidates(&self, members: &Members) -> Vec<i32> {
        let first = i64::from(PARTITIONS) * members.before / members.count.max(1);
        let all = (0..PARTITIONS).map(|n| Partition::of((first + i64::from(n)).into()));
        all.filter(|partition| !self.owned.contains(partition)).map(|partition| i32::from(partition.0)).collect()
    }
}

/// The first workers carry one more where the partitions do not divide evenly.
fn share(members: &Members) -> usize {
    let (all, count) = (i64::from(PARTITIONS), members.count.max(1));
    let share = all / count + i64::from(members.before < all % count);
    usize::try_from(share).unwrap_or(0)
}

/// Counts the living members of this database (the view shows all databases).
async fn members(connection: &mut PgConnection) -> Result<Members, RelayError> {
    let members = sqlx::query_as!(
        Members,
        r#"select count(*) as "count!", count(*) filter (where pid < pg_backend_pid()) as "before!",
                  coalesce(bool_or(pid = pg_backend_pid()), false) as "present!"
             from pg_locks
            where locktype = 'advisory' and objsubid = 2 and granted
              and classid::bigint = $1::int and objid::bigint = $2::int
              and database = (select oid from pg_database where datname = current_database())"#,
        LOCK_CLASS,
        MEMBERSHIP,
    );
    within(members.fetch_one(connection)).await
}

/// Takes up to `wanted` of the partitions that nobody holds. The limit stops the scan, so nothing is locked and not
/// returned.
async fn try_lock(
    connection: &mut PgConnection,
    candidates: &[i32],
    wanted: usize,
) -> Result<impl Iterator<Item = Partition> + use<>, RelayError> {
    let taken = sqlx::query_scalar!(
        r#"select p.partition::smallint as "partition!" from unnest($1::integer[]) as p(partition)
            where pg_try_advisory_lock($2, p.partition) limit $3"#,
        candidates,
        LOCK_CLASS,
        i64::try_from(wanted).unwrap_or(i64::MAX),
    );
    Ok(within(taken.fetch_all(connection)).await?.into_iter().map(Partition))
}

async fn unlock(connection: &mut PgConnection, partitions: &[Partition]) -> Result<(), RelayError> {
    let partitions: Vec<i32> = partitions.iter().map(|partition| i32::from(partition.0)).collect();
    let unlocked = sqlx::query!(
        "select pg_advisory_unlock($2, p.partition) from unnest($1::integer[]) as p(partition)",
        &partitions,
        LOCK_CLASS,
    );
    within(unlocked.fetch_all(connection)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_members_are_all_partitions() {
        for count in 1..=i64::from(PARTITIONS) * 2 {
            let shares = (0..count).map(|before| share(&Members { count, before, present: true }));
            assert_eq!(shares.sum::<usize>(), usize::from(PARTITIONS.unsigned_abs()), "{count} members");
        }
    }

    fn owning(owned: &[i16]) -> Partitions {
        let owned = owned.iter().copied().map(Partition).collect();
        Partitions { owned, first: Partition(0), interval: HUNGRY, next_look: Instant::now() }
    }

    #[test]
    fn partitions_take_turns_behind_the_one_served_last() {
        let mut partitions = owning(&[1, 4, 9]);
        let turn = |partitions: &Partitions| partitions.in_turn().map(|partition| partition.0).collect::<Vec<_>>();
        assert_eq!(turn(&partitions), [1, 4, 9]);
        partitions.served(Partition(1));
        assert_eq!(turn(&partitions), [4, 9, 1]);
        partitions.served(Partition(9));
        assert_eq!(turn(&partitions), [1, 4, 9]);
        partitions.served(Partition(PARTITIONS - 1));
        assert_eq!(turn(&partitions), [1, 4, 9]);
    }

    #[test]
    fn a_worker_reaches_for_what_it_lacks_from_its_own_place_on() {
        let candidates = owning(&[8, 9]).candidates(&Members { count: 2, before: 1, present: true });
        assert_eq!(&candidates[..3], [10, 11, 12]);
        assert_eq!(candidates.len(), 14);
    }
}

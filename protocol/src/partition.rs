//! The unit of order and of parallelism, the same function of the room id in outbox, relay and hub.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::RoomId;

/// How many partitions there are.
///
/// The same number stands in the SQL function `partition_count()`; a relay or backend that meets another number in
/// its database refuses to start. It is not the number of workers: any number of relays shares these partitions.
pub const PARTITIONS: i16 = 16;

/// One partition, as stored with a row. A stored number may lie outside `0..PARTITIONS`: such a row is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub i16);

impl Partition {
    /// Every partition, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).map(Self)
    }

    /// The partition of a room: `partition_of(room)` in SQL.
    pub fn of(room: RoomId) -> Self {
        Self(i16::try_from(room.0.rem_euclid(i64::from(PARTITIONS))).unwrap_or(0))
    }

    /// False for a number that no relay would ever claim.
    pub fn is_known(self) -> bool {
        (0..PARTITIONS).contains(&self.0)
    }
}

/// A stored number, known or not.
impl From<i16> for Partition {
    fn from(number: i16) -> Self {
        Self(number)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_room_has_a_known_partition() {
        for id in [-17, -1, 0, 1, 15, 16, 17, i64::MAX, i64::MIN] {
            assert!(Partition::of(RoomId(id)).is_known(), "room {id}");
        }
    }
}

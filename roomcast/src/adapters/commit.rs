//! What the backend does after a commit that left rows: wake the relay, here or elsewhere. Losing a wake-up only
//! delays until the next poll.

use backend::CommitHook;
use protocol::Partition;
use relay::{Notifier, Wakeup};

/// Wakes the relay of this process.
pub struct Wake(pub Wakeup);

impl CommitHook for Wake {
    fn committed(&self, partition: Partition) {
        self.0.wake(partition);
    }
}

/// Wakes relays in other processes through PostgreSQL's NOTIFY.
pub struct Notify(pub Notifier);

impl CommitHook for Notify {
    fn committed(&self, partition: Partition) {
        self.0.notify(partition);
    }
}

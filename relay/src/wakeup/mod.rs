//! Tells relays that rows were committed: in the same process by [`Wakeup`], in others by NOTIFY ([`Notifier`] sends
//! it, the listener hears it). All of it only saves time: a lost wake-up delays a row until the next poll.

mod listener;
mod notifier;

use std::sync::{Arc, PoisonError, RwLock};

pub use notifier::{Notifier, NotifierTask};
use protocol::{PARTITIONS, Partition};
use tokio::sync::Notify;

pub(crate) use listener::Listener;

/// The channel of NOTIFY. The payload has partitions, separated by commas; an empty one means all.
pub const CHANNEL: &str = "roomcast_outbox";

/// Wakes the worker of this process that carries a partition. Clones wake the same workers. For a partition that
/// nobody here carries it does nothing: who takes that partition over looks at it at once.
#[derive(Clone)]
pub struct Wakeup {
    carriers: Arc<RwLock<Vec<Option<Arc<Notify>>>>>,
}

impl Default for Wakeup {
    fn default() -> Self {
        Self { carriers: Arc::new(RwLock::new(Partition::all().map(|_| None).collect())) }
    }
}

impl Wakeup {
    /// Rows of this partition were committed. Never blocks for longer than a change of carriers takes.
    pub fn wake(&self, partition: Partition) {
        let carriers = self.carriers.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(Some(carrier)) = usize::try_from(partition.0).ok().and_then(|index| carriers.get(index)) {
            carrier.notify_one();
        }
    }

    /// Rows of any partition may have been committed.
    pub fn wake_all(&self) {
        Partition::all().for_each(|partition| self.wake(partition));
    }

    /// A bell for one worker. It rings for no partition yet.
    pub(crate) fn bell(&self) -> Bell {
        Bell { wakeup: self.clone(), notify: Arc::new(Notify::new()) }
    }
}

/// What rings when a worker's partitions have rows. Falls silent when dropped.
pub(crate) struct Bell {
    wakeup: Wakeup,
    notify: Arc<Notify>,
}

impl Bell {
    /// Rings for exactly these partitions from now on.
    pub(crate) fn assign(&self, partitions: &[Partition]) {
        let mut carriers = self.wakeup.carriers.write().unwrap_or_else(PoisonError::into_inner);
        for (partition, carrier) in (0..PARTITIONS).map(Partition).zip(carriers.iter_mut()) {
            if partitions.contains(&partition) {
                *carrier = Some(Arc::clone(&self.notify));
            } else if carrier.as_ref().is_some_and(|carrier| Arc::ptr_eq(carrier, &self.notify)) {
                *carrier = None;
            }
        }
    }

    /// To be armed (`enable`) before the rows are looked at, and awaited if there were none.
    pub(crate) fn rings(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.assign(&[]);
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, time::Duration};

    use tokio::time::timeout;

    use super::*;

    async fn rings(bell: &Bell) -> bool {
        timeout(Duration::from_millis(1), bell.rings()).await.is_ok()
    }

    #[tokio::test]
    async fn a_wake_up_reaches_only_the_worker_that_carries_the_partition() {
        let wakeup = Wakeup::default();
        let (even, odd) = (wakeup.bell(), wakeup.bell());
        even.assign(&[Partition(0), Partition(2)]);
        odd.assign(&[Partition(1)]);
        wakeup.wake(Partition(2));
        assert!(rings(&even).await && !rings(&odd).await);
        odd.assign(&[Partition(2)]); // taken over
        even.assign(&[Partition(0)]);
        wakeup.wake(Partition(2));
        assert!(!rings(&even).await && rings(&odd).await);
        wakeup.wake(Partition(-1));
        wakeup.wake(Partition(i16::MAX));
    }

    #[tokio::test]
    async fn a_wake_up_between_arming_and_waiting_is_not_lost() {
        let wakeup = Wakeup::default();
        let bell = wakeup.bell();
        bell.assign(&[Partition(3)]);
        let mut rings = pin!(bell.rings());
        rings.as_mut().enable();
        wakeup.wake(Partition(3));
        assert!(timeout(Duration::from_millis(1), rings).await.is_ok());
    }
}

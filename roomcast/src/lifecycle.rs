//! The end of things: a soft stop on the first Ctrl-C or SIGTERM, a hard one on the second.
//!
//! Every long-lived task is tracked here, so that nothing is left running unheard and PostgreSQL stops last.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

/// How long the tasks may take to finish what they are in the middle of.
const SOFT_STOP: Duration = Duration::from_secs(20);

/// A stop that is asked for once and awaited once.
#[derive(Clone, Default)]
pub struct Lifecycle {
    stopping: CancellationToken,
    tasks: TaskTracker,
    failure: Arc<Mutex<Option<anyhow::Error>>>,
}

impl Lifecycle {
    /// Stops on Ctrl-C and on SIGTERM; ends the process at once when asked again.
    pub fn from_signals() -> Self {
        let lifecycle = Self::default();
        let stopping = lifecycle.stopping.clone();
        tokio::spawn(async move {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return warn!("signals cannot be heard here: only kill -9 will stop this process");
            };
            let mut asked = false;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if asked {
                    // The embedded PostgreSQL is told by the kernel that its parent has gone, and stops cleanly.
                    std::process::exit(130);
                }
                asked = true;
                stopping.cancel();
            }
        });
        lifecycle
    }

    /// Cancelled when the stop begins. Tasks look at it between two pieces of work, never inside one.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Begins the stop.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Runs a task that must not end before the stop: when it fails, everything stops and [`Self::finished`] says why.
    pub fn run<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (stopping, failure) = (self.stopping.clone(), Arc::clone(&self.failure));
        self.tasks.spawn(async move {
            if let Err(error) = task.await {
                // The first failure is the cause; what fails after it is its consequence.
                let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert(error.context(format!("{name} failed, so this process stops")));
            }
            stopping.cancel();
        });
    }

    /// Waits for the stop to be asked for and for every task to end; gives up on the rest after a while.
    pub async fn finished(&self) -> anyhow::Result<()> {
        self.stopping.cancelled().await;
        self.tasks.close();
        if tokio::time::timeout(SOFT_STOP, self.tasks.wait()).await.is_err() {
            warn!("{} tasks did not end within {} s and are left", self.tasks.len(), SOFT_STOP.as_secs());
        }
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

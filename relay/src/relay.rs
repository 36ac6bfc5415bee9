//! One relay: its workers, its listener and its housekeeping, started together and ended together.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    Destination, RelayConfig, RelayError, RelayStatus, Wakeup, dispatch::Dispatch, housekeeping::Housekeeping,
    status::State, wakeup::Listener, worker::Worker,
};

/// Carries rows from the outbox of one database to one destination. Any number of relays shares an outbox.
pub struct Relay {
    config: Arc<RelayConfig>,
    dispatch: Dispatch,
    wakeup: Wakeup,
    handle: RelayHandle,
}

/// Looks at a relay and holds it, from anywhere in the process.
#[derive(Clone)]
pub struct RelayHandle {
    state: Arc<State>,
    paused: watch::Sender<bool>,
}

impl RelayHandle {
    /// What the relay is doing.
    pub fn status(&self) -> RelayStatus {
        self.state.status(*self.paused.borrow())
    }

    /// Claims nothing more until [`RelayHandle::resume`]. Batches in flight end; the partitions stay with this relay,
    /// so their rows wait: that is what it is for.
    pub fn pause(&self) {
        self.paused.send_replace(true);
    }

    /// Claims again, at once.
    pub fn resume(&self) {
        self.paused.send_replace(false);
    }
}

impl Relay {
    /// A relay that has not started. `wakeup` is rung by whoever commits rows in this process.
    pub fn new(config: RelayConfig, destination: Arc<dyn Destination>, wakeup: Wakeup) -> Self {
        let dispatch = Dispatch::new(destination, config.deliver_timeout);
        let handle = RelayHandle { state: Arc::new(State::new(config.workers)), paused: watch::Sender::new(false) };
        Self { config: Arc::new(config), dispatch, wakeup, handle }
    }

    /// A handle that outlives [`Relay::run`].
    pub fn handle(&self) -> RelayHandle {
        self.handle.clone()
    }

    /// Carries until `shutdown`: then batches in flight end, within `stop_timeout`, and the partitions are given back.
    ///
    /// An error is one that only a person can help with: wrong settings, a schema that does not fit, a panic. A
    /// database or destination that is away is waited for. Dropping the future drops everything where it stands, which
    /// repeats what was in flight.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RelayError> {
        self.config.check()?;
        let stop = shutdown.child_token();
        let mut tasks = self.start(&stop);
        info!(workers = self.config.workers, "relay started");
        let mut outcome = Ok(());
        while let Some(ended) = tasks.join_next().await {
            let ended = ended.unwrap_or_else(|error| Err(RelayError::Panicked(error.to_string())));
            if ended.is_err() && outcome.is_ok() {
                outcome = ended;
                stop.cancel();
            }
        }
        info!("relay stopped");
        outcome
    }

    fn start(&self, stop: &CancellationToken) -> JoinSet<Result<(), RelayError>> {
        let mut tasks = JoinSet::new();
        for index in 0..self.config.workers {
            let worker = Worker {
                index,
                config: Arc::clone(&self.config),
                dispatch: self.dispatch.clone(),
                wakeup: self.wakeup.clone(),
                state: Arc::clone(&self.handle.state),
                paused: self.handle.paused.subscribe(),
                shutdown: stop.clone(),
            };
            tasks.spawn(worker.run());
        }
        let housekeeping = Housekeeping { config: Arc::clone(&self.config), state: Arc::clone(&self.handle.state) };
        tasks.spawn(with_ok(housekeeping.run(stop.clone())));
        if self.config.listen {
            let (config, state) = (Arc::clone(&self.config), Arc::clone(&self.handle.state));
            tasks.spawn(with_ok(Listener { config, wakeup: self.wakeup.clone(), state }.run(stop.clone())));
        }
        tasks
    }
}

async fn with_ok(task: impl Future<Output = ()>) -> Result<(), RelayError> {
    task.await;
    Ok(())
}

//! One relay: its sources, the outbox's workers and listener among them, and its housekeeping, started together and ended
//! together. One dispatch serves all.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    Destination, RelayConfig, RelayError, RelayStatus, Wakeup,
    dispatch::Dispatch,
    housekeeping::Housekeeping,
    letter_box::LetterBox,
    probe::{Prober, Probes},
    source::{
        floor::{Ground, Surveyor},
        kafka::KafkaSource,
        lane::Carrier,
        wal::{self, WalSource},
    },
    status::{SourceState, State},
    vacuum::Vacuum,
    wakeup::Listener,
    worker::Worker,
};

/// Carries rows from the sources of one database to one destination. Any number of relays shares them.
pub struct Relay {
    config: Arc<RelayConfig>,
    dispatch: Dispatch,
    letters: Arc<LetterBox>,
    probes: Arc<Probes>,
    ground: Arc<Ground>,
    wakeup: Wakeup,
    handle: RelayHandle,
    wal: Arc<SourceState>,
    kafka: Arc<SourceState>,
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

    /// Takes nothing more from any source until [`RelayHandle::resume`]. Batches in flight end; partitions and slot stay
    /// with this relay, so their rows wait: that is what it is for.
    pub fn pause(&self) {
        self.paused.send_replace(true);
    }

    /// Takes again, at once.
    pub fn resume(&self) {
        self.paused.send_replace(false);
    }
}

impl Relay {
    /// A relay that has not started. `wakeup` is rung by whoever commits rows in this process.
    pub fn new(config: RelayConfig, destination: Arc<dyn Destination>, wakeup: Wakeup) -> Self {
        let dispatch = Dispatch::new(destination, &config);
        let letters = Arc::new(LetterBox::new(&config.database_url));
        let topics = config.kafka.iter().flat_map(|kafka| kafka.topics.iter().map(String::as_str));
        let kafka = Arc::new(SourceState::new("kafka", topics));
        let wal = Arc::new(SourceState::new("wal", [wal::READER]));
        let logs = [(config.wal.is_some(), &wal), (config.kafka.is_some(), &kafka)];
        let logs = logs.into_iter().filter(|(runs, _)| *runs).map(|(_, log)| Arc::clone(log)).collect();
        let probes = Arc::new(Probes::new(&config));
        let state = Arc::new(State::new(config.outbox_workers(), logs, Arc::clone(&probes)));
        let handle = RelayHandle { state, paused: watch::Sender::new(false) };
        let ground = Arc::new(Ground::default());
        Self { config: Arc::new(config), dispatch, letters, probes, ground, wakeup, handle, wal, kafka }
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
        info!(sources = ?self.handle.state.sources(), "relay started");
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
        self.start_outbox(&mut tasks, stop);
        let shutdown = || stop.clone();
        if let Some(config) = self.config.wal.clone() {
            tasks.spawn(WalSource { config, carrier: self.carrier(&self.wal), shutdown: shutdown() }.run());
        }
        if let Some(config) = self.config.kafka.clone() {
            for topic in config.topics.clone() {
                let (config, carrier) = (config.clone(), self.carrier(&self.kafka));
                tasks.spawn(KafkaSource { config, topic, carrier, shutdown: shutdown() }.run());
            }
        }
        let (config, state, ground) = self.shared();
        let housekeeping = Housekeeping::new(config, state, ground);
        tasks.spawn(with_ok(housekeeping.run(shutdown())));
        let (config, probes, state) =
            (Arc::clone(&self.config), Arc::clone(&self.probes), Arc::clone(&self.handle.state));
        tasks.spawn(with_ok(Prober { config, probes, state }.run(shutdown())));
        tasks
    }

    fn shared(&self) -> (Arc<RelayConfig>, Arc<State>, Arc<Ground>) {
        (Arc::clone(&self.config), Arc::clone(&self.handle.state), Arc::clone(&self.ground))
    }

    fn carrier(&self, state: &Arc<SourceState>) -> Carrier {
        Carrier {
            config: Arc::clone(&self.config),
            dispatch: self.dispatch.clone(),
            letters: Arc::clone(&self.letters),
            probes: Arc::clone(&self.probes),
            state: Arc::clone(state),
            paused: self.handle.paused.subscribe(),
        }
    }

    fn start_outbox(&self, tasks: &mut JoinSet<Result<(), RelayError>>, stop: &CancellationToken) {
        for index in 0..self.config.outbox_workers() {
            let worker = Worker {
                index,
                config: Arc::clone(&self.config),
                dispatch: self.dispatch.clone(),
                wakeup: self.wakeup.clone(),
                state: Arc::clone(&self.handle.state),
                ground: Arc::clone(&self.ground),
                paused: self.handle.paused.subscribe(),
                shutdown: stop.clone(),
            };
            tasks.spawn(worker.run());
        }
        if self.config.outbox {
            let (config, state, ground) = self.shared();
            tasks.spawn(with_ok(Surveyor::new(config, state, ground).run(stop.clone())));
            let (config, state) = (Arc::clone(&self.config), Arc::clone(&self.handle.state));
            tasks.spawn(with_ok(Vacuum { config, state }.run(stop.clone())));
        }
        if self.config.outbox && self.config.listen {
            let (config, state) = (Arc::clone(&self.config), Arc::clone(&self.handle.state));
            tasks.spawn(with_ok(Listener { config, wakeup: self.wakeup.clone(), state }.run(stop.clone())));
        }
    }
}

async fn with_ok(task: impl Future<Output = ()>) -> Result<(), RelayError> {
    task.await;
    Ok(())
}

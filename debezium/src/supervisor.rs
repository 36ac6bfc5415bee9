//! Keeps connectors at work: asks Connect how they are, and restarts what failed.
//!
//! Debezium comes back by itself from most interruptions. Some end its task for good, such as a broker that is away while
//! a topic is to be created, and Connect leaves it so. Restarts come at growing distances. Where no restart helps, as
//! events are missing, that is said as an error, with the way out. A connector that somebody paused or stopped stays so.
//!
//! Left to others: whether records flow. RUNNING does not prove it.

mod pace;
mod report;

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval, timeout};

pub use self::report::{Report, Watched};
use self::{pace::Pace, report::Sight};
use crate::{Connect, metrics};

/// How often Connect is asked.
const POLL: Duration = Duration::from_secs(2);
/// Connect answers within milliseconds, or not at all.
const ANSWER: Duration = Duration::from_secs(10);

/// Watches some connectors of one Connect.
#[derive(Debug)]
pub struct Supervisor {
    connect: Connect,
    paces: BTreeMap<String, Pace>,
    answers: bool,
    report: SupervisorHandle,
}

/// What a supervisor knows, for others to read.
#[derive(Debug, Clone)]
pub struct SupervisorHandle(Arc<Mutex<Report>>);

impl Supervisor {
    /// Will watch the connectors of these names, which are missed if Connect does not have them.
    pub fn new<N: Into<String>>(connect: Connect, names: impl IntoIterator<Item = N>) -> Self {
        let paces: BTreeMap<String, Pace> = names.into_iter().map(|name| (name.into(), Pace::default())).collect();
        let report = Report::before_the_first_look(paces.keys());
        Self { connect, paces, answers: true, report: SupervisorHandle(Arc::new(Mutex::new(report))) }
    }

    /// To read what it knows.
    pub fn handle(&self) -> SupervisorHandle {
        self.report.clone()
    }

    /// Watches until told otherwise.
    pub async fn run(mut self, until: impl Future<Output = ()>) {
        let mut until = pin!(until);
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut until => return,
                _ = ticks.tick() => self.look().await,
            }
        }
    }

    async fn look(&mut self) {
        let told = match timeout(ANSWER, self.connect.statuses()).await {
            Ok(told) => told.map_err(|error| error.to_string()),
            Err(_) => Err(format!("Kafka Connect does not answer within {} s", ANSWER.as_secs())),
        };
        self.tell_of_an_outage(&told);
        for (name, pace) in &mut self.paces {
            let sight = Sight::of(name, &told);
            ::metrics::gauge!(metrics::CONNECTOR_STATE, "connector" => name.clone()).set(f64::from(sight.is_running()));
            let restart = pace.restart_is_due(&sight, Instant::now());
            self.report.lock().see(name, sight);
            if restart {
                restart_failed(&self.connect, name, &self.report).await;
            }
        }
    }

    /// Once, not for each connector and each look.
    fn tell_of_an_outage<T>(&mut self, told: &Result<T, String>) {
        if self.answers
            && let Err(reason) = told
        {
            tracing::warn!("{reason}: whether the connectors run is not known");
        }
        self.answers = told.is_ok();
    }
}

async fn restart_failed(connect: &Connect, name: &str, report: &SupervisorHandle) {
    tracing::info!(connector = name, "restarting what failed of the connector {name}");
    match timeout(ANSWER, connect.restart_failed(name)).await {
        Ok(Ok(())) => {
            ::metrics::counter!(metrics::TASK_RESTARTS, "connector" => name.to_owned()).increment(1);
            report.lock().count_restart(name);
        }
        Ok(Err(error)) => tracing::warn!(connector = name, %error, "the connector {name} could not be restarted"),
        Err(_) => tracing::warn!(connector = name, "Kafka Connect does not answer when told to restart {name}"),
    }
}

impl SupervisorHandle {
    /// As of the last look, at most some seconds ago.
    pub fn report(&self) -> Report {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Whether a client is alive: told by its statistics, once a second.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{Statistics, admin::AdminClient, client::DefaultClientContext, error::KafkaResult};
use tokio::{select, task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{bound, named, told};
use crate::metrics;

/// How long another client may take to be answered, and until it is asked for again.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a client's statistics have told about it.
pub(crate) struct Pulse {
    /// Whose it is: the label of the metric.
    client: &'static str,
    retired: AtomicBool,
    lost: CancellationToken,
    beat: Mutex<Beat>,
}

#[derive(Default)]
struct Beat {
    /// Answers that the client has had.
    answers: i64,
    /// When the last one came or the client was made, and now; by its own clock, in microseconds.
    at: Option<i64>,
    now: i64,
}

impl Pulse {
    pub(crate) fn new(client: &'static str) -> Self {
        Self { client, retired: AtomicBool::default(), lost: CancellationToken::new(), beat: Mutex::default() }
    }

    /// The client tells about itself.
    pub(crate) fn take(&self, statistics: &Statistics) {
        let known = |source: &str| matches!(source, "learned" | "configured");
        if !statistics.brokers.values().any(|broker| known(&broker.source)) {
            self.lose("it has forgotten every broker");
        }
        self.lock().take(statistics.rx, statistics.ts);
    }

    /// It is not to be used any more, for this reason. What is under way with it may end.
    pub(crate) fn retire(&self, reason: &str) {
        if !self.retired.swap(true, Ordering::Relaxed) {
            ::metrics::counter!(metrics::KAFKA_CLIENTS_RENEWED, "client" => self.client).increment(1);
            warn!(
                client = self.client,
                "a client of Kafka ({}) is thrown away, and another made: {reason}", self.client
            );
        }
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Nothing that is under way with it will end.
    fn lose(&self, reason: &str) {
        self.retire(reason);
        self.lost.cancel();
    }

    /// Until nothing more can come of it.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    fn is_silent(&self) -> bool {
        self.lock().silence() >= bound()
    }

    fn lock(&self) -> MutexGuard<'_, Beat> {
        self.beat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beat {
    fn take(&mut self, answers: i64, now: i64) {
        if answers > self.answers || self.at.is_none() {
            (self.answers, self.at) = (answers, Some(now));
        }
        self.now = now;
    }

    fn silence(&self) -> Duration {
        let micros = self.at.map_or(0, |at| self.now.saturating_sub(at));
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    }
}

/// Until a client that asks all the time is of no more use: it has been silent for the bound, although another one with
/// these settings is answered. While nobody is answered it is as good as any: it is the first to know when Kafka is back.
pub(crate) async fn watch(pulse: &Pulse, brokers: &str, settings: &BTreeMap<String, String>) {
    loop {
        select! { () = pulse.lost() => return, () = sleep(PATIENCE) => {} }
        if !pulse.is_silent() {
            continue;
        }
        let (brokers, settings) = (brokers.to_owned(), settings.clone());
        match spawn_blocking(move || another_is_answered(&brokers, &settings)).await {
            Ok(Ok(true)) if pulse.is_silent() => pulse.lose("it has had no answer for too long, and another one has"),
            answered => debug!(?answered, client = pulse.client, "the client of Kafka for {} is silent", pulse.client),
        }
    }
}

/// Also by a broker that counts itself among the brokers. Blocks.
fn another_is_answered(brokers: &str, settings: &BTreeMap<String, String>) -> KafkaResult<bool> {
    let client: AdminClient<DefaultClientContext> = told(named("roomcast-bystander", brokers), settings).create()?;
    Ok(!client.inner().fetch_metadata(None, PATIENCE)?.brokers().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn silence_begins_with_the_last_answer_and_is_measured_by_the_clients_own_clock() {
        let mut beat = Beat::default();
        beat.take(0, 100 * SECOND);
        assert_eq!(beat.silence(), Duration::ZERO);
        beat.take(0, 103 * SECOND);
        assert_eq!(beat.silence(), Duration::from_secs(3));
        beat.take(1, 104 * SECOND);
        beat.take(1, 106 * SECOND);
        assert_eq!(beat.silence(), Duration::from_secs(2));
        // Nobody has listened to it for a while, and it was answered meanwhile.
        beat.take(9, 200 * SECOND);
        assert_eq!(beat.silence(), Duration::ZERO);
    }

    #[test]
    fn a_client_without_a_broker_is_lost_and_one_that_looks_for_its_brokers_is_not() {
        let broker = |source: &str| rdkafka::statistics::Broker { source: source.to_owned(), ..Default::default() };
        let taken = |sources: &[&str]| {
            let brokers = sources.iter().map(|source| ((*source).to_owned(), broker(source))).collect();
            let pulse = Pulse::new("test");
            pulse.take(&Statistics { brokers, ..Statistics::default() });
            pulse.lost.is_cancelled() && pulse.is_retired()
        };
        assert!(!taken(&["configured"]));
        assert!(!taken(&["learned", "logical"]));
        assert!(taken(&["logical", "internal"]));
    }
}

//! Kafka is away, and it is back: told once each, with what it has cost.

use std::{
    fmt::Display,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use tracing::{debug, info, warn};

/// What one user of Kafka has to tell about its being away.
pub(crate) struct Outage {
    /// What its clients are for, as in [`crate::metrics::KAFKA_CLIENTS_RENEWED`].
    client: &'static str,
    since: Mutex<Option<Since>>,
}

struct Since {
    begin: Instant,
    failures: u64,
}

impl Outage {
    pub(crate) const fn of(client: &'static str) -> Self {
        Self { client, since: Mutex::new(None) }
    }

    pub(crate) fn client(&self) -> &'static str {
        self.client
    }

    /// A try has failed. The first of them is told, the others are counted.
    pub(crate) fn fails(&self, error: &impl Display) {
        let client = self.client;
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = &mut *since {
            since.failures += 1;
            debug!(client, %error, failures = since.failures, "Kafka is still away ({client})");
        } else {
            *since = Some(Since { begin: Instant::now(), failures: 1 });
            warn!(client, %error, "Kafka is away ({client}); trying until it is back");
        }
    }

    /// A try has passed.
    pub(crate) fn passes(&self) {
        if let Some(Since { begin, failures }) = self.since.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let (client, seconds) = (self.client, begin.elapsed().as_secs());
            info!(client, failures, seconds, "Kafka is back ({client}), after {failures} failures in {seconds} s");
        }
    }
}

//! Counts wrong passwords per username and address, and refuses more than a few within a minute.
//!
//! Right passwords do not count, so that nobody who knows theirs is ever kept out by signing in often.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use moka::future::Cache;

use crate::ApiError;

const WINDOW: Duration = Duration::from_mins(1);
const REMEMBERED: u64 = 100_000;

/// The attempts of the last minute.
#[derive(Clone)]
pub(crate) struct Attempts {
    windows: Cache<(String, Option<IpAddr>), Arc<Window>>,
    limit: u32,
}

struct Window {
    began: Instant,
    failures: AtomicU32,
}

/// An attempt under way. It counts as a failure unless it is told to have succeeded.
pub(crate) struct Attempt(Arc<Window>);

impl Attempts {
    pub(crate) fn new(limit: u32) -> Self {
        Self { windows: Cache::builder().max_capacity(REMEMBERED).time_to_live(WINDOW).build(), limit }
    }

    /// Counts first and checks afterwards: a thousand guesses at once get no further than one after the other.
    pub(crate) async fn begin(&self, username: &str, address: Option<IpAddr>) -> Result<Attempt, ApiError> {
        let window = self
            .windows
            .get_with((username.to_owned(), address), async {
                Arc::new(Window { began: Instant::now(), failures: AtomicU32::new(0) })
            })
            .await;
        if window.failures.fetch_add(1, Ordering::Relaxed) < self.limit {
            return Ok(Attempt(window));
        }
        window.failures.fetch_sub(1, Ordering::Relaxed);
        Err(ApiError::TooManyAttempts(WINDOW.saturating_sub(window.began.elapsed())))
    }
}

impl Attempt {
    pub(crate) fn succeeded(self) {
        self.0.failures.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn failures_are_limited_per_username_and_address() {
        let attempts = Attempts::new(2);
        let address = Some(IpAddr::from([127, 0, 0, 1]));
        for _ in 0..5 {
            attempts.begin("alice", address).await.unwrap().succeeded();
        }
        let failed = (attempts.begin("alice", address).await.unwrap(), attempts.begin("alice", address).await.unwrap());
        drop(failed);
        assert!(
            matches!(attempts.begin("alice", address).await, Err(ApiError::TooManyAttempts(wait)) if wait <= WINDOW)
        );
        assert!(attempts.begin("bob", address).await.is_ok());
        assert!(attempts.begin("alice", None).await.is_ok());
    }
}

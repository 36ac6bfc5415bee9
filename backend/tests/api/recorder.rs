//! A hub that remembers what it was asked, and fails when it is told to.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use backend::{PublishError, Publisher};
use protocol::Command;
use tokio::sync::Notify;

/// What the next calls do instead of succeeding.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    Unavailable,
    Refused,
}

#[derive(Default)]
pub(crate) struct Recorder {
    published: Mutex<Vec<Command>>,
    failures: Mutex<VecDeque<Failure>>,
    calls: Mutex<usize>,
    called: Notify,
}

impl Recorder {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn fail(&self, failures: &[Failure]) {
        self.failures.lock().unwrap().extend(failures);
    }

    pub(crate) fn calls(&self) -> usize {
        *self.calls.lock().unwrap()
    }

    pub(crate) fn published(&self) -> Vec<Command> {
        self.published.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        self.published.lock().unwrap().clear();
    }

    /// Returns when this is so after a call.
    pub(crate) async fn until(&self, so: impl Fn(&Self) -> bool) {
        loop {
            let called = self.called.notified();
            tokio::pin!(called);
            called.as_mut().enable();
            if so(self) {
                return;
            }
            called.await;
        }
    }
}

#[async_trait]
impl Publisher for Recorder {
    async fn publish(&self, commands: Vec<Command>) -> Result<(), PublishError> {
        *self.calls.lock().unwrap() += 1;
        let failure = self.failures.lock().unwrap().pop_front();
        let answer = match failure {
            None => {
                self.published.lock().unwrap().extend(commands);
                Ok(())
            }
            Some(Failure::Unavailable) => Err(PublishError::Unavailable("503".into())),
            Some(Failure::Refused) => Err(PublishError::Refused("400".into())),
        };
        self.called.notify_waiters();
        answer
    }
}

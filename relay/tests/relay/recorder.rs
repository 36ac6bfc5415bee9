//! A destination in memory: remembers what arrived, in order, and answers as it is told to.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use protocol::{Command, Publish};
use relay::{Destination, DestinationError, Verdict};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

/// Longer than anything here takes, so that a test that waits in vain says so.
const PATIENCE: Duration = Duration::from_secs(30);

type Judge = Box<dyn FnMut(&Publish) -> Verdict + Send>;

/// Remembers `(channel, version)` of what it accepted.
pub(crate) struct Recorder {
    seen: watch::Sender<Vec<(String, u64)>>,
    asked: watch::Sender<usize>,
    judge: Mutex<Judge>,
    down: watch::Sender<bool>,
    gate: watch::Sender<Gate>,
    entered: Notify,
}

#[derive(Clone, Copy, PartialEq)]
enum Gate {
    Open,
    /// The commands are taken over, but the answer does not come.
    ShutBehind,
}

impl Recorder {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            seen: watch::Sender::new(Vec::new()),
            asked: watch::Sender::new(0),
            judge: Mutex::new(Box::new(|_| Verdict::Accepted)),
            down: watch::Sender::new(false),
            gate: watch::Sender::new(Gate::Open),
            entered: Notify::new(),
        })
    }

    /// Answers like this from now on. What is not accepted is not remembered.
    pub(crate) fn judge(&self, judge: impl FnMut(&Publish) -> Verdict + Send + 'static) {
        *self.judge.lock().unwrap() = Box::new(judge);
    }

    pub(crate) fn down(&self, down: bool) {
        self.down.send_replace(down);
    }

    /// Takes everything over from now on but does not answer, until it is opened.
    pub(crate) fn shut_behind(&self) {
        self.gate.send_replace(Gate::ShutBehind);
    }

    pub(crate) fn open(&self) {
        self.gate.send_replace(Gate::Open);
    }

    /// Until a batch was taken over behind a shut gate.
    pub(crate) async fn entered(&self) {
        timeout(PATIENCE, self.entered.notified()).await.expect("a batch to be taken over");
    }

    /// Until it was asked this many times.
    pub(crate) async fn asked(&self, times: usize) {
        let mut asked = self.asked.subscribe();
        timeout(PATIENCE, asked.wait_for(|asked| *asked >= times)).await.expect("to be asked").unwrap();
    }

    /// Until this many have arrived, repeats included.
    pub(crate) async fn arrived(&self, count: usize) -> Vec<(String, u64)> {
        let mut seen = self.seen.subscribe();
        let arrived = timeout(PATIENCE, seen.wait_for(|seen| seen.len() >= count)).await;
        let Ok(arrived) = arrived else { panic!("only {} of {count} arrived", self.seen.borrow().len()) };
        arrived.unwrap().clone()
    }

    /// Until this has arrived.
    pub(crate) async fn arrived_one(&self, channel: &str, version: u64) {
        let mut seen = self.seen.subscribe();
        let wanted = |seen: &Vec<(String, u64)>| seen.iter().any(|(c, v)| c == channel && *v == version);
        timeout(PATIENCE, seen.wait_for(wanted)).await.expect("the row to arrive").unwrap();
    }

    pub(crate) fn seen(&self) -> Vec<(String, u64)> {
        self.seen.borrow().clone()
    }

    /// The newest version of each channel, as a hub sees it: it drops repeats, and a hole would be a broken promise.
    pub(crate) fn in_order(&self) -> HashMap<String, u64> {
        let mut newest = HashMap::new();
        for (channel, version) in self.seen() {
            let newest = newest.entry(channel.clone()).or_insert(0);
            assert!(version <= *newest + 1, "{channel}: {version} came after {newest}");
            *newest = version.max(*newest);
        }
        newest
    }
}

#[async_trait]
impl Destination for Recorder {
    async fn deliver(&self, commands: &[Command]) -> Result<Vec<Verdict>, DestinationError> {
        self.asked.send_modify(|asked| *asked += 1);
        if *self.down.borrow() {
            return Err(DestinationError::new("connection refused"));
        }
        let mut verdicts = Vec::with_capacity(commands.len());
        let mut accepted = Vec::new();
        for command in commands {
            let Command::Publish(publish) = command else { panic!("{command:?} is not a publish") };
            let verdict = self.judge.lock().unwrap()(publish);
            if verdict == Verdict::Accepted {
                accepted.push((publish.channel.to_string(), publish.version.map_or(0, |version| version.0)));
            }
            verdicts.push(verdict);
        }
        self.seen.send_modify(|seen| seen.extend(accepted));
        if *self.gate.borrow() == Gate::ShutBehind {
            self.entered.notify_one();
            let _ = self.gate.subscribe().wait_for(|gate| *gate == Gate::Open).await;
        }
        Ok(verdicts)
    }
}

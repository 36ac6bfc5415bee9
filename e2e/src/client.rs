//! A WebSocket client that stays: it reconnects, recovers by (epoch, offset), and keeps a journal of each channel.
//!
//! Written against the protocol and not against the official SDK, so that it can be strict: it counts a repeat or a
//! hole as a fault where an SDK would smooth it over. The SDK itself is run by the browser tests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use tokio::{net::TcpStream, sync::watch, task::JoinHandle};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

use crate::{Journal, Line, Person};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Journals = BTreeMap<String, Journal>;

/// A client with its background task.
pub struct TestClient {
    journals: Arc<Mutex<Journals>>,
    changed: watch::Receiver<u64>,
    connections: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

struct Session {
    person: Person,
    url: String,
    journals: Arc<Mutex<Journals>>,
    changed: watch::Sender<u64>,
    connections: watch::Sender<u64>,
}

impl TestClient {
    /// Connects as this person and stays until dropped.
    pub async fn connect(person: &Person, url: &str) -> anyhow::Result<Self> {
        let journals = Arc::<Mutex<Journals>>::default();
        let (changed, seen) = watch::channel(0);
        let (connected, mut connections) = watch::channel(0);
        let session = Session {
            person: person.clone(),
            url: url.to_owned(),
            journals: Arc::clone(&journals),
            changed,
            connections: connected,
        };
        let task = tokio::spawn(session.stay());
        let first = tokio::time::timeout(Duration::from_secs(30), connections.wait_for(|&n| n > 0)).await;
        first.context("no connection within 30 s")??;
        Ok(Self { journals, changed: seen, connections, task })
    }

    /// How often it has connected.
    pub fn connections(&self) -> u64 {
        *self.connections.borrow()
    }

    /// The journal of a channel, empty if it was never subscribed.
    pub fn journal(&self, channel: &str) -> Journal {
        self.journals.lock().map(|journals| journals.get(channel).cloned().unwrap_or_default()).unwrap_or_default()
    }

    /// Waits until this channel has been seen up to `offset`.
    pub async fn caught_up(&mut self, channel: &str, offset: u64, patience: Duration) -> anyhow::Result<()> {
        if !self.sees(channel, patience, |journal| journal.top() >= offset).await {
            bail!("{channel}: at {} after {patience:?}, not at {offset}", self.journal(channel).top());
        }
        Ok(())
    }

    /// Waits until the channel's journal is like this; false when it never was.
    pub async fn sees(&mut self, channel: &str, patience: Duration, like: impl Fn(&Journal) -> bool) -> bool {
        let journals = Arc::clone(&self.journals);
        let seen =
            self.changed.wait_for(|_| journals.lock().is_ok_and(|journals| journals.get(channel).is_some_and(&like)));
        tokio::time::timeout(patience, seen).await.is_ok_and(|seen| seen.is_ok())
    }

    /// Waits until this channel is among the subscriptions.
    pub async fn subscribed(&mut self, channel: &str, patience: Duration) -> anyhow::Result<()> {
        self.caught_up(channel, 0, patience).await
    }
}

impl Drop for TestClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    async fn stay(self) {
        loop {
            // Whatever ended the connection, coming back is the answer; the journal shows what it cost.
            let _ = self.connection().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn connection(&self) -> anyhow::Result<()> {
        let token = self.person.token().await?;
        let (mut socket, _) = tokio_tungstenite::connect_async(&self.url).await?;
        let connect = json!({ "id": 1, "connect": { "token": token, "name": "e2e", "subs": self.positions() } });
        socket.send(Message::text(connect.to_string())).await?;
        while let Some(message) = socket.next().await {
            match message? {
                Message::Text(text) => self.frame(&mut socket, &text).await?,
                Message::Close(close) => bail!("closed: {close:?}"),
                _ => {}
            }
        }
        bail!("the socket ended")
    }

    fn positions(&self) -> Map<String, Value> {
        let Ok(journals) = self.journals.lock() else { return Map::new() };
        let recoverable = journals.iter().filter(|(_, journal)| !journal.epoch.is_empty());
        recoverable
            .map(|(channel, journal)| {
                (channel.clone(), json!({ "recover": true, "epoch": journal.epoch, "offset": journal.top() }))
            })
            .collect()
    }

    async fn frame(&self, socket: &mut Socket, text: &str) -> anyhow::Result<()> {
        for line in text.lines() {
            if line == "{}" {
                socket.send(Message::text("{}")).await?;
                continue;
            }
            let reply: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
            if let Some(error) = reply.get("error") {
                bail!("refused: {error}");
            }
            if let Some(connect) = reply.get("connect") {
                for (channel, subscription) in connect["subs"].as_object().into_iter().flatten() {
                    self.subscription(channel, subscription)?;
                }
                self.connections.send_modify(|n| *n += 1);
            }
            if let Some(push) = reply.get("push") {
                self.push(push)?;
            }
        }
        self.changed.send_modify(|n| *n += 1);
        Ok(())
    }

    fn push(&self, push: &Value) -> anyhow::Result<()> {
        let channel = push["channel"].as_str().unwrap_or_default();
        if let Some(publication) = push.get("pub") {
            self.publication(channel, publication)
        } else if let Some(subscription) = push.get("subscribe") {
            self.subscription(channel, subscription)
        } else {
            if push.get("unsubscribe").is_some() {
                self.with(|journals| {
                    journals.remove(channel);
                });
            }
            Ok(())
        }
    }

    fn subscription(&self, channel: &str, subscription: &Value) -> anyhow::Result<()> {
        let epoch = subscription["epoch"].as_str().unwrap_or_default();
        let offset = subscription["offset"].as_u64().unwrap_or(0);
        let recovered = subscription["recovered"].as_bool().unwrap_or(false);
        self.with(|journals| {
            let known = journals.contains_key(channel);
            let journal = journals.entry(channel.to_owned()).or_insert_with(|| Journal::starting(epoch, offset));
            if known && !epoch.is_empty() && !recovered {
                journal.faults.push(format!("position {} lost, now {offset}", journal.top()));
            }
        });
        for publication in subscription["publications"].as_array().into_iter().flatten() {
            self.publication(channel, publication)?;
        }
        Ok(())
    }

    fn publication(&self, channel: &str, publication: &Value) -> anyhow::Result<()> {
        let Some(offset) = publication["offset"].as_u64() else {
            self.with(|journals| {
                journals.entry(channel.to_owned()).or_default().news.push(publication["data"].clone());
            });
            return Ok(());
        };
        let line: Line = serde_json::from_value(publication["data"].clone())
            .with_context(|| format!("{channel} {offset}: {publication}"))?;
        self.with(|journals| journals.entry(channel.to_owned()).or_default().note(offset, line));
        Ok(())
    }

    fn with(&self, change: impl FnOnce(&mut Journals)) {
        if let Ok(mut journals) = self.journals.lock() {
            change(&mut journals);
        }
    }
}

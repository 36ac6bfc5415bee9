//! A WebSocket client that does as little as possible while the clock runs: it notes when each frame was read.
//!
//! It does not come back when it is disconnected: for a measurement that is a failure, and it says so.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::unix_micros,
    delivery::{Sighting, timeline_line},
    person::Person,
};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How long to wait for the reply to the connect command.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connected client, subscribed by the server to all of the person's rooms.
pub struct Subscriber {
    newest: Newest,
    leaving: CancellationToken,
    task: JoinHandle<anyhow::Result<Vec<Sighting>>>,
}

/// How far the client has read each room.
type Newest = Arc<HashMap<i64, AtomicU64>>;

impl Subscriber {
    /// Connects, and checks that it hears each of `rooms`. `buffer` is the size of a read: small for latency, as the
    /// library clears it before each read; large for a flood.
    pub async fn connect(url: &str, person: &Person, rooms: &[i64], buffer: usize) -> anyhow::Result<Self> {
        let token = person.token().await?;
        let mut socket = open(url, buffer).await?;
        socket.send(Message::text(json!({ "id": 1, "connect": { "token": token } }).to_string())).await?;
        let reply = tokio::time::timeout(PATIENCE, connect_reply(&mut socket));
        let subscribed = reply.await.context("no reply to the connect command")??;
        if let Some(room) = rooms.iter().find(|room| !subscribed.contains(room)) {
            bail!("the hub has not subscribed the client to room:{room}");
        }
        Ok(Self::reading(socket, rooms))
    }

    /// Connects where nobody knows who is in which room, and subscribes to `rooms` by itself.
    pub async fn subscribe(url: &str, token: &str, rooms: &[i64], buffer: usize) -> anyhow::Result<Self> {
        let mut socket = open(url, buffer).await?;
        let connect = json!({ "id": 1, "connect": { "token": token } });
        let subscribe = rooms.iter().zip(2..);
        let subscribe =
            subscribe.map(|(room, id)| json!({ "id": id, "subscribe": { "channel": format!("room:{room}") } }));
        let commands: Vec<String> = [connect].into_iter().chain(subscribe).map(|command| command.to_string()).collect();
        socket.send(Message::text(commands.join("\n"))).await?;
        let replies = tokio::time::timeout(PATIENCE, replies(&mut socket, commands.len()));
        replies.await.context("no reply to every command")??;
        Ok(Self::reading(socket, rooms))
    }

    fn reading(socket: Socket, rooms: &[i64]) -> Self {
        let newest: Newest = Arc::new(rooms.iter().map(|&room| (room, AtomicU64::new(0))).collect());
        let leaving = CancellationToken::new();
        let task = tokio::spawn(read(socket, Arc::clone(&newest), leaving.clone()));
        Self { newest, leaving, task }
    }

    /// Waits until it has read every room up to these versions; false when it has not after `patience`. Counting would
    /// not do: lines of before its time may still be on their way when it connects.
    pub async fn has_seen(&self, newest: &HashMap<i64, u64>, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        // Looking does not disturb the reader, and the time of each frame is noted where it is read.
        while !self.reached(newest) && Instant::now() < deadline && !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.reached(newest)
    }

    fn reached(&self, newest: &HashMap<i64, u64>) -> bool {
        let read = |room| self.newest.get(room).map_or(0, |version| version.load(Ordering::Relaxed));
        newest.iter().all(|(room, version)| read(room) >= *version)
    }

    /// Leaves, and tells what it saw of the rooms, in the order in which it saw it.
    pub async fn leave(self) -> anyhow::Result<Vec<Sighting>> {
        self.leaving.cancel();
        self.task.await?
    }
}

async fn open(url: &str, buffer: usize) -> anyhow::Result<Socket> {
    let config = WebSocketConfig::default().read_buffer_size(buffer);
    let connection = connect_async_with_config(url, Some(config), true).await;
    Ok(connection.with_context(|| format!("no WebSocket at {url}"))?.0)
}

/// Waits for this many, none of them an error.
async fn replies(socket: &mut Socket, count: usize) -> anyhow::Result<()> {
    let mut answered = 0;
    while answered < count {
        let message = socket.next().await.context("the server closed the connection")??;
        let Message::Text(text) = message else { continue };
        for line in text.lines() {
            let reply: Value = serde_json::from_str(line)?;
            if let Some(error) = reply.get("error") {
                bail!("the server refused a command: {error}");
            }
            answered += usize::from(reply.get("id").is_some());
        }
    }
    Ok(())
}

async fn connect_reply(socket: &mut Socket) -> anyhow::Result<HashSet<i64>> {
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        for line in text.lines() {
            let reply: Value = serde_json::from_str(line)?;
            if let Some(error) = reply.get("error") {
                bail!("the hub refused the connection: {error}");
            }
            if let Some(connect) = reply.get("connect") {
                let channels = connect["subs"].as_object().into_iter().flatten().map(|(channel, _)| channel);
                return Ok(channels.filter_map(|channel| channel.strip_prefix("room:")?.parse().ok()).collect());
            }
        }
    }
    bail!("the hub closed the connection")
}

async fn read(mut socket: Socket, newest: Newest, leaving: CancellationToken) -> anyhow::Result<Vec<Sighting>> {
    let mut sightings = Vec::new();
    loop {
        let message = tokio::select! {
            biased;
            message = socket.next() => message,
            () = leaving.cancelled() => break,
        };
        let at = unix_micros();
        match message.context("the hub ended the connection")?? {
            Message::Text(text) if text.as_str() == "{}" => socket.send(Message::text("{}")).await?,
            Message::Text(text) => {
                for line in text.lines().filter_map(timeline_line) {
                    let Some(newest) = newest.get(&line.0) else { continue }; // a room of another run
                    sightings.push(Sighting { line, at });
                    newest.fetch_max(line.1, Ordering::Relaxed);
                }
            }
            Message::Close(close) => {
                bail!("the hub disconnected the client after {} publications: {close:?}", sightings.len())
            }
            _ => {}
        }
    }
    let _ = socket.close(None).await;
    Ok(sightings)
}

//! A WebSocket client that does as little as possible while the clock runs: it notes when each frame was read.
//!
//! It does not come back when it is disconnected: for a measurement that is a failure, and it says so.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, Utf8Bytes, protocol::WebSocketConfig},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::unix_micros,
    delivery::{Sighting, is_publication, timeline_line},
    person::Person,
};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How long to wait for the reply to the connect command.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connected client, subscribed by the server to all of the person's rooms.
pub struct Subscriber {
    seen: Arc<AtomicUsize>,
    leaving: CancellationToken,
    task: JoinHandle<anyhow::Result<Vec<Frame>>>,
}

struct Frame {
    at: i64,
    text: Utf8Bytes,
}

impl Subscriber {
    /// Connects, and checks that it hears each of `rooms`. `buffer` is the size of a read: small for latency, as the
    /// library clears it before each read; large for a flood.
    pub async fn connect(url: &str, person: &Person, rooms: &[i64], buffer: usize) -> anyhow::Result<Self> {
        let token = person.token().await?;
        let config = WebSocketConfig::default().read_buffer_size(buffer);
        let connection = connect_async_with_config(url, Some(config), true).await;
        let (mut socket, _) = connection.with_context(|| format!("no WebSocket at {url}"))?;
        socket.send(Message::text(json!({ "id": 1, "connect": { "token": token } }).to_string())).await?;
        let reply = tokio::time::timeout(PATIENCE, connect_reply(&mut socket));
        let subscriptions = reply.await.context("no reply to the connect command")??;
        let missing = rooms.iter().find(|room| !subscriptions.contains(&format!("room:{room}")));
        if let Some(room) = missing {
            bail!("the hub has not subscribed the client to room:{room}");
        }
        let seen = Arc::<AtomicUsize>::default();
        let leaving = CancellationToken::new();
        let task = tokio::spawn(read(socket, Arc::clone(&seen), leaving.clone()));
        Ok(Self { seen, leaving, task })
    }

    /// Publications read so far, of any channel.
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }

    /// Waits until it has read this many publications; false when it has not after `patience`.
    pub async fn has_seen(&self, count: usize, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        // Looking does not disturb the reader, and the time of each frame is noted where it is read.
        while self.seen() < count && Instant::now() < deadline && !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.seen() >= count
    }

    /// Leaves, and tells what it saw, in the order in which it saw it.
    pub async fn leave(self) -> anyhow::Result<Vec<Sighting>> {
        self.leaving.cancel();
        let frames = self.task.await??;
        let lines = frames.iter().flat_map(|frame| frame.text.lines().map(|line| (frame.at, line)));
        Ok(lines.filter_map(|(at, line)| timeline_line(line).map(|line| Sighting { line, at })).collect())
    }
}

async fn connect_reply(socket: &mut Socket) -> anyhow::Result<BTreeSet<String>> {
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        for line in text.lines() {
            let reply: Value = serde_json::from_str(line)?;
            if let Some(error) = reply.get("error") {
                bail!("the hub refused the connection: {error}");
            }
            if let Some(connect) = reply.get("connect") {
                let subscriptions = connect["subs"].as_object().into_iter().flatten();
                return Ok(subscriptions.map(|(channel, _)| channel.clone()).collect());
            }
        }
    }
    bail!("the hub closed the connection")
}

async fn read(mut socket: Socket, seen: Arc<AtomicUsize>, leaving: CancellationToken) -> anyhow::Result<Vec<Frame>> {
    let mut frames = Vec::new();
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
                seen.fetch_add(text.lines().filter(|line| is_publication(line)).count(), Ordering::Relaxed);
                frames.push(Frame { at, text });
            }
            Message::Close(close) => bail!("the hub disconnected the client after {} frames: {close:?}", frames.len()),
            _ => {}
        }
    }
    let _ = socket.close(None).await;
    Ok(frames)
}

//! The hub as others see it: start it, hand it commands, serve its router, stop it.

use std::{
    sync::{Arc, atomic::AtomicU32},
    thread,
    time::{Duration, Instant},
};

use protocol::{Channel, Command, Complaint, Epoch, Offset, Partition, Position};
use serde::Serialize;
use tokio::{runtime, sync::oneshot, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use uuid::Uuid;

use crate::{
    admission::Gate,
    api,
    authority::Authority,
    codes::{Disconnect, ErrorCode},
    config::HubConfig,
    connection::{Connection, ConnectionId},
    context::Context,
    dispatch::settle,
    emulation::{self, Sessions},
    metrics,
    nodes::{Bus, Nodes, Voice},
    registry::Registry,
    shard::{self, ShardCommand, ShardHandle, end_of},
    token::Tokens,
    upgrade,
};

/// How long clients may take to answer the Close frame when the hub stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// An authority that does not answer is told so often.
const TELL: Duration = Duration::from_mins(1);

/// Why a hub does not start.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The configuration could never work.
    #[error("the hub's configuration is wrong: {0}")]
    Config(String),
    /// [`Hub::start`] was called where no tokio runtime is.
    #[error("a hub starts inside a tokio runtime")]
    NoRuntime(#[from] runtime::TryCurrentError),
    /// The operating system gave no thread, or no way to wait for sockets.
    #[error("could not start a shard's thread")]
    Thread(#[source] std::io::Error),
}

/// A command is in its shard's queue, in order, and will be carried out.
///
/// It is not yet delivered. A crash of the hub after this is healed by the clients: they come back, and recover from
/// the backlog by their position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// The publication's epoch; empty where nobody counts.
    #[serde(skip_serializing_if = "Epoch::is_empty")]
    pub epoch: Epoch,
    /// The publication's offset; 0 where nobody counts.
    #[serde(skip_serializing_if = "Offset::is_zero")]
    pub offset: Offset,
}

/// A command was not carried out. Code 100 means that it may be tried again; any other never passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// Error code of Centrifugo's server API.
    pub code: u32,
    /// In words.
    pub message: String,
}

/// A running hub. Cheap to clone; all clones are the same hub.
#[derive(Clone)]
pub struct Hub {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) context: Arc<Context>,
    /// This process among others.
    pub(crate) node: Uuid,
    pub(crate) started: Instant,
    pub(crate) shards: Vec<ShardHandle>,
    threads: parking_lot::Mutex<Vec<thread::JoinHandle<()>>>,
}

impl Hub {
    /// Starts the shards. `authority` is asked on the runtime that this is called in.
    pub fn start(config: HubConfig, authority: Arc<dyn Authority>) -> Result<Self, HubError> {
        Self::start_as(Uuid::new_v4(), config, authority, None)
    }

    /// Starts a hub that is one with the others on `bus`. It hears them by [`Hub::hear`], which whoever listens to the
    /// bus calls from now on. `bus` is used on the runtime that this is called in.
    pub fn start_among(config: HubConfig, authority: Arc<dyn Authority>, bus: Arc<dyn Bus>) -> Result<Self, HubError> {
        Self::start_as(Uuid::new_v4(), config, authority, Some(bus))
    }

    fn start_as(
        node: Uuid,
        config: HubConfig,
        authority: Arc<dyn Authority>,
        bus: Option<Arc<dyn Bus>>,
    ) -> Result<Self, HubError> {
        config.check()?;
        metrics::describe();
        let (runtime, tasks) = (runtime::Handle::try_current()?, TaskTracker::new());
        let nodes = bus.map(|bus| {
            let (runtime, tasks, patience) = (runtime.clone(), tasks.clone(), config.bus_timeout);
            let voice = Voice { node, bus, patience, runtime, tasks, ended: CancellationToken::new() };
            Nodes::new(node, voice, config.node_heartbeat)
        });
        let context = Arc::new(Context {
            tokens: Tokens::new(&config, &runtime)?,
            authority,
            silence: Complaint::new(TELL),
            registry: Registry::default(),
            gate: Gate::default(),
            sessions: Sessions::default(),
            nodes,
            next_channel: AtomicU32::new(1),
            runtime,
            tasks,
            stopping: CancellationToken::new(),
            config,
        });
        let started = (0..context.config.shards).map(|number| shard::start(number, Arc::clone(&context)));
        let (shards, threads) = started.collect::<Result<(Vec<_>, Vec<_>), _>>()?;
        info!(shards = shards.len(), "the hub delivers on {} threads", shards.len());
        let threads = parking_lot::Mutex::new(threads);
        let inner = Arc::new(Inner { context, node, started: Instant::now(), shards, threads });
        if inner.context.nodes.is_some() {
            Nodes::appear(&inner);
        }
        Ok(Self { inner })
    }

    /// `/connection/…` and `/emulation` for clients and `POST /api/<method>` for servers.
    pub fn router(&self) -> axum::Router {
        axum::Router::new()
            .route("/connection/websocket", axum::routing::get(upgrade::upgrade))
            .merge(emulation::routes(&self.inner.context.config))
            .merge(api::routes())
            .with_state(self.clone())
    }

    /// Hands commands to the shards, in order; one outcome each. Waits while the shards are behind.
    ///
    /// This node alone carries them out: among others, it is for what each of them is told from elsewhere.
    pub async fn execute(&self, commands: Vec<Command>) -> Vec<Result<Accepted, Rejection>> {
        settle(self.inner.enqueue(commands).await).await
    }

    /// Carries out what this node was asked to do: on every node, if there are others.
    pub(crate) async fn command(&self, commands: Vec<Command>) -> Vec<Result<Accepted, Rejection>> {
        match &self.inner.context.nodes {
            None => self.execute(commands).await,
            Some(nodes) => self.inner.say_commands(nodes, commands).await,
        }
    }

    /// For how long this node has not heard itself on the bus; `None` for a hub that was started alone. It should be
    /// little more than [`HubConfig::node_heartbeat`].
    pub fn silence(&self) -> Option<Duration> {
        self.inner.context.nodes.as_ref().map(Nodes::silence)
    }

    /// True while every shard runs and new clients are taken.
    pub fn is_ready(&self) -> bool {
        !self.inner.context.stopping.is_cancelled() && self.inner.shards.iter().all(|shard| !shard.queue.is_closed())
    }

    /// Closes every connection with 3001, so that clients come back elsewhere, and ends the shards.
    pub async fn stop(&self) {
        let context = &self.inner.context;
        context.stopping.cancel();
        let connections = context.registry.all();
        info!(clients = connections.len(), "the hub says goodbye to {} clients", connections.len());
        for connection in connections {
            connection.close(&Disconnect::SHUTDOWN);
        }
        if timeout(FAREWELL, context.registry.empty()).await.is_err() {
            for connection in context.registry.all() {
                connection.cut();
            }
        }
        for shard in &self.inner.shards {
            shard.queue.send(ShardCommand::Stop).await.ok(); // fails if it has stopped before
        }
        let threads = std::mem::take(&mut *self.inner.threads.lock());
        let ended = tokio::task::spawn_blocking(|| threads.into_iter().all(|thread| thread.join().is_ok())).await;
        if !ended.unwrap_or(false) {
            warn!("a shard of the hub had panicked");
        }
        if let Some(nodes) = &context.nodes {
            nodes.leave(FAREWELL).await;
        }
        context.tasks.close();
        context.tasks.wait().await;
    }
}

impl Inner {
    /// The shard that owns a channel.
    pub(crate) fn shard_number(&self, channel: &Channel) -> usize {
        let number = match channel.room_id() {
            Some(room) => u64::from(Partition::of(room).0.unsigned_abs()),
            None => fnv(channel.as_str()),
        };
        usize::try_from(number % self.shards.len() as u64).unwrap_or(0)
    }

    /// Puts a command into the queue of the channel's shard. It is lost only when the shard has ended.
    pub(crate) async fn send(&self, channel: &Channel, command: ShardCommand) {
        self.shards[self.shard_number(channel)].queue.send(command).await.ok();
    }

    /// The shard on whose thread a connection is read.
    pub(crate) fn home(&self, id: ConnectionId) -> &ShardHandle {
        &self.shards[usize::try_from(id.0 % self.shards.len() as u64).unwrap_or(0)]
    }

    /// A connection has been opened: it is known from now on, and given up if it never connects.
    pub(crate) fn admit(&self, connection: &Arc<Connection>) {
        self.context.registry.open(connection);
        if self.context.stopping.is_cancelled() {
            connection.close(&Disconnect::SHUTDOWN);
        }
        self.watch(connection);
    }

    /// Puts a connection on the wheel for its next deadline.
    pub(crate) fn watch(&self, connection: &Arc<Connection>) {
        self.home(connection.id).wheel.watch(connection);
    }

    /// The connection lives until then from now on.
    pub(crate) fn refreshed(&self, connection: &Arc<Connection>, expires: Option<u64>) {
        let end = end_of(expires, self.context.config.expired_close_delay);
        connection.pulse.lock().refreshed(end);
        self.watch(connection);
    }

    /// How many channels are heard here, and by how many in all.
    pub(crate) async fn size(&self) -> (usize, usize) {
        let mut size = (0, 0);
        for answered in self.ask_all(ShardCommand::Size).await {
            let (channels, subscribers) = answered.await.unwrap_or_default();
            size = (size.0 + channels, size.1 + subscribers);
        }
        size
    }

    /// Puts a question into the queue of every shard.
    pub(crate) async fn ask_all<T>(
        &self,
        question: impl Fn(oneshot::Sender<T>) -> ShardCommand,
    ) -> Vec<oneshot::Receiver<T>> {
        let mut answers = Vec::with_capacity(self.shards.len());
        for shard in &self.shards {
            let (answer, answered) = oneshot::channel();
            shard.queue.send(question(answer)).await.ok(); // it has ended
            answers.push(answered);
        }
        answers
    }

    /// Has every shard find out what its channels have missed.
    pub(crate) async fn lost_track(&self) {
        for shard in &self.shards {
            shard.queue.send(ShardCommand::LostTrack).await.ok(); // it has ended
        }
        if self.context.authority.gives_subscriptions() {
            // Somebody may have been sent out of a room meanwhile: all come back, and are asked about anew.
            for connection in self.context.registry.all() {
                connection.close(&Disconnect::INSUFFICIENT_STATE);
            }
        }
    }
}

/// Spreads channels without a room over the shards, the same in every process (FNV-1a).
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl From<ErrorCode> for Rejection {
    fn from(error: ErrorCode) -> Self {
        Self { code: error.code, message: error.message.to_owned() }
    }
}

impl From<Position> for Accepted {
    fn from(position: Position) -> Self {
        Self { epoch: position.epoch, offset: position.offset }
    }
}

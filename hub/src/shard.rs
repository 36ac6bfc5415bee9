//! One delivering thread. It owns its channels alone, so nothing in here is locked but the sockets themselves.
//!
//! Commands come through one bounded queue and are handled in order; what a batch of publications makes deliverable is
//! written per channel, joined. A join is a command like any other: it sees exactly the publications after it.

mod backlog;
mod channel;
mod command;
mod company;
mod healing;
mod join;
mod keys;
mod round;
mod subscribers;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use protocol::{Channel, Position};
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};

use self::{channel::ChannelState, keys::KeyWindow, round::Round};
pub(crate) use self::{
    command::{Census, Counted, Crowd, HistoryPage, HistoryQuestion, Presence, Publishing, ShardCommand, Target},
    company::end_of,
    join::{Answer, Join},
};
use crate::{
    HubError,
    codes::{ErrorCode, Unsubscribed},
    connection::Connection,
    context::Context,
    frame,
    heartbeat::Wheel,
    metrics::ShardCounters,
    standing::Remembered,
};

/// How many commands are taken from the queue at once.
const BATCH: usize = 256;
/// How often old history and idle channels are let go and figures are reported.
const SWEEP: Duration = Duration::from_secs(1);

/// How others reach a shard.
#[derive(Clone)]
pub(crate) struct ShardHandle {
    pub(crate) queue: mpsc::Sender<ShardCommand>,
    /// The runtime of the shard's thread, home of a share of the connections.
    pub(crate) home: runtime::Handle,
    pub(crate) wheel: Arc<Wheel>,
}

/// Starts the thread of shard `number`. It ends with [`ShardCommand::Stop`].
pub(crate) fn start(number: usize, context: Arc<Context>) -> Result<(ShardHandle, thread::JoinHandle<()>), HubError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(HubError::Thread)?;
    let (sender, queue) = mpsc::channel(context.config.shard_queue);
    let wheel = Arc::new(Wheel::new());
    let handle = ShardHandle { queue: sender.clone(), home: runtime.handle().clone(), wheel: Arc::clone(&wheel) };
    let shard = Shard {
        number,
        channels: HashMap::new(),
        keys: KeyWindow::default(),
        desk: Desk {
            context,
            queue: sender,
            dirty: Vec::new(),
            due: BinaryHeap::new(),
            counters: ShardCounters::default(),
        },
    };
    let thread = thread::Builder::new()
        .name(format!("hub-shard-{number}"))
        .spawn(move || {
            runtime.block_on(async {
                let heartbeat = tokio::spawn(wheel.turn(Arc::clone(&shard.desk.context)));
                shard.run(queue).await;
                heartbeat.abort();
            });
        })
        .map_err(HubError::Thread)?;
    Ok((handle, thread))
}

struct Shard {
    number: usize,
    channels: HashMap<Channel, ChannelState>,
    keys: KeyWindow,
    desk: Desk,
}

/// What a channel needs of its shard while it works.
struct Desk {
    context: Arc<Context>,
    /// The shard's own queue, for what comes back from the authority.
    queue: mpsc::Sender<ShardCommand>,
    /// Channels with frames to deliver, or with joins that may now be answered.
    dirty: Vec<Channel>,
    /// Channels that want to be looked at, by time. An entry may be outdated; the channel knows.
    due: BinaryHeap<Reverse<(Instant, Channel)>>,
    counters: ShardCounters,
}

impl Desk {
    fn wake(&mut self, when: Instant, channel: &Channel) {
        self.due.push(Reverse((when, channel.clone())));
    }

    fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((when, _))| *when)
    }
}

impl Shard {
    async fn run(mut self, mut queue: mpsc::Receiver<ShardCommand>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                received = queue.recv_many(&mut batch, BATCH) => if received == 0 { return },
                () = sleep_until(self.desk.next_due()) => self.ring(),
                _ = sweep.tick() => self.sweep(),
            }
            for command in batch.drain(..) {
                match command {
                    ShardCommand::Publish(publishing) => self.publish(publishing),
                    ShardCommand::Stop => return self.end(),
                    other => {
                        // Those who join or leave now are not concerned by what came before.
                        self.flush().await;
                        self.handle(other);
                    }
                }
            }
            self.flush().await;
        }
    }

    fn publish(&mut self, publishing: Publishing) {
        let Publishing { channel, counted, idempotency_key, answer } = publishing;
        let first = idempotency_key.as_ref().and_then(|key| self.keys.seen(&channel, key));
        let position = match (first, counted) {
            (Some(first), _) => {
                self.desk.counters.repeats += 1;
                first
            }
            (None, Counted::Nobody { publication }) => {
                if let Some(state) = self.channels.get_mut(&channel) {
                    state.pass_on(publication, &mut self.desk);
                }
                Position::default()
            }
            (None, Counted::Hub { said, version }) => {
                let Some((state, desk)) = self.state(&channel) else { return };
                state.count(&said, version, desk)
            }
            (None, Counted::Truth { epoch, publication }) => {
                let Some((state, desk)) = self.state(&channel) else { return };
                let position = Position { epoch: epoch.clone(), offset: publication.offset };
                state.take(epoch, publication, desk);
                position
            }
        };
        if let Some(key) = idempotency_key {
            self.keys.remember(channel, key, position.clone(), Instant::now());
        }
        if let Some(answer) = answer {
            answer.send(position).ok();
        }
    }

    fn handle(&mut self, command: ShardCommand) {
        match command {
            ShardCommand::Join(join) => self.join(*join),
            ShardCommand::Leave { connection, channel, done } => {
                connection.standing.lock().release(&channel);
                self.leave(&connection, &channel);
                confirm(done);
            }
            ShardCommand::Extend { connection, channel, expires_at, answer } => {
                let state = self.channels.get_mut(&channel);
                let state = state.filter(|state| state.subscribers.contains(connection.id));
                answer.send(state.map(|state| state.set_end(connection.id, expires_at)).is_some()).ok();
            }
            ShardCommand::Subscribe { invitation, target, done } => {
                for connection in self.reached(target, &Remembered::Subscribe(invitation.clone())) {
                    self.join(Join::by_command(connection, (*invitation).clone()));
                }
                confirm(done);
            }
            ShardCommand::Unsubscribe { channel, target, done } => {
                for connection in self.reached(target, &Remembered::Unsubscribe(channel.clone())) {
                    connection.standing.lock().revoke(&channel);
                    if self.leave(&connection, &channel) {
                        connection.push(&frame::unsubscribe_push(&channel, Unsubscribed::BY_SERVER));
                    }
                }
                confirm(done);
            }
            ShardCommand::Presence(channel, answer) => {
                answer.send(self.channels.get(&channel).map(ChannelState::presence).unwrap_or_default()).ok();
            }
            ShardCommand::Census(channel, answer) => {
                answer.send(self.channels.get(&channel).map(ChannelState::census).unwrap_or_default()).ok();
            }
            ShardCommand::Crowd(channel, answer) => {
                answer.send(self.channels.get(&channel).map(ChannelState::crowd).unwrap_or_default()).ok();
            }
            ShardCommand::History(channel, question, answer) => {
                // A channel that nobody has used so far begins here: its position must be the one that is told later.
                let page =
                    self.state(&channel).map_or(Err(ErrorCode::UNKNOWN_CHANNEL), |(it, _)| it.history(&question));
                answer.send(page).ok();
            }
            ShardCommand::ForgetHistory(channel) => {
                if let Some(stream) = self.channels.get_mut(&channel).and_then(|state| state.stream.as_mut()) {
                    stream.forget();
                }
            }
            ShardCommand::LostTrack => {
                for state in self.channels.values_mut() {
                    state.lose_track(&mut self.desk);
                }
            }
            ShardCommand::Backlog(read) => {
                if let Some(state) = self.channels.get_mut(&read.channel) {
                    state.take_backlog(*read, &mut self.desk);
                }
            }
            ShardCommand::Channels(answer) => {
                let heard = self.channels.values().filter(|state| !state.subscribers.is_empty());
                answer.send(heard.map(|state| (state.name().clone(), state.subscribers.len())).collect()).ok();
            }
            ShardCommand::Size(answer) => {
                let heard = self.channels.values().map(|state| state.subscribers.len()).filter(|&heard| heard > 0);
                answer.send(heard.fold((0, 0), |(channels, all), heard| (channels + 1, all + heard))).ok();
            }
            ShardCommand::Announce { channel, kind, who } => {
                if let Some(state) = self.channels.get_mut(&channel) {
                    state.announce_from_afar(kind, &who, &mut self.desk);
                }
            }
            ShardCommand::Publish(_) | ShardCommand::Stop => {}
        }
    }

    fn join(&mut self, join: Join) {
        let channel = join.channel.clone();
        match self.state(&channel) {
            Some((state, desk)) => state.join(join, desk),
            None => join.fail(ErrorCode::UNKNOWN_CHANNEL),
        }
    }

    /// True if the connection had heard the channel.
    fn leave(&mut self, connection: &Connection, channel: &Channel) -> bool {
        self.channels.get_mut(channel).is_some_and(|state| state.leave(connection, &mut self.desk))
    }

    /// The connections that a command of the server concerns now; those that are connecting remember it.
    fn reached(&self, target: Target, command: &Remembered) -> Vec<Arc<Connection>> {
        match target {
            Target::Connection(connection) => vec![connection],
            Target::User { user, client } => {
                let mut connections = self.desk.context.registry.of_user(&user);
                connections.retain(|connection| client.is_none_or(|client| client == connection.client));
                connections.retain(|connection| !connection.standing.lock().remember(command));
                connections
            }
        }
    }

    /// The channel, made if it is new; `None` if its namespace is unknown.
    fn state(&mut self, channel: &Channel) -> Option<(&mut ChannelState, &mut Desk)> {
        if !self.channels.contains_key(channel) {
            let config = &self.desk.context.config;
            let options = config.options_of(channel)?.clone();
            let number = self.desk.context.next_channel.fetch_add(1, Ordering::Relaxed);
            let state = ChannelState::new(channel.clone(), number, options, config.held_limit);
            self.channels.insert(channel.clone(), state);
        }
        Some((self.channels.get_mut(channel)?, &mut self.desk))
    }

    /// Those who have not left by now will not be heard of any more.
    fn end(&self) {
        if let Some(nodes) = &self.desk.context.nodes {
            self.channels.values().for_each(|state| state.announce_the_end(nodes));
        }
    }

    /// Delivers what has become deliverable, and lets in those who have waited for it.
    async fn flush(&mut self) {
        while !self.desk.dirty.is_empty() {
            let dirty = std::mem::take(&mut self.desk.dirty);
            let mut round = Round::of(dirty.len());
            for name in &dirty {
                let Some(state) = self.channels.get_mut(name) else { continue };
                state.dirty = false;
                let pushes = std::mem::take(&mut state.outbox);
                for group in state.subscribers.groups() {
                    let frames = group.frames(&pushes, state.number, &self.desk.context.config);
                    self.desk.counters.deliveries += (frames.len() * group.connections().len()) as u64;
                    for write in frame::joined(&frames) {
                        round.deliver(group.connections(), &write).await;
                    }
                }
            }
            round.finish().await;
            for name in dirty {
                if let Some(state) = self.channels.get_mut(&name) {
                    state.advance(&[], &mut self.desk);
                }
            }
        }
    }

    /// Looks at the channels whose time has come.
    fn ring(&mut self) {
        let now = Instant::now();
        while self.desk.next_due().is_some_and(|when| when <= now) {
            let Some(Reverse((when, name))) = self.desk.due.pop() else { return };
            if let Some(state) = self.channels.get_mut(&name) {
                state.ring(when, &mut self.desk);
            }
        }
    }

    /// Once a second: old history and idle channels go, figures are reported.
    fn sweep(&mut self) {
        let now = Instant::now();
        let desk = &mut self.desk;
        self.channels.retain(|_, state| !state.sweep(now, desk));
        self.forget_surplus();
        self.keys.prune(now);
        let subscriptions = self.channels.values().map(|state| state.subscribers.len()).sum();
        self.desk.counters.report(self.number, self.channels.len(), subscriptions);
    }

    /// Of the channels that nobody hears, those go first that have been quiet for longest.
    fn forget_surplus(&mut self) {
        let idle = self.channels.values().filter(|state| state.is_idle());
        let surplus = idle.clone().count().saturating_sub(self.desk.context.config.idle_channel_limit);
        if surplus > 0 {
            let mut idle: Vec<_> = idle.map(|state| (state.touched(), state.name().clone())).collect();
            idle.sort_unstable();
            for (_, name) in idle.drain(..surplus) {
                self.channels.remove(&name);
            }
        }
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

fn confirm(done: Option<oneshot::Sender<()>>) {
    if let Some(done) = done {
        done.send(()).ok(); // the asker may have gone
    }
}

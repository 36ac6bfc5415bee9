//! What this node's own callers want done: said on the bus, and answered once this node has carried it out like every
//! other. Without an answer of the bus in time it is error 100: it may be carried out still, or not.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use protocol::{Command, Publish};
use serde_json::value::RawValue;
use tokio::{sync::oneshot, time::timeout};

use super::{
    Nodes,
    bus::BusError,
    message::{Commands, Message, Order, Said, split},
};
use crate::{
    codes::ErrorCode,
    context::Context,
    dispatch::{Outcome, settle},
    hub::{Accepted, Inner, Rejection},
};

/// So many bytes of publications are said in one message; one that is larger has a message of its own.
const MESSAGE_BYTES: usize = 128 << 10;

pub(super) type Outcomes = Vec<Result<Outcome, ErrorCode>>;

/// Calls that have been said and not yet heard.
#[derive(Default)]
pub(super) struct Calls {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Outcomes>>>,
}

impl Calls {
    /// A number that this node has not used.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// This node has heard its own call. Nobody waits for one that was given up.
    pub(super) fn carried_out(&self, call: u64, outcomes: Outcomes) {
        let waiting = self.waiting.lock().remove(&call);
        if let Some(caller) = waiting {
            caller.send(outcomes).ok(); // gives up at this very moment
        }
    }
}

/// Forgets a call, however it ends.
struct Waiting<'a>(&'a Calls, u64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.lock().remove(&self.1);
    }
}

impl Inner {
    /// Has every node carry out commands; one outcome each, this node's. Those of one channel keep their order.
    pub(crate) async fn say_commands(&self, nodes: &Nodes, commands: Vec<Command>) -> Vec<Result<Accepted, Rejection>> {
        let mut results: Vec<_> = commands.iter().map(|_| Err(ErrorCode::INTERNAL.into())).collect();
        let mut lanes: HashMap<String, Vec<(usize, Command)>> = HashMap::new();
        for (index, command) in commands.into_iter().enumerate() {
            match self.check(&command) {
                Ok(()) => lanes.entry(key(&command).to_owned()).or_default().push((index, command)),
                Err(error) => results[index] = Err(error.into()),
            }
        }
        let lanes = lanes.into_iter().map(|(key, lane)| nodes.say_lane(&self.context, key, lane));
        for (index, result) in join_all(lanes).await.into_iter().flatten() {
            results[index] = result;
        }
        results
    }

    /// Has every node publish for a client of this one.
    pub(crate) async fn say_publication(
        &self,
        nodes: &Nodes,
        publish: Publish,
        publisher: &[u8],
    ) -> Result<Accepted, ErrorCode> {
        self.known(&publish.channel)?;
        let by: Box<RawValue> = serde_json::from_slice(publisher).map_err(|_| ErrorCode::INTERNAL)?;
        let key = publish.channel.as_str().to_owned();
        let outcomes = nodes.call(&self.context, &key, |call| Message::Said(Said { call, publish, by })).await?;
        settle(outcomes).await.pop().unwrap_or(Err(ErrorCode::INTERNAL))
    }
}

impl Nodes {
    /// Says the commands of one key, one message after the other.
    async fn say_lane(
        &self,
        context: &Context,
        key: String,
        lane: Vec<(usize, Command)>,
    ) -> Vec<(usize, Result<Accepted, Rejection>)> {
        let mut results = Vec::with_capacity(lane.len());
        for part in split(lane, MESSAGE_BYTES, |(_, command)| size(command)) {
            let (indices, commands): (Vec<_>, Vec<_>) =
                part.into_iter().map(|(index, command)| (index, Order(Some(command)))).unzip();
            let said = self.call(context, &key, |call| Message::Commands(Commands { call, commands })).await;
            let outcomes = match said {
                Ok(outcomes) => settle(outcomes).await,
                Err(error) => indices.iter().map(|_| Err(error.into())).collect(),
            };
            results.extend(indices.into_iter().zip(outcomes));
        }
        results
    }

    /// Says something and waits until this node has carried it out.
    async fn call(
        &self,
        context: &Context,
        key: &str,
        message: impl FnOnce(u64) -> Message,
    ) -> Result<Outcomes, ErrorCode> {
        let call = self.calls.number();
        let (caller, answered) = oneshot::channel();
        self.calls.waiting.lock().insert(call, caller);
        let _waiting = Waiting(&self.calls, call);
        let message = message(call);
        let said = async {
            self.voice.say(key, &message).await?;
            Ok(answered.await)
        };
        let said = context.stopping.run_until_cancelled(timeout(context.config.bus_timeout, said)).await;
        match said {
            Some(Ok(Ok(Ok(outcomes)))) => Ok(outcomes),
            Some(Ok(Err(BusError::TooLarge))) => Err(ErrorCode::LIMIT_EXCEEDED),
            // Not said, not heard in time, or the hub is stopping.
            _ => Err(ErrorCode::INTERNAL),
        }
    }
}

/// About how long a command is.
fn size(command: &Command) -> usize {
    let data = match command {
        Command::Publish(publish) => publish.data.get().len(),
        Command::Broadcast(broadcast) => broadcast.data.get().len(),
        _ => 0,
    };
    data + 256
}

/// What a command has to keep its order with.
fn key(command: &Command) -> &str {
    match command {
        Command::Publish(publish) => publish.channel.as_str(),
        Command::Broadcast(broadcast) => broadcast.channels.first().map_or("", |channel| channel.as_str()),
        Command::Subscribe(subscribe) => subscribe.channel.as_str(),
        Command::Unsubscribe(unsubscribe) => unsubscribe.channel.as_str(),
        Command::HistoryRemove(remove) => remove.channel.as_str(),
        Command::Disconnect(disconnect) => &disconnect.user,
        Command::Refresh(refresh) => &refresh.user,
    }
}

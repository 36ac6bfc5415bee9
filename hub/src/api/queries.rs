//! The methods that ask: who is in a channel, what was said there, which channels there are, how the hub is.

use bytes::Bytes;
use protocol::Channel;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{Answer, NotJson, encode};
use crate::{
    codes::ErrorCode,
    config::{ChannelOptions, Counting},
    hub::{Hub, Rejection},
    nodes::{Here, Nodes},
    request::{History, InChannel},
};

#[derive(Serialize)]
struct Info {
    nodes: Vec<Node>,
}

#[derive(Serialize)]
struct Node {
    uid: Uuid,
    #[serde(flatten)]
    here: Here,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ChannelsRequest {
    pattern: String,
}

/// The answer to a question.
pub(super) async fn answer(hub: &Hub, method: &str, body: &[u8]) -> Result<Answer, NotJson> {
    match method {
        "info" => Ok(Ok(encode(&info(hub).await))),
        "channels" => match read(body)? {
            Ok(ChannelsRequest { pattern }) => Ok(told(hub.inner.channels(pattern).await)),
            Err(error) => Ok(Err(error.into())),
        },
        "presence" | "presence_stats" => {
            let request = read::<InChannel>(body)?;
            let channel = request.and_then(|it| channel(hub, &it.channel, |options| options.presence));
            Ok(match channel {
                Ok(channel) if method == "presence" => told(hub.inner.presence(&channel).await),
                Ok(channel) => told(hub.inner.presence_stats(&channel).await),
                Err(error) => Err(error.into()),
            })
        }
        "history" => match read(body)? {
            Ok(request) => Ok(history(hub, request).await),
            Err(error) => Ok(Err(error.into())),
        },
        // There are no methods of the application's own.
        _ => Ok(Err(ErrorCode::METHOD_NOT_FOUND.into())),
    }
}

/// Reads a request; the inner error is an answer of the API. No body asks for what is usual.
fn read<T: DeserializeOwned + Default>(body: &[u8]) -> Result<Result<T, ErrorCode>, NotJson> {
    if body.is_empty() {
        return Ok(Ok(T::default()));
    }
    match serde_json::from_slice(body) {
        Ok(request) => Ok(Ok(request)),
        Err(error) if error.is_data() => Ok(Err(ErrorCode::BAD_REQUEST)),
        Err(_) => Err(NotJson),
    }
}

/// A channel that offers what is asked for.
fn channel(hub: &Hub, name: &str, offers: impl FnOnce(&ChannelOptions) -> bool) -> Result<Channel, ErrorCode> {
    let channel = Channel::parse(name).map_err(|_| ErrorCode::BAD_REQUEST)?;
    let options = hub.inner.context.config.options_of(&channel).ok_or(ErrorCode::UNKNOWN_CHANNEL)?;
    if offers(options) { Ok(channel) } else { Err(ErrorCode::NOT_AVAILABLE) }
}

async fn history(hub: &Hub, request: History) -> Answer {
    let channel = channel(hub, &request.channel, |options| options.counting() == Counting::Hub)?;
    let question = request.question(usize::MAX).ok_or(ErrorCode::BAD_REQUEST)?;
    hub.inner.history(&channel, question).await.map_err(Rejection::from)
}

/// Every node that is there, this one first. The others are as they were at their last heartbeat.
async fn info(hub: &Hub) -> Info {
    let own = Node { uid: hub.inner.node, here: hub.inner.here().await };
    let others = hub.inner.context.nodes.as_ref().map(Nodes::others).unwrap_or_default();
    Info { nodes: [own].into_iter().chain(others.into_iter().map(|(uid, here)| Node { uid, here })).collect() }
}

/// An answer that clients are given as well.
fn told(answer: Result<Bytes, ErrorCode>) -> Answer {
    answer.map(Vec::from).map_err(Rejection::from)
}

//! The methods that ask: who is in a channel, what was said there, which channels there are, how the hub is.

use std::collections::BTreeMap;

use protocol::Channel;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{Answer, NotJson, encode};
use crate::{
    admission::matches,
    codes::ErrorCode,
    config::{ChannelOptions, Counting},
    hub::{Hub, Rejection},
    request::{History, InChannel},
};

#[derive(Serialize)]
struct Info {
    nodes: [Node; 1],
}

#[derive(Serialize)]
struct Node {
    uid: Uuid,
    name: &'static str,
    version: &'static str,
    num_clients: usize,
    num_users: usize,
    num_channels: usize,
    num_subs: usize,
    uptime: u64,
}

#[derive(Serialize)]
struct Channels {
    channels: BTreeMap<String, ChannelInfo>,
}

#[derive(Serialize)]
struct ChannelInfo {
    num_clients: usize,
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
            Ok(request) => Ok(Ok(encode(&channels(hub, request).await))),
            Err(error) => Ok(Err(error.into())),
        },
        "presence" | "presence_stats" => {
            let request = read::<InChannel>(body)?;
            let channel = request.and_then(|it| channel(hub, &it.channel, |options| options.presence));
            Ok(match channel {
                Ok(channel) if method == "presence" => Ok(hub.inner.presence(&channel).await),
                Ok(channel) => Ok(hub.inner.presence_stats(&channel).await),
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

async fn info(hub: &Hub) -> Info {
    let channels = hub.channels().await;
    let registry = &hub.inner.context.registry;
    Info {
        nodes: [Node {
            uid: hub.inner.node,
            name: "roomcast",
            version: env!("CARGO_PKG_VERSION"),
            num_clients: registry.clients(),
            num_users: registry.users(),
            num_channels: channels.len(),
            num_subs: channels.iter().map(|(_, subscribers)| subscribers).sum(),
            uptime: hub.inner.started.elapsed().as_secs(),
        }],
    }
}

async fn channels(hub: &Hub, request: ChannelsRequest) -> Channels {
    let heard = hub.channels().await.into_iter();
    let wanted = heard
        .filter(|(channel, _)| request.pattern.is_empty() || matches(&request.pattern, channel.as_str()))
        .map(|(channel, num_clients)| (channel.into(), ChannelInfo { num_clients }));
    Channels { channels: wanted.collect() }
}

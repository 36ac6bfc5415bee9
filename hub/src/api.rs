//! The server API: `POST /api/<method>` with the request and reply shapes of Centrifugo, for those who hold the key.
//!
//! An error of the API is HTTP 200 with `{"error":…}`; only a wrong key (401), an unknown method (404) and a body that
//! is no JSON (400) are told by the status.

use std::collections::{BTreeMap, HashMap};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use protocol::{Command, CommandError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use subtle::ConstantTimeEq;

use crate::{
    admission::matches,
    codes::ErrorCode,
    dispatch::each_channel,
    hub::{Accepted, Hub, Rejection},
};

/// A batch of a relay that catches up.
const LARGEST_BODY: usize = 32 << 20;

/// What a method answers.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply<T> {
    Result(T),
    Error(Rejection),
}

/// What is told by the HTTP status alone.
enum Refused {
    NotJson,
    UnknownMethod,
}

#[derive(Serialize)]
struct Responses {
    responses: Vec<Reply<Accepted>>,
}

#[derive(Deserialize)]
struct Batch {
    commands: Vec<HashMap<String, Box<RawValue>>>,
}

#[derive(Serialize)]
struct Replies {
    replies: Vec<BTreeMap<String, BatchReply>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum BatchReply {
    Result(Accepted),
    Responses(Responses),
    Error(Rejection),
}

#[derive(Serialize)]
struct Info {
    nodes: [Node; 1],
}

#[derive(Serialize)]
struct Node {
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

/// One route each, so that another API can stand beside this one under `/api`.
const METHODS: [&str; 8] =
    ["publish", "broadcast", "subscribe", "unsubscribe", "disconnect", "batch", "info", "channels"];

pub(crate) fn routes() -> Router<Hub> {
    let routes = METHODS.into_iter().fold(Router::new(), |routes, method| {
        let handler =
            async move |State(hub): State<Hub>, headers: HeaderMap, body: Bytes| call(hub, method, headers, body).await;
        routes.route(&format!("/api/{method}"), post(handler))
    });
    routes.layer(DefaultBodyLimit::max(LARGEST_BODY))
}

async fn call(hub: Hub, method: &'static str, headers: HeaderMap, body: Bytes) -> Response {
    let config = &hub.inner.context.config;
    if !config.insecure && !authorized(&headers, &config.api_key) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let reply = match method {
        "publish" | "broadcast" | "subscribe" | "unsubscribe" | "disconnect" => command(&hub, method, &body).await,
        "batch" => batch(&hub, &body).await,
        "info" => Ok(Json(Reply::Result(info(&hub).await)).into_response()),
        "channels" => channels(&hub, &body).await,
        _ => Err(Refused::UnknownMethod),
    };
    reply.unwrap_or_else(|refused| match refused {
        Refused::NotJson => (StatusCode::BAD_REQUEST, "Bad Request").into_response(),
        Refused::UnknownMethod => StatusCode::NOT_FOUND.into_response(),
    })
}

/// Compares in constant time: how long it takes tells nothing about the key.
fn authorized(headers: &HeaderMap, key: &str) -> bool {
    let given = headers.get("x-api-key").map(axum::http::HeaderValue::as_bytes).or_else(|| {
        let authorization = headers.get(header::AUTHORIZATION)?.as_bytes();
        let (scheme, key) = authorization.split_at_checked("apikey ".len())?;
        scheme.eq_ignore_ascii_case(b"apikey ").then_some(key)
    });
    given.is_some_and(|given| given.ct_eq(key.as_bytes()).into())
}

/// Reads a command; the inner error is an answer of the API.
fn parse(method: &str, body: &[u8]) -> Result<Result<Command, Rejection>, Refused> {
    let text = std::str::from_utf8(body).map_err(|_| Refused::NotJson)?;
    match Command::parse(method, text) {
        Ok(Command::Broadcast(broadcast)) if broadcast.channels.is_empty() => Ok(Err(ErrorCode::BAD_REQUEST.into())),
        Ok(command) => Ok(Ok(command)),
        Err(CommandError::Payload { source, .. }) if !source.is_data() => Err(Refused::NotJson),
        Err(error) => Ok(Err(Rejection { code: ErrorCode::BAD_REQUEST.code, message: error.to_string() })),
    }
}

async fn command(hub: &Hub, method: &str, body: &[u8]) -> Result<Response, Refused> {
    let parsed = parse(method, body)?;
    Ok(match parsed {
        Err(rejection) => Json(Reply::<Accepted>::Error(rejection)).into_response(),
        Ok(Command::Broadcast(broadcast)) => {
            let publishes = each_channel(broadcast).map(Command::Publish).collect();
            let responses = hub.execute(publishes).await.into_iter().map(Reply::from).collect();
            Json(Reply::Result(Responses { responses })).into_response()
        }
        Ok(command) => {
            let outcome = hub.execute(vec![command]).await.pop();
            Json(outcome.map_or(Reply::Error(ErrorCode::INTERNAL.into()), Reply::from)).into_response()
        }
    })
}

/// Carries out many commands in order, with one pass through the shards' queues.
async fn batch(hub: &Hub, body: &[u8]) -> Result<Response, Refused> {
    let batch: Batch = match serde_json::from_slice(body) {
        Ok(batch) => batch,
        Err(error) if error.is_data() => {
            return Ok(Json(Reply::<Accepted>::Error(ErrorCode::BAD_REQUEST.into())).into_response());
        }
        Err(_) => return Err(Refused::NotJson),
    };
    let (mut steps, mut commands) = (Vec::with_capacity(batch.commands.len()), Vec::new());
    for entry in batch.commands {
        steps.push(step(entry, &mut commands)?);
    }
    let mut outcomes = hub.execute(commands).await.into_iter();
    let mut replies = Vec::with_capacity(steps.len());
    for step in steps {
        let reply = match step {
            Step::Refused(rejection) => ("error".to_owned(), BatchReply::Error(rejection)),
            Step::One(method) => match outcomes.next() {
                Some(Ok(accepted)) => (method, BatchReply::Result(accepted)),
                Some(Err(rejection)) => ("error".to_owned(), BatchReply::Error(rejection)),
                None => ("error".to_owned(), BatchReply::Error(ErrorCode::INTERNAL.into())),
            },
            Step::Broadcast(count) => {
                let responses = outcomes.by_ref().take(count).map(Reply::from).collect();
                ("broadcast".to_owned(), BatchReply::Responses(Responses { responses }))
            }
        };
        replies.push(BTreeMap::from([reply]));
    }
    Ok(Json(Replies { replies }).into_response())
}

/// What one entry of a batch has become.
enum Step {
    One(String),
    /// So many publishes.
    Broadcast(usize),
    Refused(Rejection),
}

fn step(entry: HashMap<String, Box<RawValue>>, commands: &mut Vec<Command>) -> Result<Step, Refused> {
    let mut entry = entry.into_iter();
    let (Some((method, payload)), None) = (entry.next(), entry.next()) else {
        return Ok(Step::Refused(ErrorCode::BAD_REQUEST.into()));
    };
    Ok(match parse(&method, payload.get().as_bytes())? {
        Err(rejection) => Step::Refused(rejection),
        Ok(Command::Broadcast(broadcast)) => {
            let before = commands.len();
            commands.extend(each_channel(broadcast).map(Command::Publish));
            Step::Broadcast(commands.len() - before)
        }
        Ok(command) => {
            commands.push(command);
            Step::One(method)
        }
    })
}

async fn info(hub: &Hub) -> Info {
    let channels = hub.channels().await;
    let registry = &hub.inner.context.registry;
    Info {
        nodes: [Node {
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

async fn channels(hub: &Hub, body: &[u8]) -> Result<Response, Refused> {
    let request: ChannelsRequest = if body.is_empty() {
        ChannelsRequest::default()
    } else {
        serde_json::from_slice(body).map_err(|_| Refused::NotJson)?
    };
    let heard = hub.channels().await.into_iter();
    let channels = heard
        .filter(|(channel, _)| request.pattern.is_empty() || matches(&request.pattern, channel.as_str()))
        .map(|(channel, num_clients)| (channel.into(), ChannelInfo { num_clients }))
        .collect();
    Ok(Json(Reply::Result(Channels { channels })).into_response())
}

impl From<Result<Accepted, Rejection>> for Reply<Accepted> {
    fn from(outcome: Result<Accepted, Rejection>) -> Self {
        match outcome {
            Ok(accepted) => Self::Result(accepted),
            Err(rejection) => Self::Error(rejection),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_comes_in_either_header() {
        let header = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(header::HeaderName::from_static(name), value.parse().unwrap())])
        };
        assert!(authorized(&header("x-api-key", "k"), "k"));
        assert!(authorized(&header("authorization", "apikey k"), "k"));
        assert!(!authorized(&header("authorization", "Bearer k"), "k"));
        assert!(!authorized(&header("x-api-key", "kk"), "k"));
        assert!(!authorized(&HeaderMap::new(), "k"));
    }
}

//! The server API: `POST /api/<method>` with the request and reply shapes of Centrifugo, for those who hold the key.
//!
//! An error of the API is HTTP 200 with `{"error":…}`, or told by the status where the caller asks for it; a wrong key
//! (401), an unknown method (404) and a body that is no JSON (400) are told by the status alone.

mod batch;
mod queries;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use protocol::{Command, CommandError};
use serde::Serialize;
use subtle::ConstantTimeEq;

use crate::{
    codes::ErrorCode,
    dispatch::each_channel,
    frame::Object,
    hub::{Accepted, Hub, Rejection},
};

/// A batch of a relay that catches up.
const LARGEST_BODY: usize = 32 << 20;
/// How a caller asks for errors as HTTP statuses.
const ERROR_MODE: &str = "x-centrifugo-error-mode";

/// The JSON of a result, or an error of the API.
type Answer = Result<Vec<u8>, Rejection>;

/// The body is no JSON.
struct NotJson;

/// What a method is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    /// It does something: see [`Command`].
    Command,
    /// It asks something.
    Query,
    Batch,
}

/// One route each, so that another API can stand beside this one under `/api`.
const METHODS: [(&str, Method); 14] = [
    ("publish", Method::Command),
    ("broadcast", Method::Command),
    ("subscribe", Method::Command),
    ("unsubscribe", Method::Command),
    ("disconnect", Method::Command),
    ("refresh", Method::Command),
    ("history_remove", Method::Command),
    ("presence", Method::Query),
    ("presence_stats", Method::Query),
    ("history", Method::Query),
    ("channels", Method::Query),
    ("info", Method::Query),
    ("rpc", Method::Query),
    ("batch", Method::Batch),
];

pub(crate) fn routes() -> Router<Hub> {
    let routes = METHODS.into_iter().fold(Router::new(), |routes, (name, method)| {
        let handler = async move |State(hub): State<Hub>, headers: HeaderMap, body: Bytes| {
            call(hub, name, method, headers, body).await
        };
        routes.route(&format!("/api/{name}"), post(handler))
    });
    routes.layer(DefaultBodyLimit::max(LARGEST_BODY))
}

async fn call(hub: Hub, name: &'static str, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    let config = &hub.inner.context.config;
    if !config.insecure && !authorized(&headers, &config.api_key) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let answer = match method {
        Method::Command => command(&hub, name, &body).await,
        Method::Query => queries::answer(&hub, name, &body).await,
        Method::Batch => batch::answer(&hub, &body).await,
    };
    let by_status = headers.get(ERROR_MODE).is_some_and(|mode| mode == "transport");
    match answer {
        Err(NotJson) => (StatusCode::BAD_REQUEST, "Bad Request").into_response(),
        // The replies of a batch stand at the top, without an envelope.
        Ok(Ok(replies)) if method == Method::Batch => json(StatusCode::OK, replies),
        Ok(Ok(result)) => json(StatusCode::OK, envelope("result", &result)),
        Ok(Err(rejection)) if by_status => json(status_of(rejection.code), encode(&rejection)),
        Ok(Err(rejection)) => json(StatusCode::OK, envelope("error", &encode(&rejection))),
    }
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
fn parse(method: &str, body: &[u8]) -> Result<Result<Command, Rejection>, NotJson> {
    let text = std::str::from_utf8(body).map_err(|_| NotJson)?;
    match Command::parse(method, text) {
        Ok(Command::Broadcast(broadcast)) if broadcast.channels.is_empty() => Ok(Err(ErrorCode::BAD_REQUEST.into())),
        Ok(command) => Ok(Ok(command)),
        Err(CommandError::Payload { source, .. }) if !source.is_data() => Err(NotJson),
        Err(error) => Ok(Err(Rejection { code: ErrorCode::BAD_REQUEST.code, message: error.to_string() })),
    }
}

async fn command(hub: &Hub, method: &str, body: &[u8]) -> Result<Answer, NotJson> {
    Ok(match parse(method, body)? {
        Err(rejection) => Err(rejection),
        Ok(Command::Broadcast(broadcast)) => {
            let publishes = each_channel(broadcast).map(Command::Publish).collect();
            Ok(responses(hub.command(publishes).await))
        }
        Ok(command) => {
            let outcome = hub.command(vec![command]).await.pop();
            outcome.unwrap_or_else(|| Err(ErrorCode::INTERNAL.into())).map(|accepted| encode(&accepted))
        }
    })
}

/// What became of a broadcast, channel by channel.
fn responses(outcomes: impl IntoIterator<Item = Result<Accepted, Rejection>>) -> Vec<u8> {
    let responses: Vec<bytes::Bytes> = outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Ok(accepted) => envelope("result", &encode(&accepted)).into(),
            Err(rejection) => envelope("error", &encode(&rejection)).into(),
        })
        .collect();
    let mut body = Object::with_capacity(responses.iter().map(|response| response.len() + 1).sum::<usize>() + 16);
    body.list("responses", &responses);
    body.finish()
}

/// `{"<name>":<json>}`.
fn envelope(name: &str, json: &[u8]) -> Vec<u8> {
    let mut envelope = Object::with_capacity(json.len() + name.len() + 6);
    envelope.raw_field(name, json);
    envelope.finish()
}

/// What the API answers always has a JSON form.
fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn status_of(code: u32) -> StatusCode {
    match code {
        101 => StatusCode::UNAUTHORIZED,
        103 => StatusCode::FORBIDDEN,
        102 | 104 => StatusCode::NOT_FOUND,
        111 => StatusCode::TOO_MANY_REQUESTS,
        112 => StatusCode::RANGE_NOT_SATISFIABLE,
        113 => StatusCode::CONFLICT,
        100 => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
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

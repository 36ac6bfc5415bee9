//! Clients behind proxies that break WebSocket: what the hub says is the body of a response that goes on
//! (`/connection/http_stream`, `/connection/sse`), what the client says comes in requests of its own (`/emulation`).
//!
//! Connection, session and shards are the same as for a socket.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Instant};

use axum::{
    Router,
    body::{Body as HttpBody, Bytes},
    extract::{DefaultBodyLimit, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::stream;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    admission::comes_from_a_known_page,
    config::HubConfig,
    connection::{Connection, Limits},
    heartbeat::Pulse,
    hub::{Hub, Inner},
    session::Session,
    wire::{Body, Framing, Wire},
};

/// Messages of one client that may wait for the one that is being handled.
const INBOX: usize = 16;

/// Where the messages of each session go.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<Uuid, mpsc::Sender<Bytes>>>);

#[derive(Deserialize)]
struct FirstMessage {
    #[serde(default)]
    cf_connect: String,
}

/// What a client says after its first message.
#[derive(Deserialize)]
struct Emulated {
    session: Uuid,
    node: Uuid,
    data: String,
}

pub(crate) fn routes(config: &HubConfig) -> Router<Hub> {
    // The envelope's quotes and escapes come on top of what a client may say.
    let limit = DefaultBodyLimit::max(config.max_frame_bytes.saturating_mul(2).saturating_add(1024));
    let mut routes = Router::new().route("/emulation", post(emulated).options(preflight));
    if config.http_stream {
        routes = routes.route("/connection/http_stream", post(http_stream).options(preflight));
    }
    if config.sse {
        routes = routes.route("/connection/sse", get(sse));
    }
    routes.layer(limit)
}

async fn http_stream(State(hub): State<Hub>, headers: HeaderMap, first: Bytes) -> Response {
    open(&hub, &headers, first, Framing::Lines, "application/x-ndjson")
}

async fn sse(State(hub): State<Hub>, headers: HeaderMap, Query(first): Query<FirstMessage>) -> Response {
    open(&hub, &headers, first.cf_connect.into(), Framing::Events, "text/event-stream")
}

/// A browser asks whether a page of another origin may post JSON.
async fn preflight(State(hub): State<Hub>, headers: HeaderMap) -> Response {
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST")),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type")),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
    ];
    if !comes_from_a_known_page(&headers, &hub.inner.context.config.allowed_origins) {
        return StatusCode::FORBIDDEN.into_response();
    }
    for_the_page(&headers, (StatusCode::NO_CONTENT, allowed).into_response())
}

async fn emulated(State(hub): State<Hub>, headers: HeaderMap, body: Bytes) -> Response {
    if !comes_from_a_known_page(&headers, &hub.inner.context.config.allowed_origins) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Ok(said) = serde_json::from_slice::<Emulated>(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let largest = hub.inner.context.config.max_frame_bytes;
    let status = if said.data.len() > largest {
        StatusCode::PAYLOAD_TOO_LARGE
    } else if said.node != hub.inner.node {
        StatusCode::NOT_FOUND // the SDK connects again, here
    } else {
        hub.inner.context.sessions.hear(said.session, said.data.into())
    };
    for_the_page(&headers, status.into_response())
}

impl Sessions {
    fn hear(&self, session: Uuid, message: Bytes) -> StatusCode {
        match self.0.lock().get(&session).map(|inbox| inbox.try_send(message)) {
            Some(Ok(())) => StatusCode::NO_CONTENT,
            Some(Err(mpsc::error::TrySendError::Full(_))) => StatusCode::SERVICE_UNAVAILABLE,
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => StatusCode::NOT_FOUND,
        }
    }
}

fn open(hub: &Hub, headers: &HeaderMap, first: Bytes, framing: Framing, content_type: &'static str) -> Response {
    let context = &hub.inner.context;
    if context.stopping.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "The hub is stopping.\n").into_response();
    }
    if let Err(refusal) = context.gate.pass(&context.config, headers, context.registry.clients()) {
        return refusal.into_response();
    }
    if first.len() > context.config.max_frame_bytes {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let body = HttpBody::from_stream(stream::unfold(begin(&hub.inner, first, framing), async |listener| {
        let chunk = listener.0.next_chunk().await?;
        Some((Ok::<_, Infallible>(chunk), listener))
    }));
    let told = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    for_the_page(headers, (told, body).into_response())
}

/// Lets the page read the answer. Its origin has been looked at before.
fn for_the_page(headers: &HeaderMap, mut response: Response) -> Response {
    if let Some(origin) = headers.get(header::ORIGIN) {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// The response that is being read. When the reader goes, so does the connection.
struct Listener(Arc<Connection>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.cut();
    }
}

fn begin(inner: &Arc<Inner>, first: Bytes, framing: Framing) -> Listener {
    let config = &inner.context.config;
    let id = inner.context.registry.next_id();
    let home = inner.home(id).home.clone();
    let limits = Limits { queue_bytes: config.queue_limit_bytes, close_wait: config.close_wait };
    let pulse = Pulse::new(config.ping_interval, config.pong_timeout, Instant::now() + config.stale_after);
    let wire = Wire::Body(Body::new(framing));
    let connection = Arc::new(Connection::new(id, wire, home.clone(), limits, pulse));
    home.spawn(run(Arc::clone(inner), Arc::clone(&connection), first));
    Listener(connection)
}

/// Serves a client to its end.
async fn run(inner: Arc<Inner>, connection: Arc<Connection>, first: Bytes) {
    let Some(body) = connection.wire.body() else { return };
    let (inbox, mut messages) = mpsc::channel(INBOX);
    inner.context.sessions.0.lock().insert(body.session, inbox);
    inner.admit(&connection);
    let mut session = Session::new(Arc::clone(&inner), Arc::clone(&connection));
    let mut next = Some(first);
    while let Some(message) = next {
        if let Err(why) = session.receive(&message).await {
            connection.close(&why);
        }
        next = body.ended.run_until_cancelled(messages.recv()).await.flatten();
    }
    inner.context.sessions.0.lock().remove(&body.session);
    session.end().await;
}

//! `GET /connection/websocket`: from an HTTP request to a bare socket on its home shard.
//!
//! The TCP stream is taken out of hyper, whose state is dropped: what stays per connection is ours. It works under
//! `axum::serve` on a `TcpListener`; a stream of another kind (TLS in the same process) is refused and logged.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::net::TcpStream;
use tracing::{Instrument, debug, debug_span, error};
use tungstenite::handshake::derive_accept_key;

use crate::{
    codes::Disconnect,
    connection::{Connection, Limits},
    deflate,
    heartbeat::Pulse,
    hub::{Hub, Inner},
    reader,
    wire::Wire,
};

/// The only subprotocol that is spoken; it is also spoken when none is asked for.
const SUBPROTOCOL: &str = "centrifuge-json";
/// The one that is not. A client that asks for it is told so by a Close frame, which it can read, and not by a status.
const PROTOBUF: &str = "centrifuge-protobuf";
/// How long the client may take between our answer and the switch.
const SWITCH_WITHIN: Duration = Duration::from_secs(10);

pub(crate) async fn upgrade(State(hub): State<Hub>, mut request: Request) -> Response {
    let accept = match accept_key(request.headers()) {
        Ok(accept) => accept,
        Err((status, why)) => return (status, [(header::UPGRADE, "websocket")], why).into_response(),
    };
    let context = &hub.inner.context;
    if let Err((status, why)) = context.gate.pass(&context.config, request.headers(), context.registry.clients()) {
        return (status, why).into_response();
    }
    let Some(on_upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return (StatusCode::BAD_REQUEST, "This connection cannot be upgraded.\n").into_response();
    };
    if hub.inner.context.stopping.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "The hub is stopping.\n").into_response();
    }
    let extension = context.config.compression.then(|| deflate::accept(request.headers())).flatten();
    let (inner, deflates) = (Arc::clone(&hub.inner), extension.is_some());
    let subprotocol = subprotocol(request.headers());
    let speaks_json = subprotocol != Some(PROTOBUF) && !asks_for_protobuf(request.uri());
    hub.inner.context.tasks.spawn(async move {
        match tokio::time::timeout(SWITCH_WITHIN, on_upgrade).await {
            Ok(Ok(upgraded)) => settle(&inner, upgraded, deflates, speaks_json),
            Ok(Err(error)) => debug!(%error, "a WebSocket upgrade failed"),
            Err(_) => debug!("a WebSocket upgrade took too long"),
        }
    });
    let headers = [
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
    ];
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
    response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(subprotocol) = subprotocol {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    }
    if let Some(extension) = extension {
        response.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, extension);
    }
    response
}

/// The subprotocol that the client is answered with; a browser insists on one that it has asked for.
fn subprotocol(headers: &HeaderMap) -> Option<&'static str> {
    [SUBPROTOCOL, PROTOBUF].into_iter().find(|known| names(headers, &header::SEC_WEBSOCKET_PROTOCOL, known))
}

/// Older SDKs ask in the address.
fn asks_for_protobuf(uri: &Uri) -> bool {
    let asked = |pair: &str| matches!(pair, "format=protobuf" | "cf_protocol=protobuf");
    uri.query().is_some_and(|query| query.split('&').any(asked))
}

/// Checks that this is a WebSocket handshake (RFC 6455 §4.2.1).
fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, (StatusCode, &'static str)> {
    if !names(headers, &header::CONNECTION, "upgrade") || !names(headers, &header::UPGRADE, "websocket") {
        let why = "This address speaks WebSocket: use a Centrifuge client, such as centrifuge-js.\n";
        return Err((StatusCode::UPGRADE_REQUIRED, why));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err((StatusCode::BAD_REQUEST, "Sec-WebSocket-Version must be 13.\n"));
    }
    headers
        .get(header::SEC_WEBSOCKET_KEY)
        .and_then(|key| HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok())
        .ok_or((StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing.\n"))
}

/// Is `wanted` one of the header's comma-separated values?
fn names(headers: &HeaderMap, header: &header::HeaderName, wanted: &str) -> bool {
    let texts = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
}

/// Moves the socket to its home shard.
fn settle(inner: &Arc<Inner>, upgraded: Upgraded, deflates: bool, speaks_json: bool) {
    let Ok(parts) = auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) else {
        return error!("the hub serves plain TCP only: put TLS in front of it");
    };
    let stream = parts.io.into_inner();
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "the peer has gone already");
    }
    let Ok(stream) = stream.into_std() else { return };
    // A copy, nearly always of nothing: what hyper hands back holds on to the whole buffer that it had read into.
    let first = parts.read_buf.to_vec();
    drop(parts.read_buf);
    let (id, inner) = (inner.context.registry.next_id(), Arc::clone(inner));
    let home = inner.home(id).home.clone();
    home.clone().spawn(async move {
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        let config = &inner.context.config;
        let limits = Limits { queue_bytes: config.queue_limit_bytes, close_wait: config.close_wait };
        let pulse = Pulse::new(config.ping_interval, config.pong_timeout, Instant::now() + config.stale_after);
        let connection = Arc::new(Connection::new(id, Wire::Socket { stream, deflates }, home, limits, pulse));
        serve(inner, connection, first, speaks_json).await;
    });
}

async fn serve(inner: Arc<Inner>, connection: Arc<Connection>, first: Vec<u8>, speaks_json: bool) {
    inner.admit(&connection);
    if !speaks_json {
        connection.close(&Disconnect::ONLY_JSON);
    }
    let span = debug_span!("connection", client = %connection.client);
    reader::run(inner, connection, first).instrument(span).await;
}

//! Serves a router on an address until the stop, with what every request gets: an id, a span, a caught panic.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use anyhow::Context;
use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::{HeaderName, Response, StatusCode},
    middleware::map_request,
};
use protocol::silence::{self, Keepalive};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    classify::ServerErrorsFailureClass,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    trace::TraceLayer,
};
use tracing::{Span, debug, error, info_span};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Connections that may wait to be accepted, if the system allows so many (`net.core.somaxconn`). After a restart thousands
/// come at once, and whom the queue does not hold tries again only after a second.
const BACKLOG: u32 = 16_384;

/// Takes the address; port 0 takes a free one.
pub fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    listen(address)
        .with_context(|| format!("cannot listen on {address}: choose another with --listen or ROOMCAST_LISTEN"))
}

/// As `TcpListener::bind` does, but for its queue of 128.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Connections inherit it: one whose client is gone without a word does not stay for ever.
    let Keepalive { idle, interval, tries } = Keepalive::within(silence::bound());
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(tries);
    SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Where a proxy stands before this, the address that it names takes the place of its own.
pub fn behind_proxy(router: Router, is_so: bool) -> Router {
    if !is_so {
        return router;
    }
    router.layer(map_request(async |mut request: Request| {
        let named = request.headers().get(REAL_IP).and_then(|ip| ip.to_str().ok()?.parse::<IpAddr>().ok());
        if let Some(ip) = named {
            request.extensions_mut().insert(ConnectInfo(SocketAddr::new(ip, 0)));
        }
        request
    }))
}

/// Serves until `stopping`; requests in flight are finished.
pub async fn serve(listener: TcpListener, router: Router, stopping: CancellationToken) -> anyhow::Result<()> {
    let app = router.layer(
        ServiceBuilder::new()
            .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
            .layer(
                TraceLayer::new_for_http()
                    .make_span_with(request_span)
                    .on_request(())
                    .on_response(|response: &Response<_>, latency: std::time::Duration, _: &Span| {
                        debug!(status = response.status().as_u16(), latency = ?latency, "answered");
                    })
                    .on_failure(failed),
            )
            .layer(PropagateRequestIdLayer::new(REQUEST_ID))
            .layer(CatchPanicLayer::new()),
    );
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(stopping.cancelled_owned())
        .await
        .context("serving HTTP")
}

/// Who answers 503 knows why and says so: a process that is not ready yet would fill the log with it.
fn failed(failure: ServerErrorsFailureClass, latency: std::time::Duration, _: &Span) {
    match failure {
        ServerErrorsFailureClass::StatusCode(StatusCode::SERVICE_UNAVAILABLE) => debug!(?latency, "not available"),
        other => error!(?latency, "a request failed: {other}"),
    }
}

/// The path only: a query may hold what is nobody's business.
fn request_span(request: &Request) -> Span {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    info_span!("request", method = %request.method(), path = request.uri().path(), id)
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use tower::ServiceExt;

    use super::*;

    async fn seen(behind: bool, header: &str) -> String {
        let routes = Router::new().route("/", get(async |ConnectInfo(from): ConnectInfo<SocketAddr>| from.to_string()));
        let mut request = Request::builder().uri("/").header("x-real-ip", header).body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 77))));
        let answer = behind_proxy(routes, behind).oneshot(request).await.unwrap();
        String::from_utf8(axum::body::to_bytes(answer.into_body(), 100).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_address_of_a_client_is_what_the_proxy_says_only_where_there_is_one() {
        assert_eq!(seen(false, "192.0.2.7").await, "10.0.0.1:77");
        assert_eq!(seen(true, "192.0.2.7").await, "192.0.2.7:0");
        assert_eq!(seen(true, "nonsense").await, "10.0.0.1:77");
    }
}

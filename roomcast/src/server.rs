//! Serves a router on an address until the stop, with what every request gets: an id, a span, a caught panic.

use std::net::SocketAddr;

use anyhow::Context;
use axum::{
    Router,
    extract::Request,
    http::{HeaderName, Response},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    trace::TraceLayer,
};
use tracing::{Span, debug, info_span};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Takes the address; port 0 takes a free one.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another with --listen or ROOMCAST_LISTEN"))
}

/// Serves until `stopping`; requests in flight are finished.
pub async fn serve(listener: TcpListener, router: Router, stopping: CancellationToken) -> anyhow::Result<()> {
    let app = router.layer(
        ServiceBuilder::new()
            .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
            .layer(TraceLayer::new_for_http().make_span_with(request_span).on_request(()).on_response(
                |response: &Response<_>, latency: std::time::Duration, _: &Span| {
                    debug!(status = response.status().as_u16(), latency = ?latency, "answered");
                },
            ))
            .layer(PropagateRequestIdLayer::new(REQUEST_ID))
            .layer(CatchPanicLayer::new()),
    );
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(stopping.cancelled_owned())
        .await
        .context("serving HTTP")
}

/// The path only: a query may hold what is nobody's business.
fn request_span(request: &Request) -> Span {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    info_span!("request", method = %request.method(), path = request.uri().path(), id)
}

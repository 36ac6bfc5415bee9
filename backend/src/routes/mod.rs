//! The HTTP API: one resource a file, described by OpenAPI where it is routed, a problem for every error.

mod auth;
mod form;
mod internal;
mod me;
mod membership;
mod message;
mod messages;
mod read;
mod read_model;
mod rooms;
mod settings;

use std::{any::Any, sync::LazyLock, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request},
    http::{HeaderValue, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use protocol::silence;
use tokio::time::timeout;
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer, trace::TraceLayer};
use tracing::{Span, info_span};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use me::User;
pub(crate) use membership::{add_member, add_room};
pub use message::Message;

use crate::{
    ApiError, ApiState, Problem,
    auth::{refuse_cross_site, require_internal_key},
    database::silent,
    outage,
};

/// The largest body of a request. The longest message takes 48 KiB when each character is written as two escapes.
const MAX_BODY_BYTES: usize = 64 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Roomcast",
        description = "Real-time chat: each member sees each message of a room exactly once, in commit order.\n\n\
            Sign in with `POST /api/login`; the session is a cookie. Lists are paged by what the last page ended with, \
            never by number. Every error is a problem (RFC 9457) with a stable `code`."
    ),
    components(schemas(Message, Problem))
)]
struct Description;

/// What goes wrong, with any status from 400 on.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "only its description is used")]
enum AnyProblem {
    #[response(status = "default", description = "A problem (RFC 9457)", content_type = "application/problem+json")]
    Any(Problem),
    /// Not now; the same again is safe, after `Retry-After` seconds. Codes: `busy` (our queues are full), `room_busy` (the
    /// room is locked or crowded), `stopping`, and for the database `database_read_only`, `database_full`,
    /// `database_busy`, `database_slow`, `database_locked`, `database_unavailable`.
    #[response(status = 503, content_type = "application/problem+json",
        headers(("retry-after" = u64, description = "Seconds")))]
    NotNow(Problem),
}

fn api() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(auth::logout))
        .routes(routes!(me::me))
        .routes(routes!(me::token))
        .routes(routes!(rooms::mine, rooms::create))
        .routes(routes!(rooms::unread))
        .routes(routes!(rooms::discover))
        .routes(routes!(rooms::get))
        .routes(routes!(membership::join))
        .routes(routes!(membership::leave))
        .routes(routes!(membership::members))
        .routes(routes!(messages::page, messages::create))
        .routes(routes!(read::mark))
        .routes(routes!(read_model::rooms))
        .routes(routes!(settings::broadcast_mode, settings::set_broadcast_mode))
}

/// The description of `/api/*`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    api().into_openapi()
}

/// `/api/*` for browsers and `/internal/*` for the hub, with their own answer to every address below them.
pub fn router(state: ApiState) -> Router {
    let (api, _) = api().split_for_parts();
    let api = api
        .route("/api/openapi.json", get(description))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .route("/api/{*rest}", any(async || ApiError::NotFound))
        .layer(from_fn(refuse_cross_site));
    let internal = internal::router()
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .route("/internal/{*rest}", any(async || ApiError::NotFound))
        .layer(from_fn_with_state(state.clone(), require_internal_key));
    api.merge(internal)
        .layer(from_fn_with_state(state.clone(), outage::tell))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(TraceLayer::new_for_http().make_span_with(span).on_failure(()))
        .with_state(state)
}

/// A request may also hash a password, which takes a busy machine some seconds and is nobody's silence.
const LEAST_PATIENCE: Duration = Duration::from_secs(10);

/// Middleware: who waits for a database that says nothing is told so at the bound (see [`protocol::silence`]), or after ten
/// seconds where that is longer.
pub async fn in_time(request: Request, next: Next) -> Response {
    let patience = silence::bound().max(LEAST_PATIENCE);
    timeout(patience, next.run(request)).await.unwrap_or_else(|_| ApiError::from(silent()).into_response())
}

async fn description() -> Response {
    static JSON: LazyLock<String> = LazyLock::new(|| openapi().to_json().unwrap_or_default());
    ([(header::CONTENT_TYPE, "application/json")], JSON.as_str()).into_response()
}

fn span(request: &Request) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    info_span!("request", http.method = %request.method(), http.route = route)
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands over a box")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    ApiError::internal(format!("a handler panicked: {text}")).into_response()
}

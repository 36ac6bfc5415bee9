//! What people see: pages drawn by the server, readable without JavaScript, and the client that makes them live.
//!
//! [`router`] has the pages, their files and the page to try the API. What they show comes from the backend's store;
//! what they change goes through its HTTP API, from the browser. The client is TypeScript in `client/`, bundled by
//! `build.rs` and embedded.

mod assets;
mod docs;
mod headers;
mod pages;

use axum::{Router, extract::FromRef, middleware::from_fn_with_state, routing::get};
use backend::ApiState;

/// What the pages need.
#[derive(Clone)]
pub struct WebState {
    /// The backend's state: who is signed in, and what to show.
    pub api: ApiState,
    /// Where browsers find the hub's WebSocket; `None`: at `/connection/websocket` of the page's own origin.
    pub hub_url: Option<String>,
    /// Shows the seeded users on the sign-in page, and the side-by-side view. Never on a server for others.
    pub demo: bool,
}

impl FromRef<WebState> for ApiState {
    fn from_ref(state: &WebState) -> Self {
        state.api.clone()
    }
}

/// Pages, static files, `/api/docs`, and the page for what is not there.
pub fn router(state: WebState) -> Router {
    let mut pages = Router::new()
        .route("/", get(pages::chat::welcome))
        .route("/rooms/{room}", get(pages::chat::room))
        .route("/discover", get(pages::chat::discover))
        .route("/login", get(pages::login::login).post(pages::login::without_javascript));
    if state.demo {
        pages = pages.route("/demo", get(pages::demo::demo));
    }
    pages
        .fallback(pages::error::not_found)
        .merge(assets::router())
        .merge(docs::router())
        .layer(from_fn_with_state(state.clone(), headers::secure))
        .layer(from_fn_with_state(state.api.clone(), backend::note_outages))
        .with_state(state)
}

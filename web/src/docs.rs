//! `/api/docs`: the page to try the API, on the description that the backend serves at `/api/openapi.json`.
//!
//! Swagger UI, embedded: it styles elements inline, so only here the policy allows that.

use axum::{
    Router,
    http::{HeaderValue, header},
    middleware::map_response,
    response::Response,
};
use utoipa_swagger_ui::{Config, SwaggerUi};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self'; connect-src 'self'; frame-ancestors 'self'; form-action 'self'; base-uri 'none'";

/// The page and its files.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let config = Config::from("/api/openapi.json").try_it_out_enabled(true).with_credentials(true);
    Router::from(SwaggerUi::new("/api/docs").config(config)).layer(map_response(relax))
}

async fn relax(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

//! Keeps `/internal/*` for those who know the key.

use axum::{
    extract::{Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{ApiError, ApiState};

/// Middleware: `Authorization: Bearer <key>`.
pub(crate) async fn require_internal_key(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = header.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let expected = state.config.internal_key.as_str();
    if !expected.is_empty() && equal(given, expected) {
        next.run(request).await
    } else {
        ApiError::WrongKey.into_response()
    }
}

/// Compares hashes, so that the time tells neither where the keys differ nor how long the right one is.
fn equal(a: &str, b: &str) -> bool {
    Sha256::digest(a).ct_eq(&Sha256::digest(b)).into()
}

//! `GET /api/me`, `GET /api/token`.

use axum::extract::State;
use protocol::UserId;
use serde::Serialize;
use utoipa::ToSchema;

use super::AnyProblem;
use crate::{ApiError, ApiState, CurrentUser, auth, extract::Json};

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct User {
    /// Identity; the `sub` of connection tokens.
    #[schema(value_type = i64)]
    pub id: UserId,
    /// Name signed in with.
    pub username: String,
    /// Name shown.
    pub name: String,
}

/// What opens a connection to the hub.
#[derive(Serialize, ToSchema)]
pub(super) struct ConnectionToken {
    /// HS256, with `sub`, `exp` and `info`.
    token: String,
    /// For how many seconds it is valid.
    expires_in: u64,
}

/// Who is signed in.
#[utoipa::path(get, path = "/api/me", tag = "session",
    responses((status = 200, description = "The user of the session", body = User), AnyProblem))]
pub(super) async fn me(user: CurrentUser) -> Json<User> {
    Json(user.into())
}

/// A short-lived token for `/connection/websocket`.
#[utoipa::path(get, path = "/api/token", tag = "session",
    responses((status = 200, description = "A token for this user", body = ConnectionToken), AnyProblem))]
pub(super) async fn token(State(state): State<ApiState>, user: CurrentUser) -> Result<Json<ConnectionToken>, ApiError> {
    let ttl = state.config.token_ttl;
    let token = auth::sign(&user, &state.config.token_secret, ttl)?;
    Ok(Json(ConnectionToken { token, expires_in: ttl.as_secs() }))
}

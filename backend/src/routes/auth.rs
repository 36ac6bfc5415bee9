//! `POST /api/register`, `/api/login`, `/api/logout`.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use axum_extra::extract::CookieJar;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    AnyProblem, User,
    form::{self, Invalid},
};
use crate::{
    ApiError, ApiState, CurrentUser, Seat,
    extract::{ClientIp, Json},
    store::{self, users::NewUser},
};

/// Who wants to be somebody.
#[derive(Deserialize, ToSchema)]
pub(super) struct Registration {
    /// 2 to 32 of a-z, 0-9 and `_`.
    #[serde(default)]
    username: String,
    /// 8 to 200 characters.
    #[serde(default)]
    password: String,
    /// Name shown, at most 64 characters; the username unless told.
    #[serde(default)]
    name: Option<String>,
}

/// Who says who they are.
#[derive(Deserialize, ToSchema)]
pub(super) struct Login {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// Who is signed in from here on.
#[derive(Serialize, ToSchema)]
pub(super) struct SignedIn {
    user: User,
}

/// Become a user, and sign in.
#[utoipa::path(post, path = "/api/register", tag = "session", request_body = Registration,
    responses((status = 201, description = "Signed in; sets the session's cookie", body = SignedIn), AnyProblem))]
pub(super) async fn register(
    State(state): State<ApiState>,
    seat: Seat,
    Json(form): Json<Registration>,
) -> Result<impl IntoResponse, ApiError> {
    let mut invalid = Invalid::default();
    let username = invalid.take("username", form::username(&form.username));
    let password = invalid.take("password", form::new_password(form.password));
    let name = form.name.filter(|name| !name.trim().is_empty()).or_else(|| username.clone()).unwrap_or_default();
    let name = invalid.take("name", form::shown_name(&name, 64));
    let (Some(username), Some(password), Some(name)) = (username, password, name) else {
        return Err(invalid.into_error());
    };

    let password_hash = state.passwords.hash(password).await?;
    let new = NewUser { username: &username, name: &name, password_hash: &password_hash, is_admin: false };
    let mut tx = state.db.begin().await?;
    let id = store::users::insert(&mut tx, &new).await?.ok_or(ApiError::UsernameTaken)?;
    let token = state.sessions.begin(&mut tx, id).await?;
    tx.commit().await?;

    let jar = CookieJar::new().add(seat.cookie(token, state.config.secure_cookies));
    Ok((StatusCode::CREATED, jar, Json(SignedIn { user: User { id, username, name } })))
}

/// Sign in.
#[utoipa::path(post, path = "/api/login", tag = "session", request_body = Login,
    responses((status = 200, description = "Signed in; sets the session's cookie", body = SignedIn), AnyProblem))]
pub(super) async fn login(
    State(state): State<ApiState>,
    seat: Seat,
    ClientIp(address): ClientIp,
    Json(form): Json<Login>,
) -> Result<impl IntoResponse, ApiError> {
    // A name that nobody can have still takes the time of a hash.
    let username = form::username(&form.username).unwrap_or_default();
    let attempt = state.attempts.begin(&username, address).await?;
    let mut conn = state.db.acquire().await?;
    let found = store::users::by_username(&mut conn, &username).await?;
    drop(conn); // a hash takes longer than any statement
    let (user, password_hash) = found.map(|found| (found.user, found.password_hash)).unzip();
    let right = state.passwords.verify(form.password, password_hash).await?;
    let Some(user) = user.filter(|_| right) else { return Err(ApiError::WrongCredentials) };
    attempt.succeeded();

    let mut tx = state.db.begin().await?;
    let token = state.sessions.begin(&mut tx, user.id).await?;
    tx.commit().await?;
    let jar = CookieJar::new().add(seat.cookie(token, state.config.secure_cookies));
    Ok((jar, Json(SignedIn { user: user.into() })))
}

/// Sign out. Without a session there is nothing to do, and that is no error.
#[utoipa::path(post, path = "/api/logout", tag = "session",
    responses((status = 204, description = "Signed out; removes the cookie"), AnyProblem))]
pub(super) async fn logout(
    State(state): State<ApiState>,
    seat: Seat,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    if let Some(token) = seat.token(&headers) {
        state.sessions.end(&token).await?;
    }
    Ok((StatusCode::NO_CONTENT, CookieJar::new().add(seat.removal(state.config.secure_cookies))))
}

impl From<CurrentUser> for User {
    fn from(user: CurrentUser) -> Self {
        Self { id: user.id, username: user.username, name: user.name }
    }
}

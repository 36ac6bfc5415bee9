//! Connection tokens: what a browser shows the hub, which knows no sessions.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use protocol::token::Claims;
use serde::Serialize;
use serde_json::value::to_raw_value;

use crate::{ApiError, CurrentUser};

#[derive(Serialize)]
struct Info<'a> {
    name: &'a str,
    username: &'a str,
}

/// Signs a token for the user (HS256).
pub(crate) fn sign(user: &CurrentUser, secret: &str, ttl: Duration) -> Result<String, ApiError> {
    let expires = SystemTime::now() + ttl;
    let claims = Claims {
        sub: user.id.to_string(),
        exp: Some(expires.duration_since(UNIX_EPOCH).map_err(ApiError::internal)?.as_secs()),
        info: Some(to_raw_value(&Info { name: &user.name, username: &user.username }).map_err(ApiError::internal)?),
    };
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.as_bytes()))
        .map_err(ApiError::internal)
}

//! Connection tokens of clients, signed as a backend would.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

/// How long a token is valid: longer than any run.
const TTL: Duration = Duration::from_hours(1);

/// A token of this user (HS256).
pub(crate) fn sign(user: &str, secret: &str) -> anyhow::Result<String> {
    let expires = SystemTime::now().duration_since(UNIX_EPOCH)? + TTL;
    let claims = json!({ "sub": user, "exp": expires.as_secs() });
    Ok(jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.as_bytes()))?)
}

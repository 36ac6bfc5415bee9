//! The claims of a connection token: what the backend signs and the hub believes.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Claims of a connection token (HS256), a subset of Centrifugo's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The user. Empty for an anonymous connection.
    #[serde(default)]
    pub sub: String,
    /// Seconds since 1970 after which the token is refused and the connection must have been refreshed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    /// Shown to others as the connection's info, as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<Box<RawValue>>,
}

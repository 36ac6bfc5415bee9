//! The clock that every process of one machine shares.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970, as the backend's `Roomcast-Committed-At` counts them.
pub fn unix_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

//! A transaction that another one was in the way of is done again, a few times, before anybody hears of it.

use protocol::Refusal;

use crate::ApiError;

const TRIES: usize = 3;

/// Does the work, and again after a deadlock or a serialization failure: both have rolled it back.
pub(crate) async fn again<T, W: Future<Output = Result<T, ApiError>>>(work: impl Fn() -> W) -> Result<T, ApiError> {
    for _ in 1..TRIES {
        match work().await {
            Err(ApiError::Refused { refusal: Refusal::Clash, .. }) => {}
            done => return done,
        }
    }
    work().await
}

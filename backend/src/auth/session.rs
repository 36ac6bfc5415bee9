//! Sessions in PostgreSQL, remembered here for a few seconds so that a post costs no extra round trip.
//!
//! Only a hash of the cookie is stored. A session that ended at another backend may live on in this one's memory for
//! [`REMEMBERED`]; here it ends at once.

use std::time::Duration;

use axum::{
    extract::{FromRef, FromRequestParts, OptionalFromRequestParts},
    http::request::Parts,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use moka::future::Cache;
use protocol::{Author, UserId};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::Seat;
use crate::{ApiError, ApiState, database::within, store};

const REMEMBERED: Duration = Duration::from_secs(10);
const REMEMBERED_SESSIONS: u64 = 100_000;

/// Who is signed in. Taken from the request by its session cookie: 401 without one, or `None` for an `Option`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentUser {
    /// Identity.
    pub id: UserId,
    /// Name signed in with.
    pub username: String,
    /// Name shown.
    pub name: String,
    /// May administer.
    pub is_admin: bool,
}

impl CurrentUser {
    /// The user as the author of a line.
    pub fn author(&self) -> Author {
        Author { id: self.id, name: self.name.clone() }
    }
}

/// The living sessions.
#[derive(Clone)]
pub(crate) struct Sessions {
    db: PgPool,
    ttl: Duration,
    remembered: Cache<TokenHash, CurrentUser>,
}

type TokenHash = [u8; 32];

impl Sessions {
    pub(crate) fn new(db: PgPool, ttl: Duration) -> Self {
        let remembered = Cache::builder().max_capacity(REMEMBERED_SESSIONS).time_to_live(REMEMBERED).build();
        Self { db, ttl, remembered }
    }

    /// Begins a session in the caller's transaction; returns what goes into the cookie.
    pub(crate) async fn begin(&self, conn: &mut PgConnection, user: UserId) -> sqlx::Result<String> {
        let mut secret = [0; 32];
        rand::fill(&mut secret);
        let token = BASE64_URL_SAFE_NO_PAD.encode(secret);
        store::sessions::delete_expired(conn).await?;
        store::sessions::insert(conn, &hash(&token), user, OffsetDateTime::now_utc() + self.ttl).await?;
        Ok(token)
    }

    /// Whose session this is. A session that is used moves its end, once a tenth of its time is gone.
    pub(crate) async fn user(&self, token: &str) -> sqlx::Result<Option<CurrentUser>> {
        let key = hash(token);
        if let Some(user) = self.remembered.get(&key).await {
            return Ok(Some(user));
        }
        let mut conn = self.db.acquire().await?;
        let Some(session) = store::sessions::find(&mut conn, &key).await? else { return Ok(None) };
        let end = OffsetDateTime::now_utc() + self.ttl;
        if session.expires_at < end - self.ttl / 10 {
            store::sessions::renew(&mut conn, &key, end).await?;
        }
        self.remembered.insert(key, session.user.clone()).await;
        Ok(Some(session.user))
    }

    /// Ends a session.
    pub(crate) async fn end(&self, token: &str) -> sqlx::Result<()> {
        let key = hash(token);
        let mut conn = self.db.acquire().await?;
        store::sessions::delete(&mut conn, &key).await?;
        self.remembered.invalidate(&key).await;
        Ok(())
    }
}

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

impl<S> FromRequestParts<S> for CurrentUser
where
    S: Send + Sync,
    ApiState: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        <Self as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?.ok_or(ApiError::Unauthenticated)
    }
}

impl<S> OptionalFromRequestParts<S> for CurrentUser
where
    S: Send + Sync,
    ApiState: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, ApiError> {
        let seat = Seat::from_request_parts(parts, state).await?;
        let Some(token) = seat.token(&parts.headers) else { return Ok(None) };
        Ok(within(ApiState::from_ref(state).sessions.user(&token)).await?)
    }
}

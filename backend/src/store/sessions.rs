//! Sessions, known by a hash of their cookie.

use protocol::UserId;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::CurrentUser;

/// A session that is alive.
pub struct Session {
    /// Whose it is.
    pub user: CurrentUser,
    /// When it ends if nobody uses it.
    pub expires_at: OffsetDateTime,
}

/// Begins a session.
pub async fn insert(
    conn: &mut PgConnection,
    token_hash: &[u8],
    user: UserId,
    expires_at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into sessions (token_hash, user_id, expires_at) values ($1, $2, $3)",
        token_hash,
        user.0,
        expires_at
    )
    .execute(conn)
    .await
    .map(drop)
}

/// The session of a cookie, if it is alive.
pub async fn find(conn: &mut PgConnection, token_hash: &[u8]) -> sqlx::Result<Option<Session>> {
    let row = sqlx::query!(
        "select u.id, u.username, u.name, u.is_admin, s.expires_at
           from sessions s join users u on u.id = s.user_id
          where s.token_hash = $1 and s.expires_at > now()",
        token_hash
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Session {
        user: CurrentUser { id: UserId(row.id), username: row.username, name: row.name, is_admin: row.is_admin },
        expires_at: row.expires_at,
    }))
}

/// Gives a session that is in use more time.
pub async fn renew(conn: &mut PgConnection, token_hash: &[u8], expires_at: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query!("update sessions set expires_at = $2 where token_hash = $1", token_hash, expires_at)
        .execute(conn)
        .await
        .map(drop)
}

/// Ends a session.
pub async fn delete(conn: &mut PgConnection, token_hash: &[u8]) -> sqlx::Result<()> {
    sqlx::query!("delete from sessions where token_hash = $1", token_hash).execute(conn).await.map(drop)
}

/// Sweeps up to a hundred sessions that have ended. Each sign-in does it, so nothing else has to.
pub async fn delete_expired(conn: &mut PgConnection) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "delete from sessions where token_hash in
            (select token_hash from sessions where expires_at <= now()
              order by expires_at limit 100 for update skip locked)"
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

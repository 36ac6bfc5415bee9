//! People and their password hashes.

use protocol::UserId;
use sqlx::PgConnection;

use crate::CurrentUser;

/// What a sign-in is checked against.
pub struct Credentials {
    /// Who it would be.
    pub user: CurrentUser,
    /// PHC string.
    pub password_hash: String,
}

/// A person to be.
pub struct NewUser<'a> {
    /// Name to sign in with.
    pub username: &'a str,
    /// Name shown.
    pub name: &'a str,
    /// PHC string.
    pub password_hash: &'a str,
    /// May administer.
    pub is_admin: bool,
}

/// Adds a person; None if the username is taken.
pub async fn insert(conn: &mut PgConnection, user: &NewUser<'_>) -> sqlx::Result<Option<UserId>> {
    let id = sqlx::query_scalar!(
        "insert into users (username, name, password_hash, is_admin) values ($1, $2, $3, $4)
         on conflict (username) do nothing returning id",
        user.username,
        user.name,
        user.password_hash,
        user.is_admin
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(UserId))
}

/// The person who signs in by this name.
pub async fn by_username(conn: &mut PgConnection, username: &str) -> sqlx::Result<Option<Credentials>> {
    let row =
        sqlx::query!("select id, username, name, is_admin, password_hash from users where username = $1", username)
            .fetch_optional(conn)
            .await?;
    Ok(row.map(|row| Credentials {
        user: CurrentUser { id: UserId(row.id), username: row.username, name: row.name, is_admin: row.is_admin },
        password_hash: row.password_hash,
    }))
}

//! A small world to begin with: four people who know each other, and what they said yesterday.

use sqlx::PgPool;

/// x
pub async fn demo(_db: &PgPool) -> Result<(), sqlx::Error> {
    Ok(())
}

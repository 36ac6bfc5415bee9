//! The broadcast mode, and who carries rows at present. What a switch promises stands in `migrations/0003_modes.sql`.

use protocol::Mode;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// The mode as it stands, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// The mode.
    pub mode: Mode,
    /// When it was switched to.
    pub changed_at: OffsetDateTime,
}

/// The mode of this transaction: a switch waits until the transaction has ended. Ask before any room or member is locked.
pub async fn broadcast_mode(conn: &mut PgConnection) -> sqlx::Result<Mode> {
    let mode = sqlx::query_scalar!(r#"select broadcast_mode() as "mode!""#).fetch_one(conn).await?;
    Ok(parse_mode(&mode))
}

/// The mode, for those who only show it: nobody waits.
pub async fn current(conn: &mut PgConnection) -> sqlx::Result<Current> {
    let row = sqlx::query!("select value, changed_at from settings where name = 'broadcast_mode'").fetch_one(conn);
    let row = row.await?;
    Ok(Current { mode: parse_mode(&row.value), changed_at: row.changed_at })
}

/// Switches, and leaves the row that tells everybody. Waits for the transactions that have read the old mode, for
/// three seconds at most. None: it is this mode already.
pub async fn set_broadcast_mode(conn: &mut PgConnection, mode: Mode) -> sqlx::Result<Option<OffsetDateTime>> {
    sqlx::query_scalar!("select set_broadcast_mode($1)", mode.as_str()).fetch_one(conn).await
}

/// The sources that a relay has reported lately: within three of the relay's reports.
pub async fn carriers(conn: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select distinct source from carriers where seen_at > clock_timestamp() - interval '15 seconds' order by source"
    )
    .fetch_all(conn)
    .await
}

/// A stored mode. The tables' checks admit no other text.
pub(super) fn parse_mode(text: &str) -> Mode {
    text.parse().unwrap_or_default()
}

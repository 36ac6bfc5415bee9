//! The broadcast mode of the database: which one it is, which ones can be had, and the switch.

use protocol::Mode;
use sqlx::PgPool;
use time::OffsetDateTime;

use crate::store::settings;
pub use crate::store::settings::Current;

/// Whether a mode can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Availability {
    /// The mode.
    pub mode: Mode,
    /// What is missing, for a person. None: it can be had.
    pub missing: Option<&'static str>,
}

/// Why the mode was not switched.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// Messages would be written and not be carried.
    #[error("mode {mode} cannot be had: {missing}")]
    Unavailable {
        /// The mode that was asked for.
        mode: Mode,
        /// What is missing.
        missing: &'static str,
    },
    /// A statement failed, or a transaction that has read the old mode did not end in time.
    #[error("the mode could not be switched")]
    Database(#[from] sqlx::Error),
}

/// The mode as it stands.
pub async fn get(db: &PgPool) -> sqlx::Result<Current> {
    settings::current(&mut *db.acquire().await?).await
}

/// Every mode, and what is missing where one cannot be had. `publishes`: the backends publish by themselves.
pub async fn available(db: &PgPool, publishes: bool) -> sqlx::Result<Vec<Availability>> {
    let carriers = settings::carriers(&mut *db.acquire().await?).await?;
    let carried = |source: &str| carriers.iter().any(|carrier| carrier == source);
    let all = Mode::ALL.into_iter().map(|mode| Availability { mode, missing: missing(mode, publishes, &carried) });
    Ok(all.collect())
}

/// Switches to a mode that can be had. None: it is this mode already. Everybody is told by the same transaction.
///
/// When this returns, no message of the old mode is still to be committed, except those whose request names it.
pub async fn set(db: &PgPool, mode: Mode, publishes: bool) -> Result<Option<OffsetDateTime>, SetError> {
    if get(db).await?.mode == mode {
        return Ok(None);
    }
    let availability = available(db, publishes).await?.into_iter().find(|availability| availability.mode == mode);
    if let Some(missing) = availability.and_then(|availability| availability.missing) {
        return Err(SetError::Unavailable { mode, missing });
    }
    let mut tx = db.begin().await?;
    let changed_at = settings::set_broadcast_mode(&mut tx, mode).await?;
    tx.commit().await?;
    Ok(changed_at)
}

fn missing(mode: Mode, publishes: bool, carried: &impl Fn(&str) -> bool) -> Option<&'static str> {
    const NO_HUB: &str = "this backend has no hub to publish to";
    let no_carrier = |source, why| (!carried(source)).then_some(why);
    let cdc = "no relay reads chat_cdc from Kafka at present; that takes Kafka, Kafka Connect with the connector \
               roomcast-rows, and a relay that knows the brokers";
    match mode {
        Mode::Api => (!publishes).then_some(NO_HUB),
        Mode::Outbox => no_carrier("outbox", "no relay reads the outbox at present"),
        Mode::ApiCdc if !publishes => Some(NO_HUB),
        Mode::Cdc | Mode::ApiCdc => no_carrier("cdc", cdc),
        Mode::Message => no_carrier(
            "message",
            "no relay reads logical messages from Kafka at present; that takes Kafka, Kafka Connect with the connector \
             roomcast-messages, and a relay that knows the brokers",
        ),
        Mode::Wal => no_carrier(
            "wal",
            "no relay reads the write-ahead log at present; that takes wal_level=logical and a relay with that source",
        ),
    }
}

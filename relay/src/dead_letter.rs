//! Rows that never passed, each with its reason: to be read, put back, or thrown away by a person.

use protocol::{PARTITIONS, Partition};
use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;

use crate::CHANNEL;

/// A row that was put aside.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetter {
    /// Its number here.
    pub id: i64,
    /// Where the row came from: `outbox`, `wal`, `wal:message`, `kafka:<topic>/<partition>`, or
    /// `events:<topic>/<partition>` for a record that a read model could not apply.
    pub source: String,
    /// The row's id there; in Kafka its offset, in the write-ahead log a message's position.
    pub source_id: i64,
    /// What it asked for.
    pub method: String,
    /// As it was read, even where that is not JSON.
    pub payload: String,
    /// As it was stored, even where there is no such partition.
    pub partition: Partition,
    /// Why it never passed.
    pub reason: String,
    /// How often it was tried; 0 for a row that no relay would claim.
    pub attempts: i32,
    /// When the row was written.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was put aside.
    #[serde(with = "time::serde::rfc3339")]
    pub failed_at: OffsetDateTime,
}

/// Which letters to treat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// One, by its number.
    One(i64),
    /// All there are.
    All,
}

/// Why a letter could not be treated.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// There is no such letter.
    #[error("there is no dead letter {0}")]
    Unknown(i64),
    /// The outbox only takes JSON.
    #[error("dead letter {id} cannot be replayed, its payload is not JSON: {reason}")]
    NotJson {
        /// The letter.
        id: i64,
        /// What PostgreSQL says.
        reason: String,
    },
    /// No hub ever waited for it.
    #[error(
        "dead letter {0} is an event that the read model could not apply: `roomcast read-model rebuild` reads it again, \
         with all others"
    )]
    NotForTheHub(i64),
    /// PostgreSQL failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// What became of a replay.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Letters that are rows again.
    pub rows: u64,
    /// Letters that stay, with the reason.
    pub refused: Vec<DeadLetterError>,
}

/// Up to `limit` letters with a number above `after`, in order. Start with 0.
pub async fn list(db: &PgPool, after: i64, limit: u16) -> Result<Vec<DeadLetter>, DeadLetterError> {
    let letters = sqlx::query_as!(
        DeadLetter,
        "select id, source, source_id, method, payload, partition, reason, attempts, created_at, failed_at
           from dead_letters where id > $1 order by id limit $2",
        after,
        i64::from(limit),
    );
    Ok(letters.fetch_all(db).await?)
}

/// One letter.
pub async fn show(db: &PgPool, id: i64) -> Result<DeadLetter, DeadLetterError> {
    let letter = sqlx::query_as!(
        DeadLetter,
        "select id, source, source_id, method, payload, partition, reason, attempts, created_at, failed_at
           from dead_letters where id = $1",
        id,
    );
    letter.fetch_optional(db).await?.ok_or(DeadLetterError::Unknown(id))
}

/// Makes letters rows of the outbox again, each in a transaction of its own, oldest first. They stand behind the rows
/// that wait there. One that cannot go back does not keep the others.
pub async fn replay(db: &PgPool, selection: Selection) -> Result<Replayed, DeadLetterError> {
    let mut replayed = Replayed::default();
    for id in numbers(db, selection).await? {
        match replay_one(db, id).await {
            Ok(()) => replayed.rows += 1,
            // Somebody else was faster.
            Err(DeadLetterError::Unknown(_)) if selection == Selection::All => {}
            Err(error @ (DeadLetterError::NotJson { .. } | DeadLetterError::NotForTheHub(_))) => {
                replayed.refused.push(error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(replayed)
}

/// Throws letters away. Gives their count.
pub async fn discard(db: &PgPool, selection: Selection) -> Result<u64, DeadLetterError> {
    let discarded = match selection {
        Selection::One(id) => sqlx::query!("delete from dead_letters where id = $1", id).execute(db).await?,
        Selection::All => sqlx::query!("delete from dead_letters").execute(db).await?,
    };
    match (selection, discarded.rows_affected()) {
        (Selection::One(id), 0) => Err(DeadLetterError::Unknown(id)),
        (_, count) => Ok(count),
    }
}

async fn numbers(db: &PgPool, selection: Selection) -> Result<Vec<i64>, DeadLetterError> {
    match selection {
        Selection::One(id) => Ok(vec![id]),
        Selection::All => Ok(sqlx::query_scalar!("select id from dead_letters order by id").fetch_all(db).await?),
    }
}

/// One statement, hence one transaction: the letter is gone if and only if the row is there, and relays are told at
/// its commit. A row of no known partition gets one.
async fn replay_one(db: &PgPool, id: i64) -> Result<(), DeadLetterError> {
    let replayed = sqlx::query!(
        r#"with letter as (
               delete from dead_letters where id = $1 and source not like 'events:%'
               returning method, payload, partition),
           back as (
               insert into chat_outbox (method, payload, partition)
               select method, payload::jsonb, ((partition % $2 + $2) % $2)::smallint from letter
               returning partition)
           select pg_notify($3, partition::text)::text as told from back"#,
        id,
        PARTITIONS,
        CHANNEL,
    );
    match replayed.fetch_optional(db).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => show(db, id).await.and(Err(DeadLetterError::NotForTheHub(id))),
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code.starts_with("22")) => {
            Err(DeadLetterError::NotJson { id, reason: error.message().to_owned() })
        }
        Err(error) => Err(error.into()),
    }
}

//! Where rows of logs are put aside: one row of `dead_letters` each, before their place in the log is acknowledged.
//!
//! Rows of the outbox are moved there by `source::outbox`, in one statement with their deletion.

use std::time::Duration;

use protocol::{Complaint, Partition};
use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::{
    RelayError,
    source::session::{self, within},
};

/// The longest reason kept: it is for a person, and comes from a destination.
const REASON_CHARS: usize = 2000;

/// A row that will never pass.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    /// Which log: `wal`, or `kafka:<topic>/<partition>`.
    pub source: String,
    /// Its place there, so that a row that comes again after a crash is the same letter.
    pub source_id: i64,
    pub method: String,
    pub payload: String,
    pub partition: Partition,
    pub reason: String,
    pub attempts: u32,
    pub created_at: OffsetDateTime,
}

/// Letters are told so often: a broken producer makes thousands a second, and each of them stands in the table.
const TELL: Duration = Duration::from_secs(1);

/// A database that takes no letters is told so often.
const REFUSED: Duration = Duration::from_mins(1);

/// Keeps a connection once one was needed. Shared by all tasks of a relay; letters are rare.
pub(crate) struct LetterBox {
    database_url: String,
    told: Told,
    refused: Complaint,
    connection: Mutex<Option<PgConnection>>,
}

impl LetterBox {
    pub(crate) fn new(database_url: &str) -> Self {
        Self {
            database_url: database_url.to_owned(),
            told: Told::default(),
            refused: Complaint::new(REFUSED),
            connection: Mutex::new(None),
        }
    }

    /// Puts the letters aside, all or none, and tells of them. One that is there already is replaced: it is the same row
    /// again.
    pub(crate) async fn put(&self, letters: &[Letter]) -> Result<u64, RelayError> {
        let put = self.try_put(letters).await;
        match (&put, letters.first()) {
            (Ok(put), Some(Letter { source, source_id, reason, .. })) => {
                self.told.tell(*put, source, *source_id, reason);
                if let Some(relief) = self.refused.over() {
                    info!("dead letters are put aside again, {relief}");
                }
            }
            (Err(error), _) => {
                if let Some(trouble) = self.refused.happened() {
                    warn!(%error, "cannot put {} dead letters aside, and rows wait for it: {error}{trouble}", letters.len());
                }
            }
            (Ok(_), None) => {}
        }
        put
    }

    async fn try_put(&self, letters: &[Letter]) -> Result<u64, RelayError> {
        let mut place = self.connection.lock().await;
        // While it is out of its place, a failure or a dropped future cannot leave a broken one there.
        let mut connection = match place.take() {
            Some(connection) => connection,
            None => session::open(&self.database_url, "roomcast relay dead letters").await?,
        };
        let put = insert(&mut connection, letters).await?;
        *place = Some(connection);
        Ok(put)
    }
}

/// Tells that rows are dead letters now: one line a second, with one of them and how many there were.
pub(crate) struct Told(Complaint);

impl Default for Told {
    fn default() -> Self {
        Self(Complaint::new(TELL))
    }
}

impl Told {
    /// So many, the first of them this one.
    pub(crate) fn tell(&self, letters: u64, source: &str, id: i64, reason: &str) {
        // What came long ago is another story.
        let untold = self.0.over().map_or(0, |relief| relief.untold);
        if untold > 0 {
            warn!(rows = untold, "{untold} more rows became dead letters before");
        }
        if let Some(trouble) = self.0.happened_times(letters) {
            warn!(source, source.id = id, "row {id} of {source} is a dead letter now: {reason}{trouble}");
        }
    }
}

async fn insert(connection: &mut PgConnection, letters: &[Letter]) -> Result<u64, RelayError> {
    let column = |of: fn(&Letter) -> &str| letters.iter().map(|letter| storable(of(letter))).collect::<Vec<_>>();
    let source_ids: Vec<_> = letters.iter().map(|letter| letter.source_id).collect();
    let partitions: Vec<_> = letters.iter().map(|letter| letter.partition.0).collect();
    let reasons: Vec<_> = letters.iter().map(|letter| readable(&letter.reason)).collect();
    let attempts: Vec<_> = letters.iter().map(|letter| i32::try_from(letter.attempts).unwrap_or(i32::MAX)).collect();
    let created: Vec<_> = letters.iter().map(|letter| letter.created_at).collect();
    let inserted = sqlx::query!(
        "insert into dead_letters (source, source_id, method, payload, partition, reason, attempts, created_at)
         select distinct on (source, source_id) * from unnest($1::text[], $2::bigint[], $3::text[], $4::text[],
                $5::smallint[], $6::text[], $7::integer[], $8::timestamptz[])
             as l(source, source_id, method, payload, partition, reason, attempts, created_at)
         on conflict (source, source_id) do update
            set method = excluded.method, payload = excluded.payload, partition = excluded.partition,
                reason = excluded.reason, attempts = excluded.attempts, created_at = excluded.created_at,
                failed_at = now()",
        &column(|letter| &letter.source),
        &source_ids,
        &column(|letter| &letter.method),
        &column(|letter| &letter.payload),
        &partitions,
        &reasons,
        &attempts,
        &created,
    );
    Ok(within(inserted.execute(connection)).await?.rows_affected())
}

/// A reason as it is kept.
pub(crate) fn readable(reason: &str) -> String {
    storable(reason).chars().take(REASON_CHARS).collect()
}

/// PostgreSQL has no NUL in its texts: with one a row could neither leave nor be put aside.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

//! Probes of the event router. At the end of their way they are noted, and nobody else hears of them.
//!
//! They have a topic of their own, which one consumer of the group reads; what came stands in the table `probes`, for all.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use sqlx::{PgConnection, PgPool};
use tokio::sync::Mutex;

use super::{Event, EventSink, EventVerdict, SinkError};
use crate::{
    RelayError,
    probe::{self, Probe, Way},
    source::session,
};

/// How long ago a probe came through the event router, by any consumer; none if none ever did.
pub async fn last_probe(db: &PgPool) -> Result<Option<Duration>, RelayError> {
    let age = sqlx::query_scalar!(
        "select extract(epoch from clock_timestamp() - seen_at)::float8 from probes where source = 'events'"
    );
    let age = age.fetch_optional(db).await?.flatten();
    Ok(age.and_then(|age| Duration::try_from_secs_f64(age.max(0.0)).ok()))
}

/// Notes probes, on a connection of its own.
pub(super) struct ProbeSink {
    database_url: String,
    connection: Mutex<Option<PgConnection>>,
}

impl ProbeSink {
    pub(super) fn new(database_url: &str) -> Self {
        Self { database_url: database_url.to_owned(), connection: Mutex::new(None) }
    }

    async fn note(&self, probe: Probe) -> Result<(), RelayError> {
        let mut place = self.connection.lock().await;
        // While it is out of its place, a failure or a dropped future cannot leave a broken one there.
        let mut connection = match place.take() {
            Some(connection) => connection,
            None => session::open(&self.database_url, "roomcast events probes").await?,
        };
        probe::note(&mut connection, BTreeMap::from([(Way::Events, probe.sent_at)])).await?;
        *place = Some(connection);
        Ok(())
    }
}

#[async_trait]
impl EventSink for ProbeSink {
    async fn apply(&self, events: &[Event]) -> Result<Vec<EventVerdict>, SinkError> {
        let probes = events.iter().filter_map(|event| serde_json::from_str::<Probe>(&event.payload).ok());
        if let Some(newest) = probes.max_by_key(|probe| probe.sent_at) {
            self.note(newest).await.map_err(SinkError::new)?;
        }
        Ok(vec![EventVerdict::Done("probe"); events.len()])
    }
}

//! Probes: a way counts as working only while something that was sent comes through it.
//!
//! Every few seconds one relay sends a row, or a message, that asks for nothing. The source that reads it at the end of
//! its way tells [`Probes`]; nobody delivers it. Sending and seeing stand in the table `probes`, so that every relay knows
//! of the ways whose end is at another. What follows (readiness, which modes are offered) is decided in `status` and
//! `carriers`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::{OffsetDateTime, serde::rfc3339};
use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    RelayConfig, RelayError, metrics,
    source::session::{self, within},
    status::State,
};

/// The method of a probe: that of a command, so that other consumers of the same rows understand it. It is about a
/// connection that nobody has.
const METHOD: &str = "refresh";

/// The method of probes that were sent before migration 17.
const OLD_METHOD: &str = "probe";

/// A way counts as working for so many intervals.
const CREDIT: u32 = 6;

/// How often a way is looked at that does not work.
const IMPATIENCE: Duration = Duration::from_millis(250);

/// A way from the database to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Rows by Debezium and Kafka to the relay.
    Cdc,
    /// Logical messages by Debezium and Kafka to the relay, or by its own reading of the log.
    Message,
    /// Rows by Debezium's event router and Kafka to the read model.
    Events,
    /// Rows by the relay's own reading of the log.
    Wal,
}

/// How a way did lately.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeStatus {
    /// Which.
    pub source: Way,
    /// When the last probe was sent.
    #[serde(with = "rfc3339::option")]
    pub sent_at: Option<OffsetDateTime>,
    /// When one came through last.
    #[serde(with = "rfc3339::option")]
    pub seen_at: Option<OffsetDateTime>,
    /// How long ago that was.
    pub age_seconds: Option<f64>,
    /// How long it had taken.
    pub took_seconds: Option<f64>,
    /// It was lately, so the way works.
    pub works: bool,
}

/// A probe at the end of its way; also what stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(crate) struct Probe {
    #[serde(rename = "probe")]
    pub way: Way,
    #[serde(with = "rfc3339")]
    pub sent_at: OffsetDateTime,
}

/// What this relay knows of its ways.
pub(crate) struct Probes {
    /// The sources here, and the ways that end at each.
    ways: Vec<(&'static str, Way)>,
    credit: Duration,
    inner: Mutex<Inner>,
    came: Notify,
}

#[derive(Default)]
struct Inner {
    came: BTreeMap<Way, OffsetDateTime>,
    known: BTreeMap<Way, Known>,
    /// Since when a probe of this way is known to be sent and not seen.
    unanswered: BTreeMap<Way, Instant>,
    trouble: Option<String>,
}

#[derive(Clone, Copy)]
struct Known {
    sent_at: Option<OffsetDateTime>,
    seen_at: Option<OffsetDateTime>,
    took: Option<f64>,
    /// Nobody has seen the one that was sent last.
    unanswered: bool,
    /// The same moment as `seen_at`, by our own clock.
    seen: Option<Instant>,
}

/// A payload that may be a probe's. Others have no such field.
#[derive(Deserialize)]
struct Marked {
    probe: Option<serde::de::IgnoredAny>,
}

impl Probe {
    /// The probe that a row or message is; `None` if it is a command.
    pub(crate) fn of(method: &str, payload: &str) -> Option<Result<Self, serde_json::Error>> {
        let is_probe = match method {
            OLD_METHOD => true,
            METHOD => serde_json::from_str::<Marked>(payload).is_ok_and(|payload| payload.probe.is_some()),
            _ => false,
        };
        is_probe.then(|| serde_json::from_str(payload))
    }
}

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Self::Cdc => "cdc",
            Self::Message => "message",
            Self::Events => "events",
            Self::Wal => "wal",
        }
    }

    /// As the table has it; none that this program does not know.
    fn named(name: &str) -> Option<Self> {
        [Self::Cdc, Self::Message, Self::Events, Self::Wal].into_iter().find(|way| way.as_str() == name)
    }

    /// What a topic of Debezium's carries, by the name that the connectors' files give it.
    fn of_topic(topic: &str) -> Option<Self> {
        match topic {
            _ if topic.ends_with(".chat_cdc") => Some(Self::Cdc),
            _ if topic.ends_with(".message") => Some(Self::Message),
            _ => None,
        }
    }
}

/// Each source that would run with these settings, with each way that ends there.
pub(crate) fn ends(config: &RelayConfig) -> impl Iterator<Item = (&'static str, Way)> {
    let wal = config.wal.iter().flat_map(|wal| [Some(Way::Wal), wal.messages.then_some(Way::Message)]);
    let kafka = config.kafka.iter().flat_map(|kafka| kafka.topics.iter().map(|topic| Way::of_topic(topic)));
    wal.flatten().map(|way| ("wal", way)).chain(kafka.flatten().map(|way| ("kafka", way)))
}

impl Probes {
    pub(crate) fn new(config: &RelayConfig) -> Self {
        Self {
            ways: ends(config).collect(),
            credit: config.probe_interval * CREDIT,
            inner: Mutex::default(),
            came: Notify::new(),
        }
    }

    /// A source has read this.
    pub(crate) fn came(&self, probe: Probe) {
        let mut inner = self.lock();
        inner.came.insert(probe.way, probe.sent_at);
        inner.unanswered.remove(&probe.way);
        drop(inner);
        self.came.notify_one();
    }

    /// For how long a probe of this way has been waited for.
    pub(crate) fn unanswered(&self, way: Way) -> Option<Duration> {
        self.lock().unanswered.get(&way).map(Instant::elapsed)
    }

    fn knows(&self, known: BTreeMap<Way, Known>) {
        let mut inner = self.lock();
        let now = Instant::now();
        for (way, known) in &known {
            if known.unanswered {
                inner.unanswered.entry(*way).or_insert(now);
            } else {
                inner.unanswered.remove(way);
            }
        }
        inner.known = known;
    }

    /// All ways that end here, and the read model's if its probes are sent from here.
    pub(crate) fn statuses(&self) -> Vec<ProbeStatus> {
        let inner = self.lock();
        let sent_from_here = |way: &Way| match way {
            Way::Events => self.ends_here(Way::Cdc),
            way => self.ends_here(*way),
        };
        let known = inner.known.iter().filter(|(way, _)| sent_from_here(way));
        known.map(|(way, known)| known.status(*way, self.credit)).collect()
    }

    /// Why a source cannot be said to work; nothing if it can.
    pub(crate) fn doubt(&self, source: &str) -> Option<String> {
        let inner = self.lock();
        let works = |way| inner.known.get(&way).is_some_and(|known| known.works(self.credit));
        let (_, way) = self.ways.iter().find(|(end, way)| *end == source && !works(*way))?;
        let (way, credit) = (way.as_str(), self.credit);
        Some(match &inner.trouble {
            Some(trouble) => format!("no probe of {way} could be sent: {trouble}"),
            None => format!(
                "no probe of {way} came through in the last {credit:?}: whatever says that it runs, it carries nothing"
            ),
        })
    }

    /// A probe came through this way lately.
    pub(crate) fn works(&self, way: Way) -> bool {
        self.lock().known.get(&way).is_some_and(|known| known.works(self.credit))
    }

    fn ends_here(&self, way: Way) -> bool {
        self.ways.iter().any(|(_, end)| *end == way)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn works(&self, credit: Duration) -> bool {
        self.seen.is_some_and(|seen| seen.elapsed() < credit)
    }

    fn status(&self, way: Way, credit: Duration) -> ProbeStatus {
        ProbeStatus {
            source: way,
            sent_at: self.sent_at,
            seen_at: self.seen_at,
            age_seconds: self.seen.map(|seen| seen.elapsed().as_secs_f64()),
            took_seconds: self.took,
            works: self.works(credit),
        }
    }
}

/// Sends probes, notes what came, and reads what is known, on a connection of its own.
pub(crate) struct Prober {
    pub config: Arc<RelayConfig>,
    pub probes: Arc<Probes>,
    pub state: Arc<State>,
}

impl Prober {
    /// Runs until `shutdown`, where there is anything to probe.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        if !self.probes.ways.is_empty() {
            select! { () = shutdown.cancelled() => {}, () = self.probe_for_ever() => {} }
        }
    }

    async fn probe_for_ever(&self) {
        let mut connection = None;
        loop {
            let looked = self.look(&mut connection).await;
            if let Err(error) = &looked {
                debug!(%error, "no probes this time");
                connection = None;
            }
            self.probes.lock().trouble = looked.err().map(|error| error.to_string());
            let rest = self.config.probe_interval / 5;
            let all_work = self.probes.ways.iter().all(|(_, way)| self.probes.works(*way));
            let rest = if all_work { rest } else { rest.min(IMPATIENCE) };
            select! { () = self.probes.came.notified() => {}, () = sleep(rest) => {} }
        }
    }

    async fn look(&self, connection: &mut Option<PgConnection>) -> Result<(), RelayError> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(session::open(&self.config.database_url, "roomcast relay probes").await?),
        };
        let came = std::mem::take(&mut self.probes.lock().came);
        if !came.is_empty() {
            note(connection, came).await?;
        }
        // A probe that nobody waits for would only tell that nobody did.
        let connected = self.probes.ways.iter().filter(|(source, _)| self.state.is_connected(source));
        let ways: Vec<_> = connected.map(|(_, way)| way.as_str().to_owned()).collect();
        if !ways.is_empty() {
            send(connection, &ways, self.config.probe_interval).await?;
        }
        let known = known(connection).await?;
        for (way, known) in &known {
            if let Some(seen) = known.seen {
                ::metrics::gauge!(metrics::PROBE_AGE, "source" => way.as_str()).set(seen.elapsed().as_secs_f64());
            }
        }
        self.probes.knows(known);
        Ok(())
    }
}

async fn send(connection: &mut PgConnection, ways: &[String], every: Duration) -> Result<(), RelayError> {
    within(sqlx::query!("select send_probes($1, $2)", ways, every.as_secs_f64()).execute(connection)).await?;
    Ok(())
}

/// One that is read again after a crash, or behind a newer one, is no news.
pub(crate) async fn note(connection: &mut PgConnection, came: BTreeMap<Way, OffsetDateTime>) -> Result<(), RelayError> {
    let (ways, sent): (Vec<_>, Vec<_>) =
        came.into_iter().map(|(way, sent_at)| (way.as_str().to_owned(), sent_at)).unzip();
    let noted = sqlx::query!(
        r#"update probes p set seen_at = clock_timestamp(), seen_sent_at = came.sent_at
             from unnest($1::text[], $2::timestamptz[]) as came(source, sent_at)
            where p.source = came.source
              and (p.seen_sent_at is null or p.seen_sent_at < came.sent_at or p.seen_sent_at > clock_timestamp())
           returning p.source, extract(epoch from p.seen_at - p.seen_sent_at)::float8 as "took!""#,
        &ways,
        &sent,
    );
    for noted in within(noted.fetch_all(connection)).await? {
        ::metrics::histogram!(metrics::PROBE_DURATION, "source" => noted.source).record(noted.took);
    }
    Ok(())
}

async fn known(connection: &mut PgConnection) -> Result<BTreeMap<Way, Known>, RelayError> {
    let rows = sqlx::query!(
        r#"select source, sent_at, seen_at, extract(epoch from seen_at - seen_sent_at)::float8 as took,
                  coalesce(sent_at > seen_sent_at, sent_at is not null) as "unanswered!",
                  greatest(extract(epoch from clock_timestamp() - seen_at), 0)::float8 as age
             from probes"#
    );
    let rows = within(rows.fetch_all(connection)).await?.into_iter();
    Ok(rows
        .filter_map(|row| {
            // `greatest` ignores a null: without `seen_at` there is no age.
            let age = row.seen_at.and(row.age).and_then(|age| Duration::try_from_secs_f64(age).ok());
            let seen = age.and_then(|age| Instant::now().checked_sub(age));
            let (sent_at, seen_at, took, unanswered) = (row.sent_at, row.seen_at, row.took, row.unanswered);
            Some((Way::named(&row.source)?, Known { sent_at, seen_at, took, unanswered, seen }))
        })
        .collect())
}

//! The stream of changes from the slot: hands rows to their lanes, and confirms to the server what the ledger says.
//!
//! A server that has nothing to tell says so every now and then. One that does not is gone, whatever the connection looks
//! like: the stream ends at the bound ([`silence`]), and the next one is opened.

use std::{sync::Arc, time::Duration};

use percent_encoding::percent_decode_str;
use pgwire_replication::{FeedbackObserver, Lsn, ReplicationClient, ReplicationConfig, ReplicationEvent};
use protocol::{Mode, Partition, silence};
use sqlx::{ConnectOptions, postgres::PgSslMode};
use time::OffsetDateTime;
use tokio::{
    select,
    sync::{Notify, watch},
    time::{Instant, interval, timeout},
};

use super::{
    Lanes, ORIGIN,
    ledger::{Standing, Ticket},
    pgoutput::{Insert, Relations},
};
use crate::{
    RelayError, WalConfig,
    letter_box::Letter,
    metrics,
    probe::{Probe, Probes, Way},
    source::{
        Row,
        debezium::{self, Announcement, MESSAGE_PREFIX, Reading, Unreadable},
        lane::{Content, Entry, LogRow},
        session,
    },
};

/// The table whose rows are ours; a publication may have others.
const TABLE: &str = "chat_cdc";

/// Where dead letters of logical messages come from: they have no row, so their id is their place in the log.
const MESSAGE_ORIGIN: &str = "wal:message";

/// Between 1970, from which we count, and 2000, from which PostgreSQL does.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

pub(super) struct Stream {
    client: ReplicationClient,
    standing: watch::Receiver<Standing>,
    /// Rings when the server was told a new position.
    told: Arc<Notify>,
    relations: Relations,
    transaction: Option<Transaction>,
    messages: bool,
    probes: Arc<Probes>,
    /// When anything came last, be it a keepalive.
    heard: Instant,
    /// When the last change came.
    carried: Instant,
}

#[derive(Clone, Copy)]
struct Transaction {
    ticket: Ticket,
    committed_at: OffsetDateTime,
}

/// How to reach the slot, without what a stream adds.
#[derive(Clone)]
pub(super) struct Address {
    replication: ReplicationConfig,
    messages: bool,
}

/// Reads the database's address. The password may also come from where PostgreSQL's own tools take it.
pub(super) fn address(database_url: &str, config: &WalConfig) -> Result<Address, RelayError> {
    let options = session::options(database_url, "")?;
    if !matches!(options.get_ssl_mode(), PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer) {
        return Err(RelayError::Setting("the wal source has no TLS: give it an address with sslmode=disable"));
    }
    let url = options.to_url_lossy();
    let password = percent_decode_str(url.password().unwrap_or_default()).decode_utf8_lossy().into_owned();
    let host = options.get_socket().map_or(options.get_host().to_owned(), |path| path.display().to_string());
    let user = options.get_username();
    let database = options.get_database().unwrap_or(user);
    let replication = ReplicationConfig::new(host, user, password, database, &config.slot, config.publication.as_str())
        .with_port(options.get_port())
        .with_status_interval(config.status_interval)
        .with_wakeup_interval(silence::bound())
        .with_options(session_of_the_server())
        .with_application_name("roomcast relay wal");
    Ok(Address { replication, messages: config.messages })
}

/// The server asks an idle client for a word at half of its own time-out, so it says something itself four times within the
/// bound. And it lets go of the slot of a client that is gone before the next one comes for it.
fn session_of_the_server() -> String {
    let server = [("wal_sender_timeout", silence::half().as_millis().to_string())];
    let settings = server.into_iter().chain(silence::of_server(silence::bound()));
    settings.map(|(name, value)| format!("-c {name}={value}")).collect::<Vec<_>>().join(" ")
}

impl Stream {
    /// Takes the slot. It is ours when this returns.
    pub(super) async fn start(address: Address, lanes: &Lanes, probes: Arc<Probes>) -> Result<Self, RelayError> {
        let told = Arc::new(Notify::new());
        let observer = FeedbackObserver::new({
            let told = Arc::clone(&told);
            move |_| told.notify_one()
        });
        let config = address.replication.with_feedback_observer(observer);
        let mut client = ReplicationClient::connect(config).await?;
        let Ok(started) = timeout(silence::bound(), client.wait_started()).await else {
            client.abort();
            return Err(RelayError::LogSilent(silence::bound()));
        };
        started?;
        let standing = lanes.ledger.watch();
        let now = Instant::now();
        Ok(Self {
            client,
            standing,
            told,
            relations: Relations::default(),
            transaction: None,
            messages: address.messages,
            probes,
            heard: now,
            carried: now,
        })
    }

    /// Reads until the stream breaks, or is silent.
    pub(super) async fn run(&mut self, lanes: &Lanes) -> Result<(), RelayError> {
        let mut ticks = interval(silence::bound() / 8);
        loop {
            // All are cancel-safe.
            select! {
                biased;
                _ = self.standing.changed() => self.confirm(),
                event = self.client.recv() => {
                    let event = event?.ok_or(RelayError::StreamEnded)?;
                    let is_change = !matches!(event, ReplicationEvent::KeepAlive { .. });
                    self.take(event, lanes).await?;
                    // Afterwards: while a lane is full we do not listen, and nobody is to blame for what we do not hear.
                    self.heard = Instant::now();
                    self.carried = if is_change { self.heard } else { self.carried };
                }
                _ = ticks.tick() => self.bear(silence::bound()).inspect_err(|_| self.client.abort())?,
            }
        }
    }

    /// Whether what has not been heard can still be borne. Changes that come without the probes among them are a backlog.
    fn bear(&self, bound: Duration) -> Result<(), RelayError> {
        let probed = self.ways().all(|way| self.probes.unanswered(way).is_none_or(|waited| waited < bound));
        match () {
            () if self.heard.elapsed() >= bound => Err(RelayError::LogSilent(bound)),
            () if self.carried.elapsed() >= bound && !probed => Err(RelayError::LogIdle(bound)),
            () => Ok(()),
        }
    }

    fn ways(&self) -> impl Iterator<Item = Way> {
        [Some(Way::Wal), self.messages.then_some(Way::Message)].into_iter().flatten()
    }

    /// Tells the server the last position, so that a relay which stops in order repeats nothing, and lets the slot go.
    pub(super) async fn farewell(&mut self, lanes: &Lanes) {
        self.end_transaction(lanes).await;
        self.confirm();
        let settled = self.standing.borrow().settled;
        let metrics = self.client.metrics();
        while self.client.is_running() && metrics.last_applied_lsn() < settled {
            self.told.notified().await;
        }
        let _ = self.client.shutdown().await;
    }

    /// What was carried of a transaction is only confirmed with its end, which may still be on its way.
    async fn end_transaction(&mut self, lanes: &Lanes) {
        while let Some(transaction) = self.transaction.take() {
            match self.client.recv().await {
                Ok(Some(ReplicationEvent::Commit { end_lsn, .. })) => lanes.ledger.close(transaction.ticket, end_lsn),
                Ok(Some(event)) if !self.has_work(&event) => self.transaction = Some(transaction),
                // It has more rows, which nobody carries now: all of it comes again.
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn has_work(&mut self, event: &ReplicationEvent) -> bool {
        match event {
            ReplicationEvent::XLogData { data, .. } => match self.relations.read(data) {
                Ok(Some(insert)) => content_of(&insert, OffsetDateTime::UNIX_EPOCH, &self.probes).is_some(),
                Ok(None) => false,
                Err(_) => true,
            },
            ReplicationEvent::Message { prefix, .. } => self.messages && prefix.starts_with(MESSAGE_PREFIX),
            _ => false,
        }
    }

    fn confirm(&mut self) {
        let settled = self.standing.borrow_and_update().settled;
        self.client.update_applied_lsn(settled);
    }

    async fn take(&mut self, event: ReplicationEvent, lanes: &Lanes) -> Result<(), RelayError> {
        match event {
            ReplicationEvent::Begin { commit_time_micros, .. } => {
                let committed_at = at(commit_time_micros);
                self.transaction = Some(Transaction { ticket: lanes.ledger.open(), committed_at });
            }
            ReplicationEvent::XLogData { data, .. } => {
                let (Some(transaction), Some(insert)) = (self.transaction, self.relations.read(&data)?) else {
                    return Ok(());
                };
                if let Some(content) = content_of(&insert, transaction.committed_at, &self.probes) {
                    self.hand_over(content, transaction.ticket, lanes).await?;
                }
            }
            ReplicationEvent::Message { lsn, prefix, content, .. } if self.messages => {
                self.take_message(lsn, &prefix, &content, lanes).await?;
            }
            ReplicationEvent::Commit { end_lsn, .. } => {
                if let Some(transaction) = self.transaction.take() {
                    lanes.ledger.close(transaction.ticket, end_lsn);
                }
            }
            // In the middle of a transaction the position of a keepalive says nothing.
            ReplicationEvent::KeepAlive { wal_end, .. } if self.transaction.is_none() => lanes.ledger.pass(wal_end),
            ReplicationEvent::KeepAlive { .. }
            | ReplicationEvent::Message { .. }
            | ReplicationEvent::StoppedAt { .. } => {}
        }
        Ok(())
    }

    /// A message outside of any transaction stands for one of its own.
    async fn take_message(&mut self, lsn: Lsn, prefix: &str, content: &[u8], lanes: &Lanes) -> Result<(), RelayError> {
        if !prefix.starts_with(MESSAGE_PREFIX) {
            return Ok(());
        }
        let committed_at =
            self.transaction.map_or_else(OffsetDateTime::now_utc, |transaction| transaction.committed_at);
        let content = content_of_message(lsn, content, committed_at, &self.probes);
        let alone = self.transaction.is_none();
        let ticket = self.transaction.map_or_else(|| lanes.ledger.open(), |transaction| transaction.ticket);
        self.hand_over(content, ticket, lanes).await?;
        if alone {
            lanes.ledger.close(ticket, Lsn(lsn.0 + 1));
        }
        Ok(())
    }

    /// A full lane means that its destination is behind: the log waits. What other lanes settle is confirmed meanwhile.
    async fn hand_over(&mut self, content: Content, ticket: Ticket, lanes: &Lanes) -> Result<(), RelayError> {
        let partition = match &content {
            Content::Row(row) => row.row.partition,
            Content::Poison(letter) => letter.partition,
            Content::Nothing => return Ok(()),
        };
        lanes.ledger.row(ticket);
        let queue = lanes.queue(partition);
        loop {
            select! {
                permit = queue.reserve() => {
                    permit.map_err(|_| RelayError::StreamEnded)?.send(Entry { content, mark: ticket });
                    return Ok(());
                }
                _ = self.standing.changed() => self.confirm(),
            }
        }
    }
}

/// What an inserted row asks for; nothing if another source carries it, or if it is a probe.
fn content_of(insert: &Insert<'_>, committed_at: OffsetDateTime, probes: &Probes) -> Option<Content> {
    if insert.relation != TABLE {
        return None;
    }
    match insert.get("mode").map(str::parse::<Mode>).transpose() {
        Ok(None | Some(Mode::Wal)) => {
            if let Some(probe) = probe_of(insert) {
                probe.map(|probe| probes.came(probe)).ok(); // one that cannot be read is missed, which is seen
                return None;
            }
            ::metrics::counter!(metrics::WAL_ROWS, "fate" => "carried").increment(1);
            Some(row_of(insert, committed_at))
        }
        Ok(Some(_)) => {
            ::metrics::counter!(metrics::WAL_ROWS, "fate" => "passed").increment(1);
            None
        }
        Err(error) => Some(poison_of(insert, committed_at, error.to_string())),
    }
}

fn probe_of(insert: &Insert<'_>) -> Option<Result<Probe, serde_json::Error>> {
    Probe::of(insert.get("method")?, insert.get("payload").unwrap_or_default())
}

fn row_of(insert: &Insert<'_>, committed_at: OffsetDateTime) -> Content {
    let id = insert.get("id").and_then(|id| id.parse().ok());
    let (Some(id), Some(method), Some(payload)) = (id, insert.get("method"), insert.get("payload")) else {
        let reason = "the row has not all of the columns id, method and payload".to_owned();
        return poison_of(insert, committed_at, reason);
    };
    let partition = Partition(insert.get("partition").and_then(|partition| partition.parse().ok()).unwrap_or(0));
    Content::Row(LogRow {
        row: Row { id, partition, method: method.to_owned(), payload: payload.to_owned() },
        origin: ORIGIN.into(),
        created_at: committed_at,
    })
}

fn poison_of(insert: &Insert<'_>, committed_at: OffsetDateTime, reason: String) -> Content {
    let number = |column| insert.get(column).and_then(|text| text.parse::<i64>().ok());
    let text = |column| insert.get(column).unwrap_or_default().to_owned();
    Content::Poison(Letter {
        source: ORIGIN.to_owned(),
        source_id: number("id").unwrap_or(0),
        method: text("method"),
        payload: text("payload"),
        partition: Partition(number("partition").and_then(|number| number.try_into().ok()).unwrap_or(0)),
        reason,
        attempts: 0,
        created_at: committed_at,
    })
}

fn content_of_message(lsn: Lsn, content: &[u8], committed_at: OffsetDateTime, probes: &Probes) -> Content {
    let id = i64::try_from(lsn.0).unwrap_or(i64::MAX);
    let reason = match debezium::read(Some(content)) {
        Ok(Reading::Row(Announcement { method, payload, partition, .. })) => {
            let row = Row { id, partition, method, payload };
            return Content::Row(LogRow { row, origin: MESSAGE_ORIGIN.into(), created_at: committed_at });
        }
        Ok(Reading::Probe(probe)) => {
            probes.came(probe);
            return Content::Nothing;
        }
        Ok(Reading::Ignored(_)) => Unreadable::Missing("method").to_string(),
        Err(error) => error.to_string(),
    };
    Content::Poison(Letter {
        source: MESSAGE_ORIGIN.to_owned(),
        source_id: id,
        method: String::new(),
        payload: String::from_utf8_lossy(content).into_owned(),
        partition: Partition(0),
        reason,
        attempts: 0,
        created_at: committed_at,
    })
}

fn at(postgres_micros: i64) -> OffsetDateTime {
    let nanos = i128::from(postgres_micros.saturating_add(POSTGRES_EPOCH_MICROS)) * 1000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

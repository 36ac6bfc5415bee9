//! The write-ahead log: reads the rows of `chat_cdc` from a replication slot as they are committed, with no table to poll
//! and nothing between PostgreSQL and us.
//!
//! - One relay reads at a time, because a slot has one reader. The others stand by and try again: whoever gets the slot
//!   leads.
//! - Exactly the committed rows come, in commit order. Each partition has a lane of its own, so that one which must wait
//!   holds no other.
//! - What is confirmed to the server is what the destination has taken, or `dead_letters` hold. After a crash of either
//!   side the rest comes again. An idle relay confirms as well, so that a busy database keeps no log for it.
//! - A slot that is gone is made anew. `draft` first carries what `chat_cdc` still holds, so nothing is lost that the
//!   cleaner had not pruned; what it had, the hub heals from the backlog. That it happened is an error in the log and a
//!   counter: it means that somebody dropped the slot, or that `max_slot_wal_keep_size` is too small for the outages here.

mod draft;
mod ledger;
mod pgoutput;
mod slot;
mod stream;

use std::sync::Arc;

use pgwire_replication::PgWireError;
use protocol::PARTITIONS;
use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio::{
    select,
    sync::mpsc,
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use self::{
    ledger::{Ledger, Ticket},
    slot::{Kept, Slot},
    stream::Stream,
};
use super::{
    lane::{Acknowledge, Carrier, Entry, Lane},
    session,
};
use crate::{
    RelayError, WalConfig, metrics,
    retry::{Decision, decide},
    status::{Phase, SourceLag},
};

pub use pgoutput::Malformed;

/// Where dead letters say that they come from.
const ORIGIN: &str = "wal";

/// The name of the task that reads, beside those of the lanes.
pub(crate) const READER: &str = "reader";

/// How often the slot is looked at while it is read.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

pub(crate) struct WalSource {
    pub config: WalConfig,
    pub carrier: Carrier,
    pub shutdown: CancellationToken,
}

/// The lanes of one session and what they have in common.
struct Lanes {
    queues: Vec<mpsc::Sender<Entry<Ticket>>>,
    ledger: Arc<Ledger>,
}

/// Tells the ledger what a lane has settled.
struct Settle(Arc<Ledger>);

impl Acknowledge for Settle {
    type Mark = Ticket;

    fn settled(&mut self, marks: &[Ticket], _: Option<Ticket>) {
        self.0.settle(marks);
    }
}

impl WalSource {
    /// Runs until the shutdown, or until an error that only a person can help with.
    pub(crate) async fn run(self) -> Result<(), RelayError> {
        let span = info_span!("relay.wal", wal.slot = self.config.slot);
        self.sessions().instrument(span).await
    }

    async fn sessions(self) -> Result<(), RelayError> {
        let backoff = self.carrier.backoff();
        let (mut failures, mut carried) = (0, false);
        while !self.shutdown.is_cancelled() {
            let ended = self.session(&mut failures, &mut carried).await;
            self.carrier.state.is_at(READER, Phase::Connecting);
            let Err(error) = ended else { break };
            self.carrier.state.suffers(READER, error.to_string());
            if decide(&error) == Decision::Stop {
                return Err(error);
            }
            ::metrics::counter!(metrics::RECONNECTS, "source" => ORIGIN).increment(1);
            failures += 1;
            let pause = backoff.pause(failures);
            warn!(%error, failures, "lost the write-ahead log; trying again in {pause:?}");
            select! { () = self.shutdown.cancelled() => {}, () = sleep(pause) => {} }
        }
        Ok(())
    }

    /// Takes the slot as soon as it is free, and reads until the shutdown or the session's end.
    async fn session(&self, failures: &mut u32, carried: &mut bool) -> Result<(), RelayError> {
        let (mut lane_tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let lanes = self.lanes(&mut lane_tasks, &stop);
        let taken = select! {
            () = self.shutdown.cancelled() => return Ok(()),
            taken = self.take_slot(&lanes, *carried) => taken?,
            Some(ended) = lane_tasks.join_next() => return Err(crashed(ended)),
        };
        let (connection, mut stream) = taken;
        (*failures, *carried) = (0, true);
        self.carrier.state.is_at(READER, Phase::Carrying);
        self.carrier.state.progressed(READER);
        info!("reading the write-ahead log");

        select! {
            () = self.shutdown.cancelled() => {}
            ended = stream.run(&lanes) => return ended,
            ended = self.watch(connection) => return ended,
            Some(ended) = lane_tasks.join_next() => return Err(crashed(ended)),
        }
        stop.cancel();
        while lane_tasks.join_next().await.is_some() {}
        let _ = timeout(self.carrier.config.stop_timeout, stream.farewell(&lanes)).await;
        Ok(())
    }

    /// Stands by until the slot is ours. Makes it where there is none.
    async fn take_slot(&self, lanes: &Lanes, carried: bool) -> Result<(PgConnection, Stream), RelayError> {
        let url = &self.carrier.config.database_url;
        let address = stream::address(url, &self.config)?;
        let mut connection = session::open(url, "roomcast relay wal").await?;
        session::check_schema(&mut connection).await?;
        slot::check(&mut connection, &self.config).await?;
        let mut waited_for = None;
        loop {
            match slot::look(&mut connection, &self.config.slot).await? {
                Slot::Missing => self.make_slot(&mut connection, lanes, carried).await?,
                Slot::Lost => {
                    error!("the server gave the slot up: its log is removed (see max_slot_wal_keep_size)");
                    slot::drop_slot(&mut connection, &self.config.slot).await?;
                    self.make_slot(&mut connection, lanes, true).await?;
                }
                Slot::Free(_) => match self.open(address.clone(), lanes).await {
                    Err(RelayError::Replication(error)) if is_held(&error) => {}
                    started => return Ok((connection, started?)),
                },
                Slot::Held(_, pid) => {
                    if waited_for.replace(pid) != Some(pid) {
                        self.stand_by(pid);
                    }
                }
            }
            sleep(self.config.standby_interval).await;
        }
    }

    /// Another relay reads, or the server does not know yet that its reader is gone.
    fn stand_by(&self, pid: i32) {
        info!(pid, "the slot is still active for pid {pid} of the server; waiting until it is free");
        self.carrier.state.is_at(READER, Phase::StandingBy);
        self.carrier.state.recovered(READER);
    }

    async fn open(&self, address: stream::Address, lanes: &Lanes) -> Result<Stream, RelayError> {
        Stream::start(address, lanes, Arc::clone(&self.carrier.probes)).await
    }

    async fn make_slot(&self, connection: &mut PgConnection, lanes: &Lanes, lost: bool) -> Result<(), RelayError> {
        let limit = self.carrier.config.batch_size;
        let Some(rows) = draft::make_slot(connection, &self.config.slot, lanes, limit).await? else {
            return Ok(()); // somebody else was faster
        };
        if lost {
            ::metrics::counter!(metrics::WAL_SLOTS_LOST).increment(1);
            let notice = format!(
                "the replication slot was gone and is made anew; {rows} rows that chat_cdc still held were carried from \
                 there, and what had been pruned already reaches people from the hub's backlog"
            );
            error!(rows, "{notice}");
            self.carrier.state.note(format!("{}: {notice}", OffsetDateTime::now_utc()));
        } else {
            info!(rows, "made the replication slot and carried {rows} rows that chat_cdc held before");
        }
        Ok(())
    }

    /// Tells how much log the server keeps. Ends when the slot is no longer read, which the stream may not notice when
    /// the way to the server is cut without a word.
    async fn watch(&self, mut connection: PgConnection) -> Result<(), RelayError> {
        let mut ticks = interval(LOOK);
        loop {
            ticks.tick().await;
            match slot::look(&mut connection, &self.config.slot).await? {
                Slot::Held(kept, _) => self.tell(kept),
                Slot::Missing | Slot::Lost | Slot::Free(_) => return Err(RelayError::StreamEnded),
            }
        }
    }

    fn tell(&self, Kept { retained, unconfirmed }: Kept) {
        let lag = SourceLag { bytes: Some(unconfirmed), retained_bytes: Some(retained), ..SourceLag::default() };
        self.carrier.state.lags(READER, lag);
    }

    fn lanes(&self, tasks: &mut JoinSet<()>, stop: &CancellationToken) -> Lanes {
        let ledger = Arc::new(Ledger::new());
        let mut queues = Vec::new();
        for partition in 0..PARTITIONS {
            let (sender, queue) = mpsc::channel(self.config.queue_rows);
            queues.push(sender);
            let lane = Lane {
                name: format!("wal/{partition}"),
                queue,
                acknowledge: Settle(Arc::clone(&ledger)),
                carrier: self.carrier.clone(),
                stop: stop.clone(),
            };
            tasks.spawn(lane.run().in_current_span());
        }
        Lanes { queues, ledger }
    }
}

/// A lane only ends before the stop when it panics.
fn crashed(ended: Result<(), tokio::task::JoinError>) -> RelayError {
    RelayError::Panicked(ended.map_or_else(|error| error.to_string(), |()| "a lane ended by itself".to_owned()))
}

/// `object_in_use`: somebody else was faster.
fn is_held(error: &PgWireError) -> bool {
    matches!(error, PgWireError::Server(message) if message.contains("SQLSTATE 55006"))
}

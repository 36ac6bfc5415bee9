//! One loop that carries rows: claims from its partitions, delivers, deletes what arrived, waits for more.
//!
//! Two round trips a batch, and after a wake-up one until the destination has the row. Everything about the session
//! (its locks, its partitions, what is held) dies with it; the loop around it opens the next.

use std::{pin::pin, sync::Arc};

use protocol::Partition;
use sqlx::{Connection, PgConnection};
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::{
    RelayConfig, RelayError, Wakeup,
    dispatch::{Dispatch, Outcome},
    holds::Holds,
    metrics,
    retry::{Backoff, Decision, decide},
    source::{
        Row,
        floor::{self, Claim, Floors, Ground, Server},
        outbox::{self, Letters},
        partitions::Partitions,
        session,
    },
    status::State,
};

pub(crate) struct Worker {
    pub index: usize,
    pub config: Arc<RelayConfig>,
    pub dispatch: Dispatch,
    pub wakeup: Wakeup,
    pub state: Arc<State>,
    pub ground: Arc<Ground>,
    pub paused: watch::Receiver<bool>,
    pub shutdown: CancellationToken,
}

/// What belongs to one database session.
struct Session {
    connection: PgConnection,
    partitions: Partitions,
    floors: Floors,
    holds: Holds,
}

impl Worker {
    /// Runs until the shutdown, or until an error that only a person can help with.
    pub(crate) async fn run(mut self) -> Result<(), RelayError> {
        let span = info_span!("relay.worker", worker.index = self.index);
        self.sessions().instrument(span).await
    }

    async fn sessions(&mut self) -> Result<(), RelayError> {
        let backoff = self.backoff();
        let mut failures = 0;
        while !self.shutdown.is_cancelled() {
            let ended = self.session(&mut failures).await;
            self.state.left(self.index);
            let Err(error) = ended else { break };
            self.state.suffers_from(self.index, &error);
            if decide(&error) == Decision::Stop {
                return Err(error);
            }
            ::metrics::counter!(metrics::RECONNECTS, "source" => "outbox").increment(1);
            failures += 1;
            let pause = backoff.pause(failures);
            self.state.lost_session(&error);
            select! { () = self.shutdown.cancelled() => {}, () = sleep(pause) => {} }
        }
        Ok(())
    }

    /// Carries on one session until the shutdown or the session's end.
    async fn session(&mut self, failures: &mut u32) -> Result<(), RelayError> {
        let shutdown = self.shutdown.clone();
        let opened = select! { () = shutdown.cancelled() => return Ok(()), opened = self.open() => opened? };
        *failures = 0;
        self.state.joined(self.index);
        match self.carry(opened).await? {
            Some(session) => close(session.connection).await,
            None => Ok(()), // in the middle of a statement: only dropping the connection is safe
        }
    }

    async fn open(&self) -> Result<Session, RelayError> {
        let mut connection = session::open_to_hold(&self.config.database_url, "roomcast relay").await?;
        session::check_schema(&mut connection).await?;
        let floors = Floors::new(Arc::clone(&self.ground), Server::of(&mut connection).await?);
        let partitions = Partitions::join(&mut connection, &self.config).await?;
        Ok(Session { connection, partitions, floors, holds: Holds::new(self.backoff()) })
    }

    /// The steady loop. Gives the session back at the shutdown, unless that had to leave a batch in flight.
    async fn carry(&mut self, mut session: Session) -> Result<Option<Session>, RelayError> {
        let bell = self.wakeup.bell();
        loop {
            if self.shutdown.is_cancelled() {
                return Ok(Some(session));
            }
            if session.partitions.next_look() <= Instant::now() && session.rebalance().await? {
                bell.assign(session.partitions.owned());
                self.took(session.partitions.owned());
            }
            // Armed before the look: a row committed from here on is either seen by the claim or rings.
            let mut rings = pin!(bell.rings());
            rings.as_mut().enable();

            let now = Instant::now();
            if !*self.paused.borrow_and_update() {
                match self.batch(&mut session, now).await? {
                    Next::Again => continue,
                    Next::Wait => {}
                    Next::Abandon => return Ok(None),
                }
            }
            select! {
                () = self.shutdown.cancelled() => {}
                () = rings => {}
                _ = self.paused.changed() => {}
                () = sleep_until(session.next_look(now + self.config.poll_interval)) => {}
            }
        }
    }

    /// Claims a batch and carries it to its end, through a shutdown too, but not through a hanging one.
    async fn batch(&self, session: &mut Session, now: Instant) -> Result<Next, RelayError> {
        let claimable = session.claimable(now);
        if claimable.is_empty() {
            return Ok(Next::Wait);
        }
        let closed = session.floors.closed();
        let floors = session.floors.of(&claimable);
        let batch = outbox::claim(&mut session.connection, &claimable, &floors, self.config.batch_size).await?;
        ::metrics::histogram!(metrics::CLAIM_DURATION).record(now.elapsed());
        let claim = Claim { partitions: &claimable, closed, batch: &batch };
        let Some(last) = batch.rows.last() else {
            session.floors.advance(&claim, [].iter());
            self.state.progressed(self.index);
            return Ok(Next::Wait);
        };
        if batch.full {
            session.partitions.served(last.partition);
        }
        select! {
            settled = self.settle(session, &claim) => settled?,
            () = self.stop_timeout() => {
                warn!(rows = batch.rows.len(), "stopping in the middle of a batch: its rows will come again");
                return Ok(Next::Abandon);
            }
        }
        Ok(if batch.full { Next::Again } else { Next::Wait })
    }

    /// Delivers, then lets go of what is settled, then remembers what has to wait.
    async fn settle(&self, session: &mut Session, claim: &Claim<'_>) -> Result<(), RelayError> {
        let rows = &claim.batch.rows;
        ::metrics::histogram!(metrics::BATCH_ROWS, "source" => "outbox")
            .record(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        let begun = Instant::now();
        let outcome = self.dispatch.deliver(rows).await;
        ::metrics::histogram!(metrics::DELIVER_DURATION, "source" => "outbox").record(begun.elapsed());

        self.delete(session, rows, &outcome).await?;
        self.bury(session, rows, &outcome).await?;
        session.floors.advance(claim, outcome.left(rows));
        session.hold(rows, &outcome);

        if let Some((_, reason)) = outcome.held.first() {
            ::metrics::counter!(metrics::RETRIED, "source" => "outbox").increment(count(outcome.retried));
            self.state.suffers(self.index, reason.clone());
        } else {
            self.state.progressed(self.index);
        }
        debug!(rows = rows.len(), delivered = outcome.delivered.len(), "carried {} rows", outcome.delivered.len());
        Ok(())
    }

    async fn delete(&self, session: &mut Session, rows: &[Row], outcome: &Outcome) -> Result<(), RelayError> {
        if outcome.delivered.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let (partitions, ids): (Vec<i16>, Vec<i64>) =
            outcome.delivered.iter().map(|index| (rows[*index].partition.0, rows[*index].id)).unzip();
        outbox::delete(&mut session.connection, &partitions, &ids).await?;
        ::metrics::histogram!(metrics::ACK_DURATION).record(begun.elapsed());
        ::metrics::counter!(metrics::DELIVERED, "source" => "outbox").increment(count(ids.len()));
        self.state.deleted(ids.len());
        Ok(())
    }

    async fn bury(&self, session: &mut Session, rows: &[Row], outcome: &Outcome) -> Result<(), RelayError> {
        if outcome.dead.is_empty() {
            return Ok(());
        }
        let mut letters = Letters::default();
        for (index, reason) in &outcome.dead {
            let Row { id, partition, .. } = &rows[*index];
            let attempts = session.holds.failures(*partition).saturating_add(1);
            letters.push(*partition, *id, reason, attempts);
        }
        let buried = outbox::bury(&mut session.connection, &letters).await?;
        if let Some((index, reason)) = outcome.dead.first() {
            self.state.letters.tell(buried, "outbox", rows[*index].id, reason);
        }
        ::metrics::counter!(metrics::DEAD_LETTERED, "source" => "outbox").increment(buried);
        Ok(())
    }

    fn took(&self, owned: &[Partition]) {
        let numbers: Vec<i16> = owned.iter().map(|partition| partition.0).collect();
        info!(partitions = ?numbers, "carrying {} partitions", owned.len());
        self.state.owns(self.index, owned);
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(self.config.first_backoff, self.config.longest_backoff)
    }

    async fn stop_timeout(&self) {
        self.shutdown.cancelled().await;
        sleep(self.config.stop_timeout).await;
    }
}

/// What follows a batch.
enum Next {
    /// It was full: look again at once.
    Again,
    /// Nothing more was there.
    Wait,
    /// The shutdown did not wait for it.
    Abandon,
}

impl Session {
    async fn rebalance(&mut self) -> Result<bool, RelayError> {
        let changed = self.partitions.rebalance(&mut self.connection).await?;
        if changed {
            let owned: Vec<i16> = self.partitions.owned().iter().map(|partition| partition.0).collect();
            let kept = floor::kept(&mut self.connection, &owned).await?;
            self.floors.retain(self.partitions.owned(), &kept);
        }
        self.holds.retain(self.partitions.owned());
        Ok(changed)
    }

    /// Our partitions in the order to serve them, without those that have to wait.
    fn claimable(&self, now: Instant) -> Vec<i16> {
        let claimable = self.partitions.in_turn().filter(|partition| !self.holds.is_held(*partition, now));
        claimable.map(|partition| partition.0).collect()
    }

    /// Remembers which partitions wait. One that got on, if only by a row, starts again with the shortest pause.
    fn hold(&mut self, rows: &[Row], outcome: &Outcome) {
        let settled = outcome.delivered.iter().chain(outcome.dead.iter().map(|(index, _)| index));
        for index in settled {
            self.holds.release(rows[*index].partition);
        }
        let now = Instant::now();
        if outcome.unreachable {
            self.holds.hold_destination(now);
            return;
        }
        self.holds.release_destination();
        for (partition, _) in &outcome.held {
            self.holds.hold(*partition, now);
        }
    }

    /// When to look again if nothing rings: at the poll, the end of a pause or the next rebalancing.
    fn next_look(&self, poll: Instant) -> Instant {
        let pause = self.holds.next_end(Instant::now());
        pause.into_iter().chain([poll, self.partitions.next_look()]).min().unwrap_or(poll)
    }
}

async fn close(mut connection: PgConnection) -> Result<(), RelayError> {
    Partitions::leave(&mut connection).await?;
    session::within(connection.close()).await
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

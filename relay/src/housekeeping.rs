//! What is done once a second beside the carrying, on a connection of its own so that no row waits for it: measures
//! the lag of our partitions of the outbox and what grows, looks at the slots, puts rows of no known partition aside, says
//! what is carried here, and prunes what logs have carried.

use std::{sync::Arc, time::Duration};

use protocol::{PARTITIONS, Partition};
use sqlx::PgConnection;
use tokio::{
    select,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    RelayConfig, RelayError, carriers,
    cleaner::{self, Pruned},
    growth::Growth,
    metrics,
    slots::{Look, Slots},
    snapshots::Snapshots,
    source::{
        floor::Ground,
        outbox::{self, Lag, Letters},
        session,
    },
    status::State,
};

const INTERVAL: Duration = Duration::from_secs(1);

/// Rows counted per partition at most.
const COUNTED: i64 = 10_000;

/// A large backlog takes longer to count: housekeeping rests this many times as long as it worked.
const REST: u32 = 20;

/// But not longer than this, so that the lag shown is never old.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Strays put aside in one statement.
const STRAYS: u16 = 1000;

/// How often we say what we carry. Others believe it for three times as long.
const TELL: Duration = Duration::from_secs(5);

/// Batches pruned in one look at most, so that a large table is pruned slowly rather than felt.
const PRUNES: usize = 5;

/// A snapshot that is held for longer leaves enough dead rows to be felt.
const LONG: Duration = Duration::from_mins(1);

/// How long a stop may take to say that nothing is carried here any more. Who says nothing is forgotten, too.
const FAREWELL: Duration = Duration::from_secs(1);

pub(crate) struct Housekeeping {
    config: Arc<RelayConfig>,
    state: Arc<State>,
    ground: Arc<Ground>,
    /// Our name in `carriers`.
    instance: String,
    slots: Slots,
    snapshots: Snapshots,
    growth: Growth,
    /// The last id of `chat_cdc` that was pruned, where dead rows are kept from being removed.
    pruned: i64,
    told: Vec<String>,
    next_tell: Instant,
}

impl Housekeeping {
    pub(crate) fn new(config: Arc<RelayConfig>, state: Arc<State>, ground: Arc<Ground>) -> Self {
        let instance = format!("{:016x}", rand::random::<u64>());
        let slots = Slots::new(&config);
        Self {
            config,
            state,
            ground,
            instance,
            slots,
            snapshots: Snapshots::default(),
            growth: Growth::new(),
            pruned: 0,
            told: Vec::new(),
            next_tell: Instant::now(),
        }
    }

    /// Runs until `shutdown`. A failure only means that the next look opens another connection.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut connection = None;
        while !shutdown.is_cancelled() {
            let begun = Instant::now();
            let looked = select! {
                () = shutdown.cancelled() => None,
                looked = self.look(&mut connection) => Some(looked),
            };
            match looked {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    debug!(%error, "no housekeeping this time");
                    connection = None;
                }
                // In the middle of a statement: only dropping the connection is safe.
                None => connection = None,
            }
            let rest = (begun.elapsed() * REST).clamp(INTERVAL, LONGEST_REST);
            select! { () = shutdown.cancelled() => {}, () = sleep(rest) => {} }
        }
        let _ = timeout(FAREWELL, self.take_back(connection)).await;
    }

    async fn look(&mut self, connection: &mut Option<PgConnection>) -> Result<(), RelayError> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(self.open().await?),
        };
        self.look_at_outbox(connection).await?;
        let Look { slots, notices } = self.slots.look(connection, self.state.probes()).await?;
        self.state.has_slots(slots);
        self.state.notices("slots", notices);
        self.snapshots.look(connection, &self.state, self.config.snapshot_notice).await?;
        self.tell(connection).await?;
        self.growth.look(connection).await?;
        self.prune(connection).await
    }

    async fn open(&self) -> Result<PgConnection, RelayError> {
        session::open(&self.config.database_url, "roomcast relay housekeeping").await
    }

    /// Says what we carry: when something changed, and again now and then.
    async fn tell(&mut self, connection: &mut PgConnection) -> Result<(), RelayError> {
        let carried = carriers::carried(&self.config, &self.state.status(false));
        if self.next_tell <= Instant::now() || carried != self.told {
            carriers::tell(connection, &self.instance, &carried).await?;
            carriers::forget(connection).await?;
            self.next_tell = Instant::now() + TELL;
            self.told = carried;
        }
        Ok(())
    }

    async fn take_back(&self, connection: Option<PgConnection>) -> Result<(), RelayError> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.open().await?,
        };
        carriers::take_back(&mut connection, &self.instance).await
    }

    async fn prune(&mut self, connection: &mut PgConnection) -> Result<(), RelayError> {
        if let Some(config) = self.config.cleaner {
            // While nobody holds a snapshot, the lowest id is where to begin: nothing is in the way, and nothing is left out.
            if self.state.snapshot_age() < LONG {
                self.pruned = 0;
            }
            for _ in 0..PRUNES {
                let Pruned { upto, more } = cleaner::prune(connection, config, self.pruned).await?;
                self.pruned = upto;
                if !more {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn look_at_outbox(&self, connection: &mut PgConnection) -> Result<(), RelayError> {
        let owned = self.state.owned();
        if owned.is_empty() {
            self.state.lags(Lag::default());
            return Ok(());
        }
        let numbers: Vec<i16> = owned.iter().map(|partition| partition.0).collect();
        let floors = self.ground.floors(&numbers);
        self.state.lags(outbox::lag(connection, &numbers, &floors, COUNTED).await?);
        // One relay is enough for it, and somebody always has the first partition.
        if owned.contains(&Partition(0)) {
            self.bury_strays(connection).await?;
        }
        Ok(())
    }

    async fn bury_strays(&self, connection: &mut PgConnection) -> Result<(), RelayError> {
        loop {
            let strays = outbox::strays(connection, STRAYS).await?;
            let Some((_, first)) = strays.first().copied() else { return Ok(()) };
            let mut letters = Letters::default();
            for (partition, id) in strays {
                let reason = format!("partition {partition} does not exist: there are 0 to {}", PARTITIONS - 1);
                letters.push(Partition(partition), id, &reason, 0);
            }
            let buried = outbox::bury(connection, &letters).await?;
            self.state.letters.tell(buried, "outbox", first, &letters.reasons[0]);
            ::metrics::counter!(metrics::DEAD_LETTERED, "source" => "outbox").increment(buried);
        }
    }
}

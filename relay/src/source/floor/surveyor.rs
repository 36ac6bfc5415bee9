//! Finds out what is closed, on a connection of its own so that no row waits for it; keeps the floors in the database; and
//! looks below them now and then for rows that should not be there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sqlx::PgConnection;
use tokio::{
    select,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Closed, Ground, Server, closing::Closing, store};
use crate::{RelayConfig, RelayError, metrics, source::session, status::State};

/// While rows are written. What a claim walks over is what was deleted in about this time.
const BUSY: Duration = Duration::from_millis(100);

/// While none are.
const IDLE: Duration = Duration::from_millis(500);

/// Floors are kept when one has moved by so many ids: a takeover walks over so many rows at most.
const STRIDE: i64 = 20_000;

/// A look below the floors takes a hundredth of the time.
const REST: u32 = 100;

/// But is not more frequent than this.
const SHORTEST_REST: Duration = Duration::from_secs(5);

/// How long a look below should take: it takes in more ids after a shorter one, fewer after a longer one.
const LOOK: Duration = Duration::from_millis(50);

/// Ids of the first look below.
const IDS: i64 = 50_000;

pub(crate) struct Surveyor {
    config: Arc<RelayConfig>,
    state: Arc<State>,
    ground: Arc<Ground>,
    below: Below,
}

/// A cursor that goes through all ids below the floors, a stretch at a time.
struct Below {
    after: i64,
    ids: i64,
    next_look: Instant,
}

/// What belongs to one database session.
struct Survey {
    connection: PgConnection,
    server: Server,
    closing: Closing,
    /// The last id given, as of the look before.
    last: i64,
    /// The floors that stand in the database by our doing.
    kept: BTreeMap<i16, i64>,
}

impl Surveyor {
    pub(crate) fn new(config: Arc<RelayConfig>, state: Arc<State>, ground: Arc<Ground>) -> Self {
        let below = Below { after: 0, ids: IDS, next_look: Instant::now() + SHORTEST_REST };
        Self { config, state, ground, below }
    }

    /// Runs until `shutdown`. While it cannot work, floors stay where they are.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        select! { () = shutdown.cancelled() => {}, () = self.survey_for_ever() => {} }
    }

    async fn survey_for_ever(&mut self) {
        let mut survey = None;
        loop {
            let rest = match self.look(&mut survey).await {
                Ok(rest) => rest,
                Err(error) => {
                    debug!(%error, "no survey of the outbox this time");
                    survey = None;
                    self.config.longest_backoff
                }
            };
            sleep(rest).await;
        }
    }

    /// Says how long to rest.
    async fn look(&mut self, survey: &mut Option<Survey>) -> Result<Duration, RelayError> {
        let survey = match survey {
            Some(survey) => survey,
            None => survey.insert(Survey::open(&self.config).await?),
        };
        let moved = self.close(survey).await?;
        let owned: Vec<i16> = self.state.owned().iter().map(|partition| partition.0).collect();
        self.keep(survey, &owned).await?;
        if self.below.next_look <= Instant::now() {
            self.look_below(survey, &owned).await?;
        }
        Ok(if moved { BUSY } else { IDLE })
    }

    /// True if ids were given since the last look, or are not closed yet.
    async fn close(&self, survey: &mut Survey) -> Result<bool, RelayError> {
        let begun = Instant::now();
        let sequence = store::sequence(&mut survey.connection).await?;
        if sequence.last < survey.last {
            let (last, before) = (sequence.last, survey.last);
            warn!(last, before, "ids of chat_outbox were reset: claims begin at the lowest again");
            self.reset(survey).await?;
        }
        let moved = sequence.last > survey.last;
        survey.last = sequence.last;
        if sequence.reserved || (!moved && survey.closing.is_done()) {
            return Ok(false);
        }
        let holders = store::holders(&mut survey.connection).await?;
        if let Some((id, begun)) = survey.closing.look(begun, sequence.last, &holders) {
            self.ground.close(Closed { id, server: survey.server.clone(), begun });
        }
        Ok(true)
    }

    async fn keep(&self, survey: &mut Survey, owned: &[i16]) -> Result<(), RelayError> {
        let floors = self.ground.floors(owned);
        let kept = |partition| survey.kept.get(partition).copied().unwrap_or(0);
        if owned.iter().zip(&floors).any(|(partition, floor)| floor - kept(partition) >= STRIDE) {
            store::keep(&mut survey.connection, owned, &floors).await?;
            survey.kept = owned.iter().copied().zip(floors).collect();
        }
        Ok(())
    }

    /// A row below its floor can only come from somebody who gives ids himself. It is carried, if late: all claims begin at
    /// the lowest id again.
    async fn look_below(&mut self, survey: &mut Survey, owned: &[i16]) -> Result<(), RelayError> {
        let begun = Instant::now();
        let floors = self.ground.floors(owned);
        let upto = self.below.after.saturating_add(self.below.ids);
        let found = store::below(&mut survey.connection, owned, &floors, self.below.after, upto).await?;
        if let Some((partition, id)) = found {
            warn!(row.id = id, partition, "row {id} of chat_outbox appeared below the floor of its partition");
            ::metrics::counter!(metrics::OUTBOX_BELOW_FLOOR).increment(1);
            self.reset(survey).await?;
        }
        let highest = floors.into_iter().max().unwrap_or(0);
        self.below.looked(begun.elapsed(), if upto < highest { upto } else { 0 });
        Ok(())
    }

    async fn reset(&self, survey: &mut Survey) -> Result<(), RelayError> {
        store::forget(&mut survey.connection).await?;
        survey.kept.clear();
        survey.closing = Closing::default();
        self.ground.reset();
        Ok(())
    }
}

impl Below {
    fn looked(&mut self, took: Duration, after: i64) {
        self.after = after;
        self.ids = if took < LOOK { self.ids.saturating_mul(2) } else { (self.ids / 2).max(IDS / 100) };
        self.next_look = Instant::now() + (took * REST).max(SHORTEST_REST);
    }
}

impl Survey {
    async fn open(config: &RelayConfig) -> Result<Self, RelayError> {
        let mut connection = session::open(&config.database_url, "roomcast relay survey").await?;
        let server = Server::of(&mut connection).await?;
        Ok(Self { connection, server, closing: Closing::default(), last: 0, kept: BTreeMap::new() })
    }
}

//! A database that refuses: told once, looked after until it takes requests again, and told again then.
//!
//! Requests tell what they met ([`tell`] is their layer). The first of them starts a task that looks every second, on
//! the pool's own connections: one that was opened while the database took no writes may stay so for ever, so what is
//! idle is closed first. The task ends with the outage.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use protocol::{Complaint, Refusal};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, PgPool};
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{ApiError, ApiState, error::refusal_of, metrics};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// An outage that goes on is told so often.
const TELL: Duration = Duration::from_mins(1);

/// How long a look waits for a new connection to say why the pool has none.
const PATIENCE: Duration = Duration::from_millis(500);

/// What there must be room for before a full disk counts as one that is not: about a megabyte, in a table that goes at once.
const ROOM: &str = "create temporary table roomcast_room (number integer) on commit drop;
                    insert into roomcast_room select generate_series(1, 30000)";

/// What the database refuses at present.
#[derive(Clone)]
pub(crate) struct Outages(Arc<Shared>);

struct Shared {
    db: PgPool,
    /// There exactly while a task looks after it.
    present: Mutex<Option<Outage>>,
    /// The database refuses everybody.
    all: Complaint,
    /// It refused one statement: it took too long, or its lock was not given.
    one: Complaint,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

#[derive(Clone, Debug)]
struct Outage {
    refusal: Refusal,
    words: String,
}

/// A refusal that a response is about, for [`tell`].
#[derive(Clone)]
pub(crate) struct Met {
    pub(crate) refusal: Refusal,
    pub(crate) error: Arc<sqlx::Error>,
}

impl Outages {
    pub(crate) fn new(db: PgPool) -> Self {
        Self(Arc::new(Shared {
            db,
            present: Mutex::default(),
            all: Complaint::new(TELL),
            one: Complaint::new(TELL),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }))
    }

    /// Why nobody's writes pass, if that is so.
    pub(crate) fn reason(&self) -> Option<String> {
        let present = self.0.present.lock();
        // A busy database is no reason to send people elsewhere: whether it answers is asked anyway.
        present.as_ref().filter(|outage| outage.refusal != Refusal::Busy).map(|outage| outage.words.clone())
    }

    /// A request met this. Gives what it was: that the pool has no connection may have several causes.
    pub(crate) async fn met(&self, met: &Met) -> Refusal {
        let refusal = self.sort(met).await;
        ::metrics::counter!(metrics::REFUSALS, "code" => refusal.code()).increment(1);
        refusal
    }

    async fn sort(&self, Met { refusal, error }: &Met) -> Refusal {
        if matches!(refusal, Refusal::Slow | Refusal::Locked | Refusal::Clash) {
            if let Some(trouble) = self.0.one.happened() {
                tracing::warn!(%error, code = refusal.code(), "the database gave up on a statement: {error}{trouble}");
            }
            return *refusal;
        }
        let outage = match (&**error, self.present()) {
            (sqlx::Error::PoolTimedOut, Some(present)) => present,
            (sqlx::Error::PoolTimedOut, None) => self.0.diagnose().await,
            _ => Outage { refusal: *refusal, words: error.to_string() },
        };
        self.begins(outage)
    }

    /// Returns when nobody looks any more.
    pub(crate) async fn stop(&self) {
        self.0.stopping.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn present(&self) -> Option<Outage> {
        self.0.present.lock().clone()
    }

    fn begins(&self, outage: Outage) -> Refusal {
        let (refusal, words) = (outage.refusal, outage.words.clone());
        let mut present = self.0.present.lock();
        let trouble = self.0.all.happened();
        if present.replace(outage).is_none() {
            self.0.tasks.spawn(watch(self.clone()));
        }
        drop(present);
        if let Some(trouble) = trouble {
            tracing::warn!(code = refusal.code(), "the database refuses: {words}{trouble}");
        }
        refusal
    }

    /// Ends the outage, unless a request has met it a moment ago.
    fn ends(&self) -> bool {
        let mut present = self.0.present.lock();
        let Some(relief) = self.0.all.over() else { return false };
        *present = None;
        tracing::info!("the database takes requests again, {relief}");
        true
    }
}

async fn watch(outages: Outages) {
    let shared = &outages.0;
    while shared.stopping.run_until_cancelled(sleep(LOOK)).await.is_some() {
        let Some(Outage { refusal, .. }) = outages.present() else { return };
        let Some(looked) = shared.stopping.run_until_cancelled(shared.look(refusal)).await else { return };
        match looked {
            Ok(()) if outages.ends() => return,
            Ok(()) => {}
            Err(outage) => *shared.present.lock() = Some(outage),
        }
    }
}

impl Shared {
    async fn look(&self, refusal: Refusal) -> Result<(), Outage> {
        if refusal != Refusal::Busy {
            while let Some(connection) = self.db.try_acquire() {
                drop(connection.detach());
            }
        }
        match self.check(refusal).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Outage { refusal: Refusal::ReadOnly, words: "its transactions are read-only".to_owned() }),
            Err(sqlx::Error::PoolTimedOut) => Err(self.diagnose().await),
            // Anything else is for the requests to find out.
            Err(error) => match refusal_of(&error) {
                Some(refusal) => Err(Outage { refusal, words: error.to_string() }),
                None => Ok(()),
            },
        }
    }

    /// Whether it takes writes, and has room for them if that was missing.
    async fn check(&self, refusal: Refusal) -> sqlx::Result<bool> {
        let mut conn = self.db.acquire().await?;
        let writable = takes_writes(&mut conn).await?;
        if writable && refusal == Refusal::Full {
            let mut tx = conn.begin().await?;
            tx.execute(ROOM).await?;
            tx.rollback().await?;
        }
        Ok(writable)
    }

    /// Why the pool has no connection: a new one beside it says so.
    async fn diagnose(&self) -> Outage {
        let busy = "every connection of the pool is in use";
        let error = match timeout(PATIENCE, self.db.connect_options().connect()).await {
            Ok(Ok(connection)) => {
                drop(connection);
                return Outage { refusal: Refusal::Busy, words: busy.to_owned() };
            }
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()),
        };
        Outage { refusal: refusal_of(&error).unwrap_or(Refusal::Away), words: error.to_string() }
    }
}

/// Whether this session can write.
pub(crate) async fn takes_writes(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select not current_setting('transaction_read_only')::boolean as "writable!""#)
        .fetch_one(conn)
        .await
}

/// A layer for pages: an outage that one of them met is told and looked after. The page stays as it is.
pub async fn note(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(met) = response.extensions().get::<Met>().cloned() {
        state.outages.met(&met).await;
    }
    response
}

/// The same for the API, whose answer is corrected where the cause is known better.
pub(crate) async fn tell(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let Some(met) = response.extensions().get::<Met>().cloned() else { return response };
    let refusal = state.outages.met(&met).await;
    if refusal == met.refusal { response } else { ApiError::Refused { refusal, source: met.error }.into_response() }
}

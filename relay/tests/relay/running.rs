//! The harness: a database with an outbox, relays on it, and what can be asked of both.

use std::{sync::Arc, time::Duration};

use embedded_postgres::testkit::{self, TestDatabase};
use relay::{Destination, Relay, RelayConfig, RelayError, RelayHandle, RelayStatus, Wakeup};
use sqlx::{PgPool, migrate::Migrator};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// The backend's own: the relay reads what that writes.
pub(crate) static MIGRATOR: Migrator = sqlx::migrate!("../backend/migrations");

const PATIENCE: Duration = Duration::from_mins(1);

/// An hour: what arrives has arrived without the poll.
pub(crate) const NEVER: Duration = Duration::from_hours(1);

pub(crate) async fn database() -> TestDatabase {
    testkit::database(&MIGRATOR).await
}

/// The database's name, as it stands in its address.
pub(crate) async fn name(db: &TestDatabase) -> String {
    sqlx::query_scalar("select current_database()").fetch_one(&db.pool).await.unwrap()
}

/// A relay that runs until it is stopped or killed.
pub(crate) struct Running {
    pub(crate) handle: RelayHandle,
    pub(crate) wakeup: Wakeup,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), RelayError>>,
}

/// Short pauses, so that tests of failures end soon.
pub(crate) fn config(db: &TestDatabase) -> RelayConfig {
    RelayConfig {
        poll_interval: Duration::from_millis(20),
        rebalance_interval: Duration::from_millis(50),
        longest_backoff: Duration::from_millis(50),
        ..RelayConfig::new(&db.url)
    }
}

impl Running {
    /// Starts a relay and waits until it carries all partitions.
    pub(crate) async fn start(config: RelayConfig, destination: Arc<dyn Destination>) -> Self {
        let running = Self::start_beside(config, destination);
        running.until(|status| status.is_ready() && status.partitions.len() == 16).await;
        running
    }

    /// Starts a relay that may have to share.
    pub(crate) fn start_beside(config: RelayConfig, destination: Arc<dyn Destination>) -> Self {
        let wakeup = Wakeup::default();
        let relay = Relay::new(config, destination, wakeup.clone());
        let (handle, shutdown) = (relay.handle(), CancellationToken::new());
        let task = tokio::spawn(relay.run(shutdown.clone()));
        Self { handle, wakeup, shutdown, task }
    }

    /// Until the status is like this.
    pub(crate) async fn until(&self, wanted: impl Fn(&RelayStatus) -> bool) {
        let wait = async {
            while !wanted(&self.handle.status()) {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("still {:?}", self.handle.status()));
    }

    /// Asks it to stop, without waiting.
    pub(crate) fn ask_to_stop(&self) {
        self.shutdown.cancel();
    }

    /// Until it has ended by itself or by [`Running::ask_to_stop`].
    pub(crate) async fn ended(self) -> Result<(), RelayError> {
        timeout(PATIENCE, self.task).await.expect("the relay to end").expect("no panic")
    }

    pub(crate) async fn stop(self) {
        self.ask_to_stop();
        self.ended().await.expect("a clean stop");
    }

    /// As a crash would: nothing is finished, nothing is given back.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Writes a row as the backend does, in a transaction of its own.
pub(crate) async fn write(db: &PgPool, room: i64, version: i64) {
    sqlx::query(
        "insert into chat_outbox (method, partition, payload)
         values ('publish', partition_of($1), jsonb_build_object(
            'channel', 'room:' || $1, 'version', $2::bigint, 'version_epoch', 'e', 'data', '{}'::jsonb))",
    )
    .bind(room)
    .bind(version)
    .execute(db)
    .await
    .unwrap();
}

/// Writes `count` rows over `rooms` rooms at once, versions from 1 in each.
pub(crate) async fn write_many(db: &PgPool, rooms: i64, count: i64) {
    sqlx::query(
        "insert into chat_outbox (method, partition, payload)
         select 'publish', partition_of(1 + n % $1), jsonb_build_object(
            'channel', 'room:' || (1 + n % $1), 'version', 1 + n / $1, 'version_epoch', 'e', 'data', '{}'::jsonb)
           from generate_series(0, $2 - 1) n",
    )
    .bind(rooms)
    .bind(count)
    .execute(db)
    .await
    .unwrap();
}

/// A row of any shape.
pub(crate) async fn write_raw(db: &PgPool, method: &str, partition: i16, payload: &str) {
    sqlx::query("insert into chat_outbox (method, partition, payload) values ($1, $2, $3::jsonb)")
        .bind(method)
        .bind(partition)
        .bind(payload)
        .execute(db)
        .await
        .unwrap();
}

pub(crate) async fn waiting(db: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from chat_outbox").fetch_one(db).await.unwrap()
}

pub(crate) async fn letters(db: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from dead_letters").fetch_one(db).await.unwrap()
}

/// Until the outbox is empty.
pub(crate) async fn drained(db: &PgPool) {
    until(async || waiting(db).await == 0).await;
}

/// Until this is so. What it says is where it waited in vain.
#[track_caller]
pub(crate) fn until(wanted: impl AsyncFn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let wait = async {
            while !wanted().await {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain at {caller}"));
    }
}

/// Ends the sessions of this database with this name, and says how many there were.
pub(crate) async fn terminate(db: &PgPool, name: &str) -> i64 {
    sqlx::query_scalar(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
          where datname = current_database() and application_name = $1",
    )
    .bind(name)
    .fetch_one(db)
    .await
    .unwrap()
}

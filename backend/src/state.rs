//! What every handler has at hand: the pool, the writer of messages, who is signed in, and the configuration.

use std::{sync::Arc, time::Duration};

use protocol::{Partition, RoomId};
use sqlx::PgPool;

use crate::{
    auth::{Attempts, Passwords, Sessions},
    direct::{Direct, DirectCounts, Publisher},
    outage::Outages,
    poster::{Poster, PosterLimits},
    store::announcements::AfterCommit,
    turns::Turns,
};

/// Settings of the backend. [`BackendConfig::new`] has the defaults; the secrets have none.
#[derive(Clone)]
pub struct BackendConfig {
    /// Signs connection tokens (HS256); the hub has the same.
    pub token_secret: String,
    /// How long a connection token is valid. The SDK fetches the next one by itself.
    pub token_ttl: Duration,
    /// How long a session lives after its last use.
    pub session_ttl: Duration,
    /// Adds `Secure` to cookies: on wherever the page is served over HTTPS.
    pub secure_cookies: bool,
    /// Bearer key of `/internal/*`. Empty: nobody may ask there.
    pub internal_key: String,
    /// Wrong passwords that one address may try for one username within a minute.
    pub failed_logins_per_minute: u32,
    /// Bounds of the queues in front of the database.
    pub poster: PosterLimits,
    /// A post may name the mode that its message travels by.
    pub allow_request_mode: bool,
    /// The seeded users may be shown on the sign-in page.
    pub demo: bool,
}

impl BackendConfig {
    /// The defaults with these secrets.
    pub fn new(token_secret: impl Into<String>, internal_key: impl Into<String>) -> Self {
        Self {
            token_secret: token_secret.into(),
            token_ttl: Duration::from_mins(10),
            session_ttl: Duration::from_hours(30 * 24),
            secure_cookies: false,
            internal_key: internal_key.into(),
            failed_logins_per_minute: 10,
            poster: PosterLimits::default(),
            allow_request_mode: false,
            demo: false,
        }
    }
}

/// Told after each commit that wrote outbox rows, so that a relay need not wait for its next poll.
pub trait CommitHook: Send + Sync + 'static {
    /// Must not block: it runs between the commit and the answer to the author.
    fn committed(&self, partition: Partition);
}

/// Shared by all handlers; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    /// The pool of [`connect`](crate::connect).
    pub db: PgPool,
    /// Writes messages.
    pub poster: Poster,
    /// As configured.
    pub config: Arc<BackendConfig>,
    pub(crate) hook: Arc<dyn CommitHook>,
    pub(crate) direct: Direct,
    pub(crate) sessions: Sessions,
    pub(crate) passwords: Passwords,
    pub(crate) attempts: Attempts,
    pub(crate) outages: Outages,
    /// Of who changes a room's members.
    pub(crate) joining: Turns,
    /// Of who moves a read position.
    pub(crate) reading: Turns,
}

impl ApiState {
    /// Joins the parts. Starts nothing: tasks begin with the first message.
    pub fn new(db: PgPool, config: BackendConfig, hook: Arc<dyn CommitHook>) -> Self {
        let direct = Direct::new(None);
        let connections = db.options().get_max_connections();
        Self {
            poster: Poster::with_direct(db.clone(), hook.clone(), config.poster, direct.clone()),
            sessions: Sessions::new(db.clone(), config.session_ttl),
            passwords: Passwords::default(),
            attempts: Attempts::new(config.failed_logins_per_minute),
            outages: Outages::new(db.clone()),
            joining: Turns::new(connections),
            reading: Turns::new(connections),
            config: Arc::new(config),
            hook,
            direct,
            db,
        }
    }

    /// The same with a way to the hub, which the modes `api` and `api_cdc` need. Before it is used, not after.
    #[must_use]
    pub fn with_publisher(self, publisher: Arc<dyn Publisher>) -> Self {
        let direct = Direct::new(Some(publisher));
        let poster = Poster::with_direct(self.db.clone(), self.hook.clone(), self.config.poster, direct.clone());
        Self { poster, direct, ..self }
    }

    /// Whether the modes `api` and `api_cdc` have a way to the hub.
    pub fn publishes(&self) -> bool {
        self.direct.publishes()
    }

    /// What became of the commands that this backend published itself.
    pub fn direct_counts(&self) -> DirectCounts {
        self.direct.counts()
    }

    /// Does what a commit about a room leaves to do. Neither waits nor fails: the change is made.
    pub(crate) fn committed(&self, room: RoomId, after: AfterCommit) {
        if after.wake {
            self.hook.committed(Partition::of(room));
        }
        self.direct.publish(Partition::of(room), after.mode, after.publish);
    }

    /// Refuses new messages and returns when those that were accepted are written, and published where that is the
    /// backend's own task. Call it after the server has
    /// stopped taking requests and before the pool is closed.
    pub async fn stop(&self) {
        self.poster.stop().await;
        self.direct.stop().await;
        self.outages.stop().await;
    }
}

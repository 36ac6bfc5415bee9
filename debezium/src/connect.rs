//! A client of Kafka Connect's REST interface, for what one does with connectors.
//!
//! `apply` can be repeated: it changes nothing where nothing changed, and mends what failed. It returns when the connector
//! and its task run.

mod http;
mod status;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use reqwest::Method;
use sqlx::{AssertSqlSafe, Executor, PgPool};
use tokio::time::sleep;

pub use self::status::{State, Status, Task};
use crate::{Connector, Error, Slot, lint::lint};

/// How often Connect is asked while something is awaited.
pub(crate) const POLL: Duration = Duration::from_millis(50);
/// A first start reads the database's catalogue; a busy machine makes that long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// A failure is believed after this; until then it may be the one before.
const BELIEF: Duration = Duration::from_secs(2);
/// How often a task that fails is restarted before its failure is the answer.
const RESTARTS: u32 = 3;

/// What `apply` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The connector is new.
    Created,
    /// It was there with other settings.
    Changed,
    /// It was there with the same settings.
    Unchanged,
}

/// One Kafka Connect.
#[derive(Debug, Clone)]
pub struct Connect {
    http: reqwest::Client,
    url: String,
}

impl Connect {
    /// `http://127.0.0.1:8083`
    pub fn new(url: &str) -> Self {
        // reqwest is built with TLS but without a choice of cryptography. Somebody may have chosen before: that is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { http: reqwest::Client::new(), url: url.trim_end_matches('/').to_owned() }
    }

    /// Waits until it answers and is ready to take connectors.
    pub async fn ready(&self, patience: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        loop {
            match self.health().await {
                Ok(true) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                _ => sleep(POLL).await,
            }
        }
    }

    /// Brings the connector to these settings and waits until it and its task run.
    pub async fn apply(&self, connector: &Connector) -> Result<Applied, Error> {
        let findings = lint(connector.config());
        if !findings.is_empty() {
            return Err(Error::Lint { name: connector.name().to_owned(), findings });
        }
        let applied = match self.config(connector.name()).await {
            Err(Error::Missing(_)) => Applied::Created,
            Ok(current) if current == *connector.config() => Applied::Unchanged,
            Ok(_) => Applied::Changed,
            Err(error) => return Err(error),
        };
        match applied {
            Applied::Created => self.put(connector).await?,
            // Stopped in between: the status then shows no task, so that the next one it shows has the new settings.
            Applied::Changed => {
                self.stop(connector.name()).await?;
                let refused = self.put(connector).await;
                self.resume(connector.name()).await?; // with the old settings if the new ones are refused
                refused?;
            }
            Applied::Unchanged => self.resume(connector.name()).await?,
        }
        self.running(connector.name()).await?;
        Ok(applied)
    }

    /// Names of all connectors.
    pub async fn names(&self) -> Result<Vec<String>, Error> {
        self.ask(Method::GET, "/connectors").await
    }

    /// How a connector and its tasks are.
    pub async fn status(&self, name: &str) -> Result<Status, Error> {
        self.ask_about(name, Method::GET, "/status").await
    }

    /// How all connectors are, by name.
    pub async fn statuses(&self) -> Result<BTreeMap<String, Status>, Error> {
        let told: BTreeMap<String, http::Expanded> = self.ask(Method::GET, "/connectors?expand=status").await?;
        Ok(told.into_iter().map(|(name, expanded)| (name, expanded.status)).collect())
    }

    /// A connector as Connect has it.
    pub async fn connector(&self, name: &str) -> Result<Connector, Error> {
        Ok(Connector::from_config(name, self.config(name).await?))
    }

    /// Tells Connect to restart what failed of a connector, if anything did. Does not wait for it to run.
    pub async fn restart_failed(&self, name: &str) -> Result<(), Error> {
        self.tell_about(name, Method::POST, "/restart?includeTasks=true&onlyFailed=true").await
    }

    /// Restarts connector and task and waits until they run.
    pub async fn restart(&self, name: &str) -> Result<(), Error> {
        // Not Connect's own restart, after which the state of before may be seen for a while.
        self.stop(name).await?;
        self.resume(name).await?;
        self.running(name).await
    }

    /// Removes the connector with all it left behind: its place in the log, its replication slot, the publication that Debezium
    /// made for it. Its topics stay. Can be repeated.
    pub async fn remove(&self, connector: &Connector, database: &PgPool) -> Result<(), Error> {
        match self.forget(connector.name()).await {
            Ok(()) | Err(Error::Missing(_)) => {}
            Err(error) => return Err(error),
        }
        if let Some(slot) = connector.slot() {
            Slot::drop_from(database, slot).await.map_err(|source| Error::Slot { slot: slot.to_owned(), source })?;
        }
        if let Some(publication) = connector.own_publication() {
            let name = publication.replace('"', "\"\"");
            let dropped = database.execute(AssertSqlSafe(format!("drop publication if exists \"{name}\""))).await;
            dropped.map_err(|source| Error::Slot { slot: publication.to_owned(), source })?;
        }
        Ok(())
    }

    /// Its place in the log goes as well: with a new slot, the old place would be an error for ever.
    async fn forget(&self, name: &str) -> Result<(), Error> {
        self.stop(name).await?;
        self.tell_about(name, Method::DELETE, "/offsets").await?;
        self.tell_about(name, Method::DELETE, "").await
    }

    async fn config(&self, name: &str) -> Result<BTreeMap<String, String>, Error> {
        self.ask_about(name, Method::GET, "/config").await
    }

    async fn resume(&self, name: &str) -> Result<(), Error> {
        self.tell_about(name, Method::PUT, "/resume").await
    }

    /// Returns when the tasks are gone.
    async fn stop(&self, name: &str) -> Result<(), Error> {
        self.tell_about(name, Method::PUT, "/stop").await?;
        let begin = Instant::now();
        loop {
            let status = self.status(name).await?;
            if status.connector == State::Stopped && status.tasks.is_empty() {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                return Err(too_slow(name, status.to_string()));
            }
            sleep(POLL).await;
        }
    }

    async fn running(&self, name: &str) -> Result<(), Error> {
        let begin = Instant::now();
        let (mut failed_since, mut restarts) = (None, 0);
        loop {
            let state = match self.status(name).await {
                Ok(status) if status.is_running() => return Ok(()),
                Ok(status) => {
                    let failure = status.failure();
                    let since = *failed_since.get_or_insert_with(Instant::now);
                    match failure {
                        None => failed_since = None,
                        Some(_) if since.elapsed() < BELIEF => {}
                        Some(reason) if restarts == RESTARTS => {
                            return Err(Error::Failed { name: name.to_owned(), reason });
                        }
                        Some(reason) => {
                            tracing::warn!(connector = name, reason, "restarting a connector that failed");
                            self.restart_failed(name).await?;
                            failed_since = None;
                            restarts += 1;
                        }
                    }
                    status.to_string()
                }
                // Connect knows the settings before it knows the connector's state.
                Err(Error::Missing(_)) => "no state yet".to_owned(),
                Err(error) => return Err(error),
            };
            if begin.elapsed() > PATIENCE {
                return Err(too_slow(name, state));
            }
            sleep(POLL).await;
        }
    }
}

fn too_slow(name: &str, state: String) -> Error {
    Error::TooSlow { name: name.to_owned(), seconds: PATIENCE.as_secs(), state }
}

//! `--cdc`: Kafka, Connect and Debezium as child processes of the demo, with the connectors applied.

use std::{
    future::pending,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use debezium::{Addresses, Bundle, Connector, Database, Kind, Options, Part, Profile, Slot, Stack, SupervisorHandle};
use embedded_postgres::Directories;
use sqlx::PgPool;
use tokio::time::sleep;

use super::restarts::Restarts;
use crate::{
    config,
    console::{self, Waiting},
};

/// How often it is asked whether the server has given up what a connector reads.
const LOOK: Duration = Duration::from_secs(5);

/// The running stack. It ends with this program, however this program ends.
pub(super) struct Cdc {
    stack: Stack,
    /// As they were applied last.
    connectors: Vec<Connector>,
}

/// Starts the stack, without connectors. Needs no database, so it may start beside one.
pub(super) async fn start(settings: &config::Demo) -> anyhow::Result<Cdc> {
    let waiting = Waiting::begin();
    let bundle = Bundle::find_or_fetch(&Directories::of_this_user()?.cache, &waiting.progress()).await?;
    let data_dir = data_dir(settings.embedded.data_dir.as_deref())?;
    // Connectors remember a place in the log of the database that they knew: of a new one, they know nothing.
    let options = Options { fresh: settings.fresh, progress: waiting.progress(), ..Options::durable(data_dir) };
    let stack = Stack::start(&bundle, &options).await.context("starting Kafka and Connect")?;
    waiting.end();
    Ok(Cdc { stack, connectors: Vec::new() })
}

/// Of the demo that runs on this data directory, if one runs.
pub(in crate::roles) fn running(of_demo: Option<&Path>) -> anyhow::Result<Option<Addresses>> {
    Ok(Addresses::of_running(&data_dir(of_demo)?))
}

fn data_dir(of_demo: Option<&Path>) -> anyhow::Result<PathBuf> {
    let of_demo = of_demo.map_or_else(|| Directories::of_this_user().map(|of_user| of_user.data), |dir| Ok(dir.into()));
    Ok(of_demo?.join("cdc"))
}

impl Cdc {
    /// Where the relay finds Kafka.
    pub(super) fn brokers(&self) -> String {
        self.stack.bootstrap_servers()
    }

    /// What the JVMs say.
    pub(super) fn logs(&self) -> [PathBuf; 2] {
        Part::ALL.map(|part| self.stack.log(part))
    }

    /// Where the supervisor finds the connectors.
    pub(super) fn connect_url(&self) -> String {
        self.stack.connect_url()
    }

    /// Applies the connectors on this database, whose tables must be there. Those of `anew` begin at the end of the log.
    ///
    /// One that does not run is told and left to the supervisor: the other modes need none, and what mends it, such as
    /// `roomcast connectors remove`, needs a running demo.
    pub(super) async fn apply(
        &mut self,
        database: &PgPool,
        database_url: &str,
        profile: Profile,
        anew: &[Kind],
    ) -> anyhow::Result<()> {
        let (address, waiting): (Database, _) = (database_url.parse()?, Waiting::begin());
        for kind in Kind::ALL {
            waiting.say(&format!("applying the connector {}", kind.connector_name()));
            let connector = Connector::render(kind, profile, &address)?;
            let applied = if anew.contains(&kind) {
                self.begin_anew(&connector, database).await
            } else {
                self.stack.connect().apply(&connector).await.map(drop)
            };
            if let Err(error) = applied {
                let error = anyhow::Error::from(error).context(format!("applying the connector {}", connector.name()));
                waiting.pause(|| console::error(&error));
            }
            self.connectors.push(connector);
        }
        waiting.end();
        Ok(())
    }

    /// With a new slot, the place that Connect remembers would be an error for ever.
    async fn begin_anew(&self, connector: &Connector, database: &PgPool) -> Result<(), debezium::Error> {
        let connect = self.stack.connect();
        connect.remove(connector, database).await?;
        connect.apply(connector).await.map(drop)
    }

    /// Lets connectors begin anew whose slot the server gave up, or that have lost their place, for as long as it is
    /// polled. What they have missed reaches people from the timeline.
    pub(super) async fn keep_going(&self, watched: &SupervisorHandle, database: &PgPool) {
        loop {
            sleep(LOOK).await;
            // The server may be away: then there is another look.
            let slots = Slot::all(database).await.unwrap_or_default();
            let report = watched.report();
            let is_lost = |name: &str| slots.iter().any(|slot| slot.lost && slot.name == name);
            for connector in &self.connectors {
                let name = connector.name();
                if connector.slot().is_some_and(is_lost) || report.has_lost_its_place(name) {
                    tracing::warn!(
                        connector = name,
                        "{name} has lost its place in the log: it begins anew, from now on"
                    );
                    if let Err(error) = self.begin_anew(connector, database).await {
                        tracing::error!(connector = name, %error, "{name} could not begin anew: {error}");
                    }
                }
            }
        }
    }

    /// Starts again what ends without having been asked to, for as long as it is polled.
    pub(super) async fn keep_alive(&self) {
        let mut restarts = Restarts::new();
        while let Ok((part, status)) = self.stack.exited().await {
            tracing::warn!(%part, "{part} ended ({status}) and is started again; its log is {}", self.stack.log(part).display());
            sleep(restarts.ended()).await;
            let again = match part {
                Part::Kafka => self.stack.start_kafka().await,
                Part::Connect => self.stack.start_connect().await,
            };
            restarts.started();
            match again {
                Ok(()) => tracing::info!(%part, "{part} is back"),
                Err(error) => tracing::error!(%part, "{error}"),
            }
        }
        pending::<()>().await; // the system does not say how its own children are: nothing to be done about it here
    }

    /// Stops both in order.
    pub(super) async fn stop(self) {
        self.stack.stop().await;
    }
}

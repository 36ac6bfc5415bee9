//! `--cdc`: Kafka, Connect and Debezium as child processes of the demo, with the connectors applied.

use std::{
    future::pending,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use debezium::{Addresses, Bundle, Connector, Database, Kind, Options, Part, Stack};
use embedded_postgres::Directories;
use tokio::time::sleep;

use crate::{
    config,
    console::{self, Waiting},
};

/// How long after a start a process must have lived for its next start not to be delayed.
const LIVED: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The running stack. It ends with this program, however this program ends.
pub(super) struct Cdc(Stack);

/// Starts the stack, without connectors. Needs no database, so it may start beside one.
pub(super) async fn start(settings: &config::Demo) -> anyhow::Result<Cdc> {
    let waiting = Waiting::begin();
    let bundle = Bundle::find_or_fetch(&Directories::of_this_user()?.cache, &waiting.progress()).await?;
    let data_dir = data_dir(settings.embedded.data_dir.as_deref())?;
    // Connectors remember a place in the log of the database that they knew: of a new one, they know nothing.
    let options = Options { fresh: settings.fresh, progress: waiting.progress(), ..Options::durable(data_dir) };
    let stack = Stack::start(&bundle, &options).await.context("starting Kafka and Connect")?;
    waiting.end();
    Ok(Cdc(stack))
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
        self.0.bootstrap_servers()
    }

    /// Where the supervisor finds the connectors.
    pub(super) fn connect_url(&self) -> String {
        self.0.connect_url()
    }

    /// Applies the connectors on this database, whose tables must be there.
    ///
    /// One that does not run is told and left to the supervisor: the other modes need none, and what mends it, such as
    /// `roomcast connectors remove`, needs a running demo.
    pub(super) async fn apply(&self, database_url: &str, profile: debezium::Profile) -> anyhow::Result<()> {
        let database: Database = database_url.parse()?;
        let (connect, waiting) = (self.0.connect(), Waiting::begin());
        for kind in Kind::ALL {
            waiting.say(&format!("applying the connector {}", kind.connector_name()));
            let connector = Connector::render(kind, profile, &database)?;
            if let Err(error) = connect.apply(&connector).await {
                let error = anyhow::Error::from(error).context(format!("applying the connector {}", connector.name()));
                waiting.pause(|| console::error(&error));
            }
        }
        waiting.end();
        Ok(())
    }

    /// Starts again what ends without having been asked to, for as long as it is polled.
    pub(super) async fn keep_alive(&self) {
        let (mut started, mut pause) = (Instant::now(), Duration::ZERO);
        while let Ok((part, status)) = self.0.exited().await {
            tracing::warn!(%part, "{part} ended ({status}) and is started again; its log is {}", self.0.log(part).display());
            pause = if started.elapsed() > LIVED { Duration::ZERO } else { longer(pause) };
            sleep(pause).await;
            started = Instant::now();
            let again = match part {
                Part::Kafka => self.0.start_kafka().await,
                Part::Connect => self.0.start_connect().await,
            };
            match again {
                Ok(()) => tracing::info!(%part, "{part} is back"),
                Err(error) => tracing::error!(%part, "{error}"),
            }
        }
        pending::<()>().await; // the system does not say how its own children are: nothing to be done about it here
    }

    /// Stops both in order.
    pub(super) async fn stop(self) {
        self.0.stop().await;
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(Duration::from_secs(1), LONGEST_PAUSE)
}

//! `--cdc`: Kafka, Connect and Debezium as child processes of the demo, with the connectors applied.

use std::path::Path;

use anyhow::Context;
use debezium::{Bundle, Connector, Database, Kind, Options, Profile, Stack};
use embedded_postgres::Directories;

use crate::console::Waiting;

/// The running stack. It ends with this program, however this program ends.
pub(super) struct Cdc(Stack);

/// Starts the stack on the tables of this database, which must be there: a connector looks for them at once.
pub(super) async fn start(database_url: &str, data_dir: Option<&Path>) -> anyhow::Result<Cdc> {
    let directories = Directories::of_this_user()?;
    let data_dir = data_dir.map_or(directories.data, Path::to_owned).join("cdc");
    let waiting = Waiting::begin();
    let bundle = Bundle::find_or_fetch(&directories.cache, &waiting.progress()).await?;
    let options = Options { progress: waiting.progress(), ..Options::durable(data_dir) };
    let stack = Stack::start(&bundle, &options).await.context("starting Kafka and Connect")?;
    let applied = apply(&stack, database_url, &waiting).await;
    waiting.end();
    match applied {
        Ok(()) => Ok(Cdc(stack)),
        Err(error) => {
            stack.stop().await;
            Err(error)
        }
    }
}

async fn apply(stack: &Stack, database_url: &str, waiting: &Waiting) -> anyhow::Result<()> {
    let database: Database = database_url.parse()?;
    let connect = stack.connect();
    for kind in Kind::ALL {
        waiting.say(&format!("applying the connector {}", kind.connector_name()));
        let connector = Connector::render(kind, Profile::Tuned, &database)?;
        connect.apply(&connector).await.with_context(|| format!("applying the connector {}", connector.name()))?;
    }
    Ok(())
}

impl Cdc {
    /// Where the relay finds Kafka.
    pub(super) fn brokers(&self) -> String {
        self.0.bootstrap_servers()
    }

    /// Stops both in order.
    pub(super) async fn stop(self) {
        self.0.stop().await;
    }
}

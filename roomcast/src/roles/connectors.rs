//! `roomcast connectors`: Debezium's connectors applied, shown, restarted and removed.

mod status;

use std::path::Path;

use anyhow::{Context, bail};
use debezium::{Addresses, Applied, Connect, Connector, Database, Error, Kind, Profile, lint};
use sqlx::PgPool;

use super::demo;
use crate::{
    config::{self, Apply, ConnectorAction, Running},
    console::{self, Waiting},
};

/// Where Connect listens unless somebody decided otherwise.
const USUAL_URL: &str = "http://127.0.0.1:8083";

pub(super) async fn run(settings: config::Connectors) -> anyhow::Result<()> {
    let (connect, of) = (connect(&settings)?, settings.database);
    match settings.action {
        ConnectorAction::Apply(apply) if apply.check => check(&apply),
        ConnectorAction::Apply(apply) => applied(&apply, &connect, &of).await,
        ConnectorAction::Status { which, json } => status::show(&connect, &which.names(), &of, json).await,
        ConnectorAction::Restart(which) => restarted(&connect, &which.names()).await,
        ConnectorAction::Remove(which) => removed(&connect, &which.names(), &super::running_database(&of).await?).await,
    }
}

fn connect(settings: &config::Connectors) -> anyhow::Result<Connect> {
    let of_demo = || demo::running_stack(settings.database.data_dir.as_deref());
    let url = match &settings.connect_url {
        Some(url) => url.clone(),
        None => of_demo()?.map_or(USUAL_URL.to_owned(), |addresses: Addresses| addresses.connect_url),
    };
    Ok(Connect::new(&url))
}

fn check(apply: &Apply) -> anyhow::Result<()> {
    let anywhere = "postgres://user:password@database:5432/roomcast".parse()?;
    let mut wrong = 0;
    for connector in wanted(apply, &anywhere)? {
        let findings = lint::lint(connector.config());
        wrong += findings.len();
        console::say(match findings.len() {
            0 => format!("{}: {} settings, each known", connector.name(), connector.config().len()),
            _ => Error::Lint { name: connector.name().to_owned(), findings }.to_string(),
        });
    }
    if wrong > 0 {
        bail!("{wrong} settings are not right");
    }
    Ok(())
}

async fn applied(apply: &Apply, connect: &Connect, of: &Running) -> anyhow::Result<()> {
    let database = match &apply.connector_database_url {
        Some(url) => url.expose().to_owned(),
        None => super::running_database_url(of)?,
    };
    let connectors = wanted(apply, &database.parse()?)?;
    let waiting = Waiting::begin();
    waiting.say(&format!("waiting for Kafka Connect at {}", connect.url()));
    connect.ready(apply.wait).await?;
    let mut refused = 0;
    for connector in &connectors {
        waiting.say(&format!("applying {}", connector.name()));
        // One that fails is no reason to leave out the others.
        let told = match connect.apply(connector).await {
            Ok(applied) => format!("{} {}", connector.name(), outcome(applied)),
            Err(error) => {
                refused += 1;
                format!("{:#}", anyhow::Error::from(error))
            }
        };
        waiting.pause(|| console::say(told));
    }
    waiting.end();
    if refused > 0 {
        bail!("{refused} of {} connectors do not run as they should", connectors.len());
    }
    Ok(())
}

fn wanted(apply: &Apply, database: &Database) -> Result<Vec<Connector>, Error> {
    let of_kind = |kind: &Kind| Connector::render(*kind, apply.profile, database);
    let of_file = |file: &Path| Connector::from_file(file, apply.profile, database);
    match (apply.names.as_slice(), apply.files.as_slice()) {
        ([], []) => Kind::ALL.iter().map(of_kind).collect(),
        (names, []) => names.iter().map(of_kind).collect(),
        (_, files) => files.iter().map(|file| of_file(file)).collect(),
    }
}

fn outcome(applied: Applied) -> &'static str {
    match applied {
        Applied::Created => "is new and runs",
        Applied::Changed => "has the new settings and runs",
        Applied::Unchanged => "runs, unchanged",
    }
}

async fn restarted(connect: &Connect, names: &[String]) -> anyhow::Result<()> {
    let waiting = Waiting::begin();
    for name in names {
        waiting.say(&format!("restarting {name}"));
        connect.restart(name).await?;
        waiting.pause(|| console::say(format_args!("{name} runs again")));
    }
    waiting.end();
    Ok(())
}

async fn removed(connect: &Connect, names: &[String], database: &PgPool) -> anyhow::Result<()> {
    let waiting = Waiting::begin();
    for name in names {
        waiting.say(&format!("removing {name}"));
        connect.remove(&to_remove(connect, name).await?, database).await?;
        waiting.pause(|| console::say(format_args!("{name} is gone, with its slot and publication")));
    }
    waiting.end();
    Ok(())
}

/// With the slot and publication that it really has; one of ours is known even where Connect has forgotten it.
async fn to_remove(connect: &Connect, name: &str) -> anyhow::Result<Connector> {
    match (connect.connector(name).await, name.parse::<Kind>()) {
        (Err(Error::Missing(_)), Ok(kind)) => {
            let nowhere = "postgres://nobody@nowhere/nothing".parse()?;
            Ok(Connector::render(kind, Profile::default(), &nowhere)?)
        }
        (found, _) => found.with_context(|| format!("removing {name}")),
    }
}

//! Settings of `roomcast connectors`, and of what watches connectors.
#![expect(clippy::doc_markdown, reason = "these comments are what --help prints, where Markdown is noise")]

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use debezium::{Kind, Profile};

use super::{
    Running, Secret,
    value::{duration, origin},
};

/// Settings of `roomcast connectors`.
#[derive(Args, Debug, Clone)]
pub struct Connectors {
    /// Whose.
    #[command(flatten)]
    pub database: Running,
    /// Kafka Connect [default: that of the running `demo --cdc`, else http://127.0.0.1:8083]
    #[arg(long, env = "ROOMCAST_CONNECT_URL", value_parser = origin, global = true)]
    pub connect_url: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub action: ConnectorAction,
}

/// What to do with connectors.
#[derive(Subcommand, Debug, Clone)]
pub enum ConnectorAction {
    /// Bring connectors to the settings of this version and wait until they and their tasks run; restarts what failed
    ///
    /// Can be repeated: what is as it should be stays untouched.
    Apply(Apply),
    /// Show how connectors are, and how much write-ahead log their slots keep; fails when one is not RUNNING
    Status {
        /// Whose.
        #[command(flatten)]
        which: Which,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Restart connectors and their tasks and wait until they run
    Restart(Which),
    /// Remove connectors with all that they left: place in the log, replication slot, publication. Topics stay
    Remove(Which),
}

/// Settings of `roomcast connectors apply`.
#[derive(Args, Debug, Clone)]
pub struct Apply {
    /// rows, events or messages, or their full names [default: all three]
    #[arg(conflicts_with = "files")]
    pub names: Vec<Kind>,
    /// A connector file of your own instead, of the form of debezium/connectors/*.json; can be repeated
    #[arg(long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Latency: seed (the articles' values) or tuned
    #[arg(long, env = "ROOMCAST_CDC_PROFILE", default_value_t)]
    pub profile: Profile,
    /// The database as Connect reaches it, where that differs (a name inside Docker, say, or a role of its own)
    #[arg(long, env = "ROOMCAST_CONNECTOR_DATABASE_URL", hide_env_values = true)]
    pub connector_database_url: Option<Secret>,
    /// Only look for settings that nobody would heed; asks neither Connect nor the database
    #[arg(long)]
    pub check: bool,
    /// How long Connect may take to come up
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub wait: Duration,
}

/// Some connectors.
#[derive(Args, Debug, Clone)]
pub struct Which {
    /// rows, events, messages, or the name of any connector that Connect has [default: those three]
    pub names: Vec<String>,
}

/// What watches connectors.
#[derive(Args, Debug, Clone)]
pub struct Supervision {
    /// Kafka Connect, such as http://127.0.0.1:8083: watch the connectors there and restart their tasks when they fail
    #[arg(long, env = "ROOMCAST_CONNECT_URL", value_parser = origin)]
    pub connect_url: Option<String>,
    /// Which must run there for this process to be ready: rows, events, messages
    #[arg(long, env = "ROOMCAST_CONNECTORS", value_delimiter = ',', default_values_t = Kind::ALL)]
    pub connectors: Vec<Kind>,
}

impl Which {
    /// Names in Connect.
    pub fn names(&self) -> Vec<String> {
        if self.names.is_empty() {
            return Kind::ALL.map(|kind| kind.connector_name().to_owned()).to_vec();
        }
        let full = |name: &String| name.parse::<Kind>().map_or(name.clone(), |kind| kind.connector_name().to_owned());
        self.names.iter().map(full).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::{Cli, Role};

    fn connectors(args: &[&str]) -> Result<Connectors, String> {
        let cli =
            Cli::try_parse_from([&["roomcast", "connectors"], args].concat()).map_err(|error| error.to_string())?;
        match cli.role() {
            Role::Connectors(connectors) => Ok(connectors),
            other => panic!("not connectors: {other:?}"),
        }
    }

    fn names(args: &[&str]) -> Vec<String> {
        match connectors(args).unwrap().action {
            ConnectorAction::Remove(which) => which.names(),
            other => panic!("not remove: {other:?}"),
        }
    }

    #[test]
    fn connectors_are_named_in_short_in_full_or_not_at_all() {
        assert_eq!(names(&["remove"]), ["roomcast-rows", "roomcast-events", "roomcast-messages"]);
        assert_eq!(names(&["remove", "rows", "roomcast-events", "mine"]), ["roomcast-rows", "roomcast-events", "mine"]);
    }

    #[test]
    fn only_our_own_can_be_applied_by_name_and_the_address_may_stand_anywhere() {
        let refused = connectors(&["apply", "mine"]).unwrap_err();
        assert!(refused.contains("there is no connector `mine`; there are: rows, events, messages"), "{refused}");
        assert!(connectors(&["apply", "rows", "--file", "x.json"]).is_err());
        assert!(connectors(&["apply", "--profile", "fast"]).unwrap_err().contains("seed, tuned"));
        let found = connectors(&["apply", "events", "--connect-url", "http://connect:8083/"]).unwrap();
        assert_eq!(found.connect_url.as_deref(), Some("http://connect:8083"));
    }

    #[test]
    fn a_relay_watches_all_three_unless_it_is_told_otherwise() {
        let watched = |more: &[&str]| match Cli::try_parse_from(
            [&["roomcast", "relay", "--database-url", "x", "--hub", "http://h:1"], more].concat(),
        )
        .unwrap()
        .role()
        {
            Role::Relay(relay) => relay.supervision.connectors,
            other => panic!("not the relay: {other:?}"),
        };
        assert_eq!(watched(&[]), Kind::ALL);
        assert_eq!(watched(&["--connectors", "rows,messages"]), [Kind::Rows, Kind::Messages]);
    }
}

//! Settings of `roomcast read-model`.

use std::net::SocketAddr;

use clap::{Args, Subcommand};

use super::{Database, Running};

/// Settings of `roomcast read-model`.
#[derive(Args, Debug, Clone)]
pub struct ReadModel {
    /// What to do.
    #[command(subcommand)]
    pub action: ReadModelAction,
}

/// What to do with the read model.
#[derive(Subcommand, Debug, Clone)]
pub enum ReadModelAction {
    /// Keep it up to date: consume the topic room.events until the stop (`demo --cdc` does that as well)
    Run(ReadModelRun),
    /// Show its rows, its newest line and how far its consumers are behind in each partition
    Status(ReadModelOf),
    /// Empty it and make it again from the beginning of the topic, then hold it against the truth
    ///
    /// Safe while consumers run. Until it is done, rooms are missing from the read model.
    Rebuild(ReadModelOf),
}

/// Settings of `roomcast read-model run`.
#[derive(Args, Debug, Clone)]
pub struct ReadModelRun {
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, env = "ROOMCAST_LISTEN", default_value = "127.0.0.1:8003")]
    pub listen: SocketAddr,
    /// Where the read model is.
    #[command(flatten)]
    pub database: Database,
    /// Where the topic is: host:port, several with commas
    #[arg(long, env = "ROOMCAST_KAFKA_BROKERS")]
    pub kafka_brokers: String,
}

/// Which read model.
#[derive(Args, Debug, Clone)]
pub struct ReadModelOf {
    /// Whose.
    #[command(flatten)]
    pub database: Running,
    /// Where the topic is: host:port, several with commas [default: that of the running `demo --cdc`]
    #[arg(long, env = "ROOMCAST_KAFKA_BROKERS")]
    pub kafka_brokers: Option<String>,
}

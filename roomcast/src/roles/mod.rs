//! What a process can be. Each role is a list of things to start, in order, and the end of them.

mod backend;
mod connectors;
mod dead_letters;
mod demo;
mod health;
mod hub;
mod hub_check;
mod hub_config;
mod migrate;
mod mode;
mod read_model;
mod relay;
mod slots;

use sqlx::PgPool;

use crate::{
    config::{Role, Running},
    lifecycle::Lifecycle,
};

/// Plays the role until the lifecycle's stop.
pub async fn run(role: Role, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    match role {
        Role::Demo(settings) => demo::run(settings, lifecycle).await,
        Role::Backend(settings) => backend::run(settings, lifecycle).await,
        Role::Relay(settings) => relay::run(settings, lifecycle).await,
        Role::Hub(settings) => hub::run(settings, lifecycle).await,
        Role::Migrate(settings) => migrate::run(&settings).await,
        Role::Mode(settings) => mode::run(settings).await,
        Role::Connectors(settings) => connectors::run(settings).await,
        Role::ReadModel(settings) => read_model::run(settings, lifecycle).await,
        Role::Slots(settings) => slots::run(settings).await,
        Role::DeadLetters(settings) => dead_letters::run(settings).await,
        Role::Health(settings) => health::run(&settings).await,
    }
}

/// The database that a command names, else the running demo's.
async fn running_database(named: &Running) -> anyhow::Result<PgPool> {
    Ok(::backend::connect_for_commands(&running_database_url(named)?).await?)
}

fn running_database_url(named: &Running) -> anyhow::Result<String> {
    match &named.database_url {
        Some(url) => Ok(url.expose().to_owned()),
        None => demo::running_database(named.data_dir.as_deref()),
    }
}

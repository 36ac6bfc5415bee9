//! What a process can be. Each role is a list of things to start, in order, and the end of them.

mod backend;
mod dead_letters;
mod demo;
mod hub;
mod migrate;
mod relay;

use crate::{config::Role, lifecycle::Lifecycle};

/// Plays the role until the lifecycle's stop.
pub async fn run(role: Role, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    match role {
        Role::Demo(settings) => demo::run(settings, lifecycle).await,
        Role::Backend(settings) => backend::run(settings, lifecycle).await,
        Role::Relay(settings) => relay::run(settings, lifecycle).await,
        Role::Hub(settings) => hub::run(settings, lifecycle).await,
        Role::Migrate(settings) => migrate::run(&settings).await,
        Role::DeadLetters(settings) => dead_letters::run(settings).await,
    }
}

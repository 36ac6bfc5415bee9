//! `roomcast <role>`: reads the settings, starts the role, and says in one line why it could not.

use std::{num::NonZeroUsize, process::ExitCode, thread::available_parallelism};

use anyhow::Context;
use clap::Parser;
use roomcast::{
    config::{Cli, Role},
    console,
    lifecycle::Lifecycle,
    roles, telemetry,
};
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start_logging(&cli.log);
    protocol::silence::set(cli.silence);
    match run(cli.role()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(role: Role) -> anyhow::Result<()> {
    runtime(&role)?.block_on(async { roles::run(role, &Lifecycle::from_signals()).await })
}

/// A hub delivers on threads of its own. What is left here is requests, and with few of them each thread more is one
/// more to be woken for every request.
fn runtime(role: &Role) -> anyhow::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if matches!(role, Role::Hub(_)) && std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        builder.worker_threads(available_parallelism().map_or(1, NonZeroUsize::get).div_ceil(4));
    }
    builder.enable_all().build().context("starting the threads of this process")
}

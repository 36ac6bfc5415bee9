//! `roomcast <role>`: reads the settings, starts the role, and says in one line why it could not.

use std::process::ExitCode;

use clap::Parser;
use roomcast::{config::Cli, console, lifecycle::Lifecycle, roles, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start_logging(&cli.log);
    match roles::run(cli.role(), &Lifecycle::from_signals()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::error(&error);
            ExitCode::FAILURE
        }
    }
}

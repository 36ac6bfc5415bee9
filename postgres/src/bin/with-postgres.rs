//! `with-postgres [--migrations DIR] [--data-dir DIR] [--temporary] CMD…`: runs a command beside a private PostgreSQL and stops it after.
//!
//! The command finds `DATABASE_URL` (an empty database, or one with the migrations) and `ROOMCAST_TEST_DATABASE_URL` (the
//! server, for tests that make databases of their own). The exit code is the command's.

use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus},
};

use anyhow::{Context, Result};
use clap::Parser;
use embedded_postgres::{Options, Server, testkit};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, migrate::Migrator};
use tokio::signal::unix::{SignalKind, signal};

/// Runs a command beside a private PostgreSQL and stops it afterwards.
#[derive(Parser)]
struct Arguments {
    /// Migrations to apply to the command's database first.
    #[arg(long, value_name = "DIR")]
    migrations: Option<PathBuf>,
    /// Keeps the data here, durably. Without it everything is temporary and fast.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Removes the data afterwards, also from `--data-dir`.
    #[arg(long)]
    temporary: bool,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// The command's database.
const DATABASE: &str = "roomcast";

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let server = start(&arguments).context("start a private PostgreSQL")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(run(&arguments, &server));
    server.stop();
    status.map(exit_code)
}

fn start(arguments: &Arguments) -> Result<Server, embedded_postgres::Error> {
    match &arguments.data_dir {
        None => testkit::temporary_server(),
        Some(directory) if arguments.temporary => Server::start(&testkit::binaries()?, &Options::temporary(directory)),
        Some(directory) => Server::start(&testkit::binaries()?, &Options::durable(directory)),
    }
}

async fn run(arguments: &Arguments, server: &Server) -> Result<ExitStatus> {
    prepare(server, arguments.migrations.as_deref()).await?;
    let (program, rest) = arguments.command.split_first().context("no command")?;
    // Registered before the command starts, so that no signal comes too early to be passed on.
    let (mut interrupts, mut terminations) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut command = tokio::process::Command::new(program)
        .args(rest)
        .env("DATABASE_URL", server.url(DATABASE))
        .env(testkit::SERVER_VARIABLE, server.url("postgres"))
        .spawn()
        .with_context(|| format!("run {}", program.display()))?;
    let pid = command.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    loop {
        tokio::select! {
            status = command.wait() => return Ok(status?),
            // A terminal's Ctrl-C reaches the command as well; it decides when to end.
            _ = interrupts.recv() => {}
            _ = terminations.recv() => if let Some(pid) = pid { kill(pid, Signal::SIGTERM)? },
        }
    }
}

async fn prepare(server: &Server, migrations: Option<&Path>) -> Result<()> {
    let mut admin = PgConnection::connect(&server.url("postgres")).await?;
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(DATABASE)
        .fetch_one(&mut admin)
        .await?;
    if !exists {
        admin.execute(AssertSqlSafe(format!("create database {DATABASE}"))).await?;
    }
    admin.close().await?;
    if let Some(directory) = migrations {
        let migrator = Migrator::new(directory).await.with_context(|| format!("read {}", directory.display()))?;
        let mut database = PgConnection::connect(&server.url(DATABASE)).await?;
        migrator.run(&mut database).await.context("apply the migrations")?;
        database.close().await?;
    }
    Ok(())
}

/// As a shell tells it: the command's code, or 128 and the signal that ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

//! The demo's private PostgreSQL: found or fetched, started with progress on the terminal, started again when it dies,
//! stopped last.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use embedded_postgres::{Directories, Options, Search, Server};
use sqlx::{Connection, PgConnection};
use tokio::{sync::Mutex, time::sleep};

use super::restarts::Restarts;
use crate::{config, console::Waiting};

/// The database of the chat on that server.
const DATABASE: &str = "roomcast";

/// A server that dies so often in a row will not live: what its log says is a person's matter then. The pauses between
/// add up to a quarter of a minute, in which a full disk or a want of memory may pass.
const STARTS: u32 = 5;

/// The running server. It ends with this program, however this program ends.
pub(super) struct Postgres {
    /// Held while it is watched, and while it is started again.
    server: Arc<Mutex<Server>>,
    url: String,
    log: PathBuf,
}

pub(super) async fn start(settings: &config::Demo) -> anyhow::Result<Postgres> {
    let directories = Directories::of_this_user()?;
    let data_dir = settings.embedded.data_dir.clone().unwrap_or(directories.data);
    let waiting = Waiting::begin();
    let progress = waiting.progress();
    let search = Search {
        named: settings.embedded.postgres_bin.clone(),
        cache: directories.cache,
        data_dir: Some(data_dir.clone()),
        download: true,
    };
    let binaries = search.find_or_fetch(&progress).await?;
    // A drained outbox leaves dead index entries in the way of every claim: clean up within seconds, not a minute.
    let settings_of_server = vec![("autovacuum_naptime".to_owned(), "5s".to_owned())];
    let options =
        Options { fresh: settings.fresh, settings: settings_of_server, progress, ..Options::durable(data_dir) };
    let server = tokio::task::spawn_blocking(move || Server::start(&binaries, &options)).await??;
    waiting.end();

    let (url, admin_url, log) = (server.url(DATABASE), server.url("postgres"), server.log());
    let postgres = Postgres { server: Arc::new(Mutex::new(server)), url, log };
    create_database(&admin_url).await.context("creating the demo's database")?;
    Ok(postgres)
}

impl Postgres {
    /// Where the chat's database is. The same after each start.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Where it says what it does: in the demo's data directory.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Starts it again, on the same port and data, when it ends without having been asked to. Returns why it is given up.
    pub(super) async fn keep_alive(&self) -> anyhow::Error {
        let mut restarts = Restarts::new();
        loop {
            let mut cause = match self.server.lock().await.exited().await {
                Ok(status) => anyhow::anyhow!("the embedded PostgreSQL ended ({status})"),
                Err(error) => return anyhow::anyhow!(error).context("watching the embedded PostgreSQL"),
            };
            tracing::warn!("{cause} and is started again; its log is {}", self.log.display());
            loop {
                let pause = restarts.ended();
                if restarts.in_a_row() > STARTS {
                    return cause
                        .context(format!("the embedded PostgreSQL did not stay up after {STARTS} starts in a row"));
                }
                sleep(pause).await;
                let started = self.restart().await;
                restarts.started();
                match started {
                    Ok(()) => break,
                    Err(error) => cause = error,
                }
                tracing::error!("{cause:#}");
            }
            tracing::info!("the embedded PostgreSQL is back");
        }
    }

    async fn restart(&self) -> anyhow::Result<()> {
        let mut server = Arc::clone(&self.server).lock_owned().await;
        Ok(tokio::task::spawn_blocking(move || server.restart()).await??)
    }

    /// Stops it in order.
    pub(super) async fn stop(self) {
        drop(self.server.lock().await); // a start that was under way is over
        let _ = tokio::task::spawn_blocking(move || drop(self.server)).await;
    }
}

/// The database of the demo that runs on this data directory.
pub(in crate::roles) fn running(data_dir: Option<&Path>) -> anyhow::Result<String> {
    let data_dir = match data_dir {
        Some(data_dir) => data_dir.to_owned(),
        None => Directories::of_this_user()?.data,
    };
    embedded_postgres::url_of_running(&data_dir, DATABASE)
        .context("no demo is running here: start it, or name its database with --database-url or DATABASE_URL")
}

async fn create_database(url: &str) -> sqlx::Result<()> {
    let mut server = PgConnection::connect(url).await?;
    let exists = sqlx::query_scalar::<_, bool>("select exists (select from pg_database where datname = $1)")
        .bind(DATABASE)
        .fetch_one(&mut server)
        .await?;
    if !exists {
        sqlx::query("create database roomcast").execute(&mut server).await?;
    }
    server.close().await
}

//! The demo's private PostgreSQL: found or fetched, started with progress on the terminal, stopped last.

use std::path::Path;

use anyhow::Context;
use embedded_postgres::{Directories, Options, Search, Server};
use sqlx::{Connection, PgConnection};

use crate::{config, console::Waiting};

/// The database of the chat on that server.
const DATABASE: &str = "roomcast";

/// The running server. It ends with this program, however this program ends.
pub(super) struct Postgres(Server);

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

    let postgres = Postgres(server);
    create_database(&postgres.0.url("postgres")).await.context("creating the demo's database")?;
    Ok(postgres)
}

impl Postgres {
    /// Where the chat's database is.
    pub(super) fn url(&self) -> String {
        self.0.url(DATABASE)
    }

    /// Returns with an error when the server ends without having been asked to.
    pub(super) async fn unexpected_end(&self) -> anyhow::Error {
        match self.0.exited().await {
            Ok(status) => anyhow::anyhow!("the embedded PostgreSQL ended ({status}); its log is in the data directory"),
            Err(error) => anyhow::anyhow!(error).context("watching the embedded PostgreSQL"),
        }
    }

    /// Stops it in order.
    pub(super) async fn stop(self) {
        let _ = tokio::task::spawn_blocking(move || self.0.stop()).await;
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

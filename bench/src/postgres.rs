//! A PostgreSQL for one run: private, durable as in production, and gone afterwards.

use std::path::PathBuf;

use anyhow::Context;
use embedded_postgres::{Directories, Options, Progress, Search, Server};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::console;

/// A checkpoint in the middle of a run would be another measurement.
const SETTINGS: [(&str, &str); 2] = [("max_wal_size", "8GB"), ("autovacuum_naptime", "5s")];

/// What differs from the demo's own server, for the head of the report.
pub const SETTINGS_TEXT: &str = "as the demo's (fsync on, wal_level=logical, autovacuum_naptime=5s), max_wal_size=8GB";

/// A running server; it ends, with its files, when this is dropped.
pub struct Postgres(Server);

impl Postgres {
    /// Finds or fetches the binaries and starts a server on files of its own.
    pub async fn start(binaries: Option<PathBuf>) -> anyhow::Result<Self> {
        Self::start_with(binaries, &[]).await
    }

    /// Starts one, measures on it, and stops it whatever came of that. Gives what was measured, and the server's version.
    pub async fn lend<T>(
        binaries: Option<PathBuf>,
        measure: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, String)> {
        let postgres = Self::start(binaries).await?;
        let measured = measure(&postgres).await;
        let version = version(&postgres.url("postgres")).await;
        postgres.stop().await;
        Ok((measured?, version?))
    }

    /// As [`Postgres::start`], with more settings.
    pub async fn start_with(binaries: Option<PathBuf>, more: &[(&str, &str)]) -> anyhow::Result<Self> {
        let directories = Directories::of_this_user()?;
        let progress = Progress::new(console::progress);
        let search = Search { named: binaries, data_dir: None, ..Search::new(&directories) };
        let binaries = search.find_or_fetch(&progress).await?;
        let options = Options {
            temporary: true,
            settings: SETTINGS.iter().chain(more).map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            progress,
            ..Options::durable(directories.cache.join(format!("bench-{}", std::process::id())))
        };
        let server = tokio::task::spawn_blocking(move || Server::start(&binaries, &options)).await??;
        Ok(Self(server))
    }

    /// The address of a database on it.
    pub fn url(&self, database: &str) -> String {
        self.0.url(database)
    }

    /// Its first process.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Stops it and removes its files.
    pub async fn stop(self) {
        let _ = tokio::task::spawn_blocking(move || self.0.stop()).await;
    }
}

/// Creates a database beside the one at `url`, and says where it is.
pub async fn create_database(url: &str, name: &str) -> anyhow::Result<String> {
    let mut server = PgConnection::connect(url).await.context("connecting to PostgreSQL")?;
    sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut server).await?;
    server.close().await?;
    replace_database(url, name)
}

/// Removes it again.
pub async fn drop_database(url: &str, name: &str) -> anyhow::Result<()> {
    let mut server = PgConnection::connect(url).await?;
    sqlx::query(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).execute(&mut server).await?;
    Ok(server.close().await?)
}

/// "PostgreSQL 18.1 …", as far as the comma.
pub async fn version(url: &str) -> anyhow::Result<String> {
    let mut server = PgConnection::connect(url).await?;
    let version: String = sqlx::query_scalar("select version()").fetch_one(&mut server).await?;
    server.close().await?;
    Ok(version.split(" on ").next().unwrap_or_default().to_owned())
}

fn replace_database(url: &str, name: &str) -> anyhow::Result<String> {
    let (base, options) = url.split_once('?').map_or((url, ""), |(base, options)| (base, options));
    let after_scheme = base.find("://").context("not a postgres:// address")? + 3;
    let path = base[after_scheme..].find('/').map_or(base.len(), |slash| after_scheme + slash);
    let options = if options.is_empty() { String::new() } else { format!("?{options}") };
    Ok(format!("{}/{name}{options}", &base[..path]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_of_the_same_server_keeps_the_rest_of_the_address() {
        for (url, other) in [
            ("postgres://me:pw@127.0.0.1:5432/roomcast", "postgres://me:pw@127.0.0.1:5432/bench"),
            ("postgres://127.0.0.1:5432", "postgres://127.0.0.1:5432/bench"),
            ("postgres://127.0.0.1/x?sslmode=disable", "postgres://127.0.0.1/bench?sslmode=disable"),
        ] {
            assert_eq!(replace_database(url, "bench").unwrap(), other);
        }
    }
}

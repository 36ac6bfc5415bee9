//! Databases for tests: one server a run, one database a test.
//!
//! The server is `$ROOMCAST_TEST_DATABASE_URL` when set (`with-postgres` sets it, so that all test processes of a run
//! share one); else this process gets its own, which ends with it. Migrations are applied once per server to a template
//! that every test's database is copied from. Databases live as long as their server. Failures panic: a test can do
//! nothing about them.

use std::{
    collections::HashSet,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use sha2::{Digest, Sha256};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{Binaries, Directories, Error, Options, Progress, Search, Server};

/// Address of a superuser on a server that the tests of a run share.
pub const SERVER_VARIABLE: &str = "ROOMCAST_TEST_DATABASE_URL";

/// Any number that nothing else locks on the test server.
const TEMPLATE_LOCK: i64 = 0x726f_6f6d_6361_7374;

/// What tests try that the product does without: transactions of others that are prepared.
const TEST_SETTINGS: [(&str, &str); 1] = [("max_prepared_transactions", "8")];

/// A database of one test's own.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    /// Connections to it.
    pub pool: PgPool,
    /// Its address, for what connects by itself.
    pub url: String,
}

/// A fresh database with `migrator` applied.
pub async fn database(migrator: &'static Migrator) -> TestDatabase {
    let server = server_url().await;
    database_on(&server, migrator).await
}

/// As [`database`], on a server the test has to itself (see [`private_server`]).
pub async fn database_on(server: &str, migrator: &'static Migrator) -> TestDatabase {
    let template = template(server, migrator).await;
    let name = format!("test_{:016x}", rand::random::<u64>());
    let mut admin = connect(server, "postgres").await;
    admin
        .execute(AssertSqlSafe(format!("create database {name} template {template}")))
        .await
        .expect("create the test's database");
    admin.close().await.expect("close the connection");

    let options = options(server, &name);
    let url = options.to_url_lossy().to_string();
    let pool = PgPoolOptions::new()
        .max_connections(10)
        .acquire_timeout(Duration::from_secs(30))
        .connect_with(options)
        .await
        .expect("connect to the test's database");
    TestDatabase { pool, url }
}

/// Address of the server that [`database`] uses.
pub async fn server_url() -> String {
    static OWN: OnceLock<Server> = OnceLock::new();
    if let Ok(url) = env::var(SERVER_VARIABLE) {
        return url;
    }
    let start = || OWN.get_or_init(|| temporary_server().expect("start a PostgreSQL for the tests")).url("postgres");
    tokio::task::spawn_blocking(start).await.expect("start a PostgreSQL for the tests")
}

/// A server that this test may stop, kill and restart. It ends, with its files, when dropped.
pub async fn private_server() -> Server {
    tokio::task::spawn_blocking(|| temporary_server().expect("start a PostgreSQL for this test"))
        .await
        .expect("start a PostgreSQL for this test")
}

/// The same in a directory that the caller names, such as one on a disk of its own. Removes it at the end.
pub async fn private_server_in(directory: &Path) -> Server {
    let directory = directory.to_owned();
    let start = move || Server::start(&binaries()?, &Options::temporary(directory));
    tokio::task::spawn_blocking(start)
        .await
        .expect("start a PostgreSQL for this test")
        .expect("start a PostgreSQL for this test")
}

/// A small disk of a test's own, in memory. It is gone when dropped.
#[derive(Debug)]
pub struct Disk(PathBuf);

impl Disk {
    /// So many megabytes. None, and said: this machine lets nobody mount one.
    #[expect(clippy::print_stderr, reason = "a test that is skipped has to say so")]
    pub fn mount(megabytes: u32) -> Option<Self> {
        let place = Directories::scratch().join(format!("roomcast-disk-{:016x}", rand::random::<u64>()));
        fs::create_dir(&place).expect("a directory for the disk");
        let size = format!("size={megabytes}m,mode=755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&place).output();
        if mounted.as_ref().is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(place));
        }
        eprintln!("SKIPPED: this test fills a disk, and none may be mounted here: {mounted:?}");
        let _ = fs::remove_dir(&place);
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes all the room there is, by the file that it gives.
    pub fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut ballast = fs::File::create(&path).expect("a file on the disk");
        while ballast.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

/// Starts a server that is not durable and leaves nothing behind. Blocks.
pub fn temporary_server() -> Result<Server, Error> {
    let directory = tempfile::Builder::new()
        .prefix("roomcast-postgres-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in(Directories::scratch())
        .map_err(|source| Error::Io { what: "create a temporary directory".to_owned(), source })?;
    let settings = TEST_SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let options = Options { settings, ..Options::temporary(directory.path()) };
    let server = Server::start(&binaries()?, &options)?;
    let _ = directory.keep(); // the server removes it
    Ok(server)
}

/// The usual search, reported on standard error as a download may take its time. Blocks.
pub fn binaries() -> Result<Binaries, Error> {
    let search = Search { data_dir: None, ..Search::new(&Directories::of_this_user()?) };
    #[expect(clippy::print_stderr, reason = "tests have no other place to say that they wait")]
    let progress = Progress::new(|step| eprintln!("{step}"));
    let look = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime
            .map_err(|source| Error::Io { what: "start a runtime".to_owned(), source })?
            .block_on(search.find_or_fetch(&progress))
    };
    // A thread of its own, as the caller's may belong to a runtime already.
    std::thread::spawn(look).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The name of a database with the migrations applied, made once per server and set of migrations.
async fn template(server: &str, migrator: &'static Migrator) -> String {
    static MADE: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let name = format!("template_{}", fingerprint(migrator));
    let known = format!("{server} {name}");
    if MADE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().contains(&known) {
        return name;
    }
    // On a blocking thread, as the future of `Migrator::run` cannot move between threads and a test may want to spawn.
    let runtime = tokio::runtime::Handle::current();
    let (server, template) = (server.to_owned(), name.clone());
    let make = move || runtime.block_on(make_template(&server, &template, migrator));
    tokio::task::spawn_blocking(make).await.expect("make the template");
    MADE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(known);
    name
}

/// Several test processes share a server, hence the lock; a process may die in the middle, hence the rename at the end.
async fn make_template(server: &str, name: &str, migrator: &Migrator) {
    let mut admin = connect(server, "postgres").await;
    sqlx::query("select pg_advisory_lock($1)").bind(TEMPLATE_LOCK).execute(&mut admin).await.expect("lock");
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(&mut admin)
        .await
        .expect("look for the template");
    if !exists {
        let unfinished = format!("unfinished_{name}");
        let run = async |admin: &mut PgConnection, sql: String| {
            admin.execute(AssertSqlSafe(sql)).await.expect("make the template");
        };
        run(&mut admin, format!("drop database if exists {unfinished} with (force)")).await;
        run(&mut admin, format!("create database {unfinished}")).await;
        let mut database = connect(server, &unfinished).await;
        migrator.run(&mut database).await.expect("apply the migrations");
        database.close().await.expect("close the connection");
        run(&mut admin, format!("alter database {unfinished} rename to {name}")).await;
    }
    admin.close().await.expect("close the connection"); // which unlocks
}

fn fingerprint(migrator: &Migrator) -> String {
    let mut hash = Sha256::new();
    for migration in migrator.iter() {
        hash.update(migration.version.to_be_bytes());
        hash.update(&migration.checksum);
    }
    hex::encode(&hash.finalize()[..8])
}

fn options(server: &str, database: &str) -> PgConnectOptions {
    PgConnectOptions::from_str(server).expect("a postgres:// address").database(database)
}

async fn connect(server: &str, database: &str) -> PgConnection {
    PgConnection::connect_with(&options(server, database)).await.expect("connect to the test server")
}

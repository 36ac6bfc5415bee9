//! What these tests share: places, patience, and programs that can be killed.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use embedded_postgres::{Binaries, Error, Options, Server, testkit};
use nix::unistd::geteuid;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

/// `nobody` on every common system.
pub(crate) const NOBODY: u32 = 65534;

/// A directory that the user PostgreSQL runs as can reach, also when the tests run as root.
pub(crate) fn scratch() -> TempDir {
    let parent = if geteuid().is_root() { "/var/tmp".into() } else { std::env::temp_dir() };
    let directory = tempfile::Builder::new().prefix("roomcast-test-").tempdir_in(parent).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

pub(crate) fn binaries() -> Binaries {
    testkit::binaries().unwrap()
}

pub(crate) async fn start(options: Options) -> Result<Server, Error> {
    tokio::task::spawn_blocking(move || Server::start(&binaries(), &options)).await.unwrap()
}

pub(crate) async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

pub(crate) async fn write_note(url: &str, text: &str) {
    let mut connection = connect(url).await;
    sqlx::raw_sql("create table if not exists note (text text not null)").execute(&mut connection).await.unwrap();
    sqlx::query("insert into note (text) values ($1)").bind(text).execute(&mut connection).await.unwrap();
}

pub(crate) async fn notes(url: &str) -> Vec<String> {
    sqlx::query_scalar("select text from note order by text").fetch_all(&mut connect(url).await).await.unwrap()
}

/// Whether somebody accepts connections at this address.
pub(crate) fn answers(url: &str) -> bool {
    let address = url.rsplit('@').next().unwrap().split('/').next().unwrap();
    TcpStream::connect(address).is_ok()
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "waited 30 s in vain: {what}");
        sleep(Duration::from_millis(10));
    }
}

/// `with-postgres` around a command that lives until this is dropped.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Program {
    pub(crate) fn start(options: &[&Path]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_with-postgres"));
        command.args(options);
        Self::run(command)
    }

    /// A copy of the program, as an ordinary user with a home in `home`.
    pub(crate) fn start_as_nobody(home: &Path) -> Self {
        let program = home.join("with-postgres");
        fs::copy(env!("CARGO_BIN_EXE_with-postgres"), &program).unwrap();
        std::os::unix::fs::chown(home, Some(NOBODY), Some(NOBODY)).unwrap();
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(home.join("data")).uid(NOBODY).gid(NOBODY).current_dir(home);
        command.env("HOME", home).env("TMPDIR", home).env_remove("XDG_DATA_HOME").env_remove("XDG_CACHE_HOME");
        command.env("ROOMCAST_POSTGRES_BIN", binaries().directory);
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        // `cat` ends with its standard input, so it does not outlive this test even when its parent is killed.
        command.args(["sh", "-c", r#"echo "$DATABASE_URL"; exec cat"#]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("postgres://"), "with-postgres gave no address: {url:?}");
        Self { child, url: url.trim().to_owned() }
    }

    /// SIGKILL: no destructor, no handler, nothing runs.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The shell that stops the server when the program is gone.
    #[cfg(target_os = "linux")]
    pub(crate) fn caretaker(&self) -> i32 {
        let named = |pid: i32| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains("postgres-caretaker"))
        };
        children(self.child.id()).into_iter().find(|pid| named(*pid)).expect("a caretaker")
    }
}

#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<i32> {
    let parent_of = |pid: i32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
    };
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

/// The temporary data directories in `parent`.
pub(crate) fn entries(parent: &Path) -> Vec<PathBuf> {
    fs::read_dir(parent).unwrap().flatten().map(|entry| entry.path()).collect()
}

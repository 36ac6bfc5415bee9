//! One Kafka with one Connect for all tests of this program, and a PostgreSQL whose slots nobody else crowds.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use debezium::{Bundle, Options, Stack};
use embedded_postgres::{
    Directories, Progress, Server,
    testkit::{self, TestDatabase},
};
use tokio::{sync::OnceCell, time::timeout};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) async fn stack() -> &'static Stack {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    #[expect(clippy::print_stderr, reason = "a download may take its time")]
    let start = async || {
        let cache = Directories::of_this_user().unwrap().cache;
        let bundle = Bundle::find_or_fetch(&cache, &Progress::new(|step| eprintln!("{step}"))).await.unwrap();
        // Its caretaker removes the directory when this program ends.
        Stack::start(&bundle, &Options::temporary(scratch())).await.unwrap()
    };
    STACK.get_or_init(start).await
}

pub(crate) async fn database() -> TestDatabase {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    let server = SERVER.get_or_init(testkit::private_server).await;
    testkit::database_on(&server.url("postgres"), &backend::MIGRATOR).await
}

/// A directory that the user Kafka runs as can reach, also when the tests run as root.
fn scratch() -> PathBuf {
    let parent = if fs::exists("/var/tmp").unwrap() { "/var/tmp".into() } else { std::env::temp_dir() };
    let directory = tempfile::Builder::new().prefix("roomcast-test-").tempdir_in(parent).unwrap().keep();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// Until this is so. What it says is where it waited in vain.
#[track_caller]
pub(crate) fn until(wanted: impl AsyncFn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let wait = async {
            while !wanted().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain at {caller}"));
    }
}

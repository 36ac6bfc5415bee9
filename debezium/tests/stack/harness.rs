//! What these tests share: one stack, one server, databases, and the records of a topic.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    process::Stdio,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use debezium::{Bundle, Connector, Kind, Options, Profile, Stack};
use embedded_postgres::{
    Directories, Progress, Server,
    testkit::{self, TestDatabase},
};
use serde_json::Value;
use sqlx::{Executor, PgExecutor};
use tempfile::TempDir;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The rooms of a test's database are 96 to 111, whose partitions are 0 to 15.
pub(crate) const FIRST_ROOM: i64 = 96;

pub(crate) async fn bundle() -> Bundle {
    static BUNDLE: OnceCell<Bundle> = OnceCell::const_new();
    #[expect(clippy::print_stderr, reason = "a download may take its time")]
    let fetch = async || {
        let cache = Directories::of_this_user().unwrap().cache;
        Bundle::find_or_fetch(&cache, &Progress::new(|step| eprintln!("{step}"))).await.unwrap()
    };
    BUNDLE.get_or_init(fetch).await.clone()
}

/// A directory that the user Kafka runs as can reach, also when the tests run as root.
pub(crate) fn scratch() -> TempDir {
    let parent = if nix::unistd::geteuid().is_root() { "/var/tmp".into() } else { std::env::temp_dir() };
    let directory = tempfile::Builder::new().prefix("roomcast-test-").tempdir_in(parent).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

async fn shared() -> &'static RwLock<Stack> {
    static STACK: OnceCell<RwLock<Stack>> = OnceCell::const_new();
    let start = async || {
        let options = Options::temporary(scratch().keep()); // its caretaker removes it
        RwLock::new(Stack::start(&bundle().await, &options).await.unwrap())
    };
    STACK.get_or_init(start).await
}

/// The stack, together with others.
pub(crate) async fn stack() -> RwLockReadGuard<'static, Stack> {
    shared().await.read().await
}

/// The stack, to disturb it.
pub(crate) async fn stack_alone() -> RwLockWriteGuard<'static, Stack> {
    shared().await.write().await
}

/// The product's tables, with one person in a room of each partition, on a server that no other program's slots can crowd.
pub(crate) async fn database() -> TestDatabase {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    let server = SERVER.get_or_init(testkit::private_server).await;
    let database = testkit::database_on(&server.url("postgres"), &backend::MIGRATOR).await;
    let people_and_rooms = "
        insert into users (username, name, password_hash) values ('alice', 'Alice', '');
        insert into rooms (id, name, member_count) overriding system value
            select id, 'room ' || id, 1 from generate_series(96, 111) id;
        insert into members (room_id, user_id) select r.id, u.id from rooms r, users u;
        create table elsewhere (text text not null) -- what else happens in a database";
    database.pool.execute(people_and_rooms).await.unwrap();
    database
}

/// A connector of the product, as it is. Each may be used by one test only, as names and topics are those of the product.
pub(crate) fn connector(kind: Kind, database: &TestDatabase) -> Connector {
    Connector::render(kind, Profile::Tuned, &database.url.parse().unwrap()).unwrap()
}

/// The rows connector under names of its own.
pub(crate) fn rows_as(tag: &str, database: &TestDatabase) -> Connector {
    connector(Kind::Rows, database)
        .with("name", &format!("rows-{tag}"))
        .with("slot.name", &format!("rows_{tag}"))
        .with("publication.name", &format!("rows_{tag}"))
        .with("topic.prefix", tag)
        .with("predicates.row.pattern", &format!("{tag}\\.public\\.chat_cdc"))
}

/// Writes `count` rows of `chat_cdc`, as [`post`] does.
pub(crate) async fn write_rows(database: &TestDatabase, text: &str, count: i64) {
    post(&database.pool, "cdc", text, count).await;
}

/// Posts `count` messages through the product's own function, to partitions 0, 1, 2, ... 15, 0 and so on, all in one
/// transaction. The text is `<text><number>`.
pub(crate) async fn post(connection: impl PgExecutor<'_>, mode: &str, text: &str, count: i64) {
    let statuses: Vec<String> = sqlx::query_scalar(
        "select (post_messages($1 + n % 16, array[u.id], array[$2 || n], array[gen_random_uuid()], array[$3])).status
           from users u, generate_series(0, $4 - 1) n",
    )
    .bind(FIRST_ROOM)
    .bind(text)
    .bind(mode)
    .bind(count)
    .fetch_all(connection)
    .await
    .unwrap();
    assert_eq!(statuses, vec!["new"; usize::try_from(count).unwrap()]);
}

/// One record of a topic.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) partition: u32,
    pub(crate) headers: String,
    pub(crate) key: String,
    pub(crate) value: Value,
}

impl Record {
    /// `Partition:1\tid:…,eventType:…\tkey\tvalue`
    fn read(line: &str) -> Self {
        let mut parts = line.splitn(4, '\t');
        let mut next = || parts.next().unwrap_or_else(|| panic!("not a record: {line}"));
        Self {
            partition: next().trim_start_matches("Partition:").parse().unwrap(),
            headers: next().to_owned(),
            key: next().to_owned(),
            value: serde_json::from_str(next()).unwrap(),
        }
    }

    /// The command that travels: `payload` of a row, or of what a logical message holds, or the whole of an event.
    pub(crate) fn command(&self) -> Value {
        if let Some(row) = self.value["payload"].as_str() {
            serde_json::from_str(row).unwrap()
        } else if let Some(content) = self.value["message"]["content"].as_str() {
            let content: Value = serde_json::from_slice(&STANDARD.decode(content).unwrap()).unwrap();
            content["payload"].clone()
        } else {
            self.value.clone()
        }
    }

    /// The text that [`post`] wrote.
    pub(crate) fn text(&self) -> String {
        self.command()["data"]["text"].as_str().unwrap().to_owned()
    }
}

/// The records of a topic from its beginning: as many as are wanted, or fewer after a while without any more.
///
/// A consumer that comes while a broker takes its group's place up again may end with nothing: another one is sent.
pub(crate) async fn records(stack: &Stack, topic: &str, wanted: usize) -> Vec<Record> {
    let mut records = consume(stack, topic, wanted).await;
    for _ in 0..2 {
        if records.len() >= wanted {
            break;
        }
        records = consume(stack, topic, wanted).await;
    }
    records
}

async fn consume(stack: &Stack, topic: &str, wanted: usize) -> Vec<Record> {
    let mut command =
        tokio::process::Command::from(bundle().await.tool("org.apache.kafka.tools.consumer.ConsoleConsumer"));
    command.args(["--bootstrap-server", &stack.bootstrap_servers(), "--topic", topic, "--from-beginning"]);
    command.args(["--max-messages", &wanted.to_string(), "--timeout-ms", "20000"]);
    for part in ["partition", "headers", "key"] {
        command.args(["--formatter-property", &format!("print.{part}=true")]);
    }
    let output = command.stderr(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("Partition:"))
        .map(Record::read)
        .collect()
}

/// Each room in one partition of Kafka, its versions ascending there. Within a partition, records come in its order.
pub(crate) fn assert_rooms_are_in_order(records: &[Record]) {
    let mut last = BTreeMap::new();
    for record in records {
        let command = record.command();
        let version = command["version"].as_i64().unwrap();
        let channel = command["channel"].as_str().unwrap().to_owned();
        let before = last.insert(channel, (record.partition, version));
        let (partition, newest) = before.unwrap_or((record.partition, 0));
        assert!(
            partition == record.partition && newest < version,
            "after version {newest} in partition {partition}: {record:?}"
        );
    }
}

pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds().await {
        assert!(Instant::now() < deadline, "waited 60 s in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many slots and publications of this name there are.
pub(crate) async fn left_in_postgres(database: &TestDatabase, name: &str) -> i64 {
    sqlx::query_scalar(
        "select (select count(*) from pg_replication_slots where slot_name = $1) + (select count(*) from pg_publication where pubname = $1)",
    )
    .bind(name)
    .fetch_one(&database.pool)
    .await
    .unwrap()
}

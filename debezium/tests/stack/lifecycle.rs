//! Data that stays, programs that die.

use std::{
    io::Write,
    process::Stdio,
    time::{Duration, Instant},
};

use debezium::{Addresses, Error, Options, Part, Stack};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpStream,
    process::Command,
};

use crate::harness::{bundle, database, eventually, rows_as, scratch};

const DIRECTORY: &str = "ROOMCAST_TEST_STACK";

async fn listens(address: &str) -> bool {
    TcpStream::connect(address.trim_start_matches("http://")).await.is_ok()
}

#[tokio::test]
async fn no_jvm_outlives_a_killed_program_and_the_next_one_finds_its_connectors() {
    let (place, database) = (scratch(), database().await);
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lifecycle::a_program_with_a_stack", "--ignored", "--nocapture"])
        .env(DIRECTORY, place.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().expect("the program says that it is up").contains("up") {}
    let addresses = Addresses::of_running(place.path()).expect("others find the stack");
    let connector = rows_as("kept", &database);
    debezium::Connect::new(&addresses.connect_url).apply(&connector).await.unwrap();
    let refused = Stack::start(&bundle().await, &Options::durable(place.path())).await.unwrap_err();
    assert!(matches!(refused, Error::InUse { .. }), "{refused}");

    program.kill().await.unwrap();

    eventually("Connect is gone", async || !listens(&addresses.connect_url).await).await;
    eventually("Kafka is gone", async || !listens(&addresses.bootstrap_servers).await).await;
    assert_eq!(Addresses::of_running(place.path()), None);

    let begin = Instant::now();
    let stack = Stack::start(&bundle().await, &Options::durable(place.path())).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(90));
    assert_eq!(stack.connect().names().await.unwrap(), [connector.name()]);
    assert!(stack.pid(Part::Kafka).is_some());
    stack.connect().remove(&connector, &database.pool).await.unwrap();
    let bootstrap_servers = stack.bootstrap_servers();
    stack.stop().await;
    assert!(!listens(&bootstrap_servers).await);
    assert_eq!(Addresses::of_running(place.path()), None);
}

/// Not a test: the program that the test above kills.
#[tokio::test]
#[ignore = "lives until it is killed"]
async fn a_program_with_a_stack() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let stack = Stack::start(&bundle().await, &Options::durable(directory)).await.unwrap();
    writeln!(std::io::stdout(), "up").unwrap();
    let _ = tokio::io::stdin().read(&mut [0]).await; // ends with its parent at the latest
    stack.stop().await;
}

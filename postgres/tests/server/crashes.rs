//! The program dies without a chance to tidy up.

use std::{fs, path::Path};

use embedded_postgres::Options;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::harness::{Program, answers, entries, eventually, notes, scratch, start, write_note};

#[tokio::test]
async fn a_killed_program_leaves_no_server_and_its_data_opens_again() {
    let place = scratch();
    let data = place.path().join("data");
    let mut program = Program::start(&[Path::new("--data-dir"), &data]);
    write_note(&program.url, "committed").await;

    program.kill();

    // At once: the next start must cope with a server that is still on its way out.
    let server = start(Options::durable(&data)).await.unwrap();
    assert_eq!(notes(&server.url("roomcast")).await, ["committed"]);
}

#[tokio::test]
async fn a_killed_program_takes_its_temporary_server_and_files_with_it() {
    let place = scratch();
    let data = place.path().join("data");
    let mut program = Program::start(&[Path::new("--data-dir"), &data, Path::new("--temporary")]);
    assert!(answers(&program.url));

    program.kill();

    eventually("the server is gone", || !answers(&program.url));
    eventually("its files are gone", || entries(place.path()).is_empty());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_lost_everyone_is_stopped_by_the_next_start() {
    let place = scratch();
    let data = place.path().join("data");
    let mut program = Program::start(&[Path::new("--data-dir"), &data]);
    write_note(&program.url, "committed").await;

    kill(Pid::from_raw(program.caretaker()), Signal::SIGKILL).unwrap();
    program.kill();
    assert!(answers(&program.url), "nobody was there to stop it, yet it is gone");

    let server = start(Options::durable(&data)).await.unwrap();
    assert_eq!(notes(&server.url("roomcast")).await, ["committed"]);
}

#[tokio::test]
async fn everything_killed_at_once_recovers_on_the_next_start() {
    let place = scratch();
    let data = place.path().join("data");
    let options = Options::durable(&data);
    let server = start(options.clone()).await.unwrap();
    write_note(&server.url("postgres"), "committed").await;
    let pgdata = data.join(format!("pg{}", server.binaries().major));
    server.kill().unwrap();
    // Dropping it finds a dead child and leaves the pid file, as a power cut would.
    drop(server);
    assert!(pgdata.join("postmaster.pid").exists());

    let server = start(options).await.unwrap();
    assert_eq!(notes(&server.url("postgres")).await, ["committed"]);
}

#[tokio::test]
async fn an_unfinished_initdb_is_done_again() {
    let place = scratch();
    let data = place.path().join("data");
    let unfinished = data.join(format!("pg{}.unfinished", crate::harness::binaries().major));
    fs::create_dir_all(&unfinished).unwrap();
    fs::write(unfinished.join("PG_VERSION"), "18").unwrap();

    start(Options::durable(&data)).await.unwrap();

    assert!(!unfinished.exists());
}

//! Start, stop, start again; one program at a time; what is on disk and who may connect.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, sync::Mutex, time::Duration};

use embedded_postgres::{Error, Options, Progress, Step, testkit, url_of_running};
use sqlx::{Connection, PgConnection};

use crate::harness::{answers, connect, notes, scratch, start, write_note};

#[tokio::test]
async fn data_survives_a_restart_and_fresh_starts_over() {
    let place = scratch();
    let options = Options::durable(place.path().join("data"));

    let server = start(options.clone()).await.unwrap();
    let first = server.url("postgres");
    write_note(&first, "kept").await;
    server.stop();
    assert!(!answers(&first), "the server still answers after stop");

    let server = start(options.clone()).await.unwrap();
    assert_eq!(notes(&server.url("postgres")).await, ["kept"]);
    server.stop();

    let server = start(Options { fresh: true, ..options }).await.unwrap();
    let tables: i64 = sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
        .fetch_one(&mut connect(&server.url("postgres")).await)
        .await
        .unwrap();
    assert_eq!(tables, 0, "fresh kept a table");
}

#[tokio::test]
async fn a_second_start_on_the_same_data_is_refused_and_says_who_uses_it() {
    let place = scratch();
    let options = Options::durable(place.path().join("data"));
    let server = start(options.clone()).await.unwrap();

    let error = start(options.clone()).await.unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("--data-dir") && text.contains(&std::process::id().to_string()), "{text}");

    let error = start(Options { fresh: true, ..options.clone() }).await.unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "fresh removed the data of a running server: {error}");
    connect(&server.url("postgres")).await.ping().await.unwrap();

    server.stop();
    start(options).await.unwrap();
}

#[tokio::test]
async fn another_program_finds_the_server_that_runs_and_none_that_does_not() {
    let place = scratch();
    let data = place.path().join("data");
    assert!(matches!(url_of_running(&data, "postgres"), Err(Error::NotRunning { .. })));
    let server = start(Options::durable(&data)).await.unwrap();
    assert_eq!(url_of_running(&data, "postgres").unwrap(), server.url("postgres"));
    server.stop();
    assert!(matches!(url_of_running(&data, "postgres"), Err(Error::NotRunning { .. })));
}

#[tokio::test]
async fn a_durable_server_is_durable_private_and_ready_for_logical_decoding() {
    let place = scratch();
    let data = place.path().join("data");
    let server = start(Options::durable(&data)).await.unwrap();
    let mut connection = connect(&server.url("postgres")).await;
    for (setting, expected) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("wal_level", "logical"),
        ("wal_writer_delay", "10ms"),
        ("max_connections", "200"),
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("password_encryption", "scram-sha-256"),
    ] {
        let value: String =
            sqlx::query_scalar("select current_setting($1)").bind(setting).fetch_one(&mut connection).await.unwrap();
        assert_eq!(value, expected, "{setting}");
    }
    let mode = fs::metadata(data.join("password")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "others can read the password");
    let stranger = format!("postgres://postgres:guess@127.0.0.1:{}/postgres", server.port());
    assert!(PgConnection::connect(&stranger).await.is_err(), "a wrong password was accepted");
}

#[tokio::test]
async fn settings_and_port_of_the_caller_are_used_and_steps_are_told() {
    let place = scratch();
    let told = Arc::new(Mutex::new(Vec::new()));
    let steps = Arc::clone(&told);
    let options = Options {
        settings: vec![("work_mem".into(), "7MB".into())],
        progress: Progress::new(move |step| steps.lock().unwrap().push(step)),
        ..Options::temporary(place.path().join("data"))
    };
    let server = start(options).await.unwrap();
    let work_mem: String =
        sqlx::query_scalar("show work_mem").fetch_one(&mut connect(&server.url("postgres")).await).await.unwrap();
    assert_eq!(work_mem, "7MB");
    let told = told.lock().unwrap().clone();
    assert!(matches!(told[..], [Step::Initialising { .. }, Step::Starting { .. }]), "{told:?}");
}

#[tokio::test]
async fn a_temporary_server_takes_its_files_with_it() {
    let place = scratch();
    let data = place.path().join("data");
    let server = start(Options::temporary(&data)).await.unwrap();
    assert!(data.is_dir());
    server.stop();
    assert!(!data.exists());
}

#[tokio::test]
async fn a_killed_server_is_noticed_and_restarts_on_its_port_with_its_data() {
    let mut server = testkit::private_server().await;
    let url = server.url("postgres");
    write_note(&url, "kept").await;

    server.kill().unwrap();
    tokio::time::timeout(Duration::from_secs(10), server.exited()).await.expect("nobody noticed").unwrap();
    assert!(!answers(&url));

    let server = tokio::task::spawn_blocking(move || server.restart().map(|()| server)).await.unwrap().unwrap();
    assert_eq!(server.url("postgres"), url);
    assert_eq!(notes(&url).await, ["kept"]);
}

#[tokio::test]
async fn letters_of_every_language_have_an_upper_case() {
    let server = testkit::private_server().await;
    let mut connection = connect(&server.url("postgres")).await;
    if server.binaries().major >= 17 {
        let upper: String =
            sqlx::query_scalar("select upper('zürich жизнь')").fetch_one(&mut connection).await.unwrap();
        assert_eq!(upper, "ZÜRICH ЖИЗНЬ");
    }
}

#[tokio::test]
async fn a_missing_password_is_named_instead_of_locking_everyone_out() {
    let place = scratch();
    let options = Options::durable(place.path().join("data"));
    start(options.clone()).await.unwrap().stop();
    fs::remove_file(place.path().join("data/password")).unwrap();
    let error = start(options.clone()).await.unwrap_err();
    assert!(matches!(error, Error::PasswordMissing(_)), "{error}");
    start(Options { fresh: true, ..options }).await.unwrap();
}

#[tokio::test]
async fn root_is_told_when_the_servers_user_can_not_reach_the_data() {
    if !nix::unistd::geteuid().is_root() {
        return; // an ordinary user runs the server as itself
    }
    let place = scratch();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let error = start(Options::durable(place.path().join("data"))).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

//! The command that lends a server to another command.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::harness::{Program, answers, eventually, notes, scratch, write_note};

fn with_postgres(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_with-postgres")).args(arguments).output().unwrap()
}

#[test]
fn the_exit_code_is_the_commands_and_the_server_is_gone_afterwards() {
    let output = with_postgres(&["sh", "-c", r#"echo "$ROOMCAST_TEST_DATABASE_URL"; exit 7"#]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let url = String::from_utf8(output.stdout).unwrap();
    assert!(url.starts_with("postgres://"), "{url}");
    assert!(!answers(url.trim()));
}

#[test]
fn a_command_that_does_not_exist_is_named() {
    let output = with_postgres(&["no-such-command"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-command"), "{output:?}");
}

#[tokio::test]
async fn migrations_are_applied_before_the_command_runs() {
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/migrations");
    let program = Program::start(&[Path::new("--migrations"), &migrations]);
    assert!(notes(&program.url).await.is_empty());
}

#[tokio::test]
async fn an_ordinary_user_has_a_server_too() {
    if !nix::unistd::geteuid().is_root() {
        return; // then every other test shows it
    }
    let place = scratch();
    let mut program = Program::start_as_nobody(place.path());
    write_note(&program.url, "mine").await;
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(place.path().join("data/password")).unwrap());
    assert_eq!(owner, crate::harness::NOBODY);

    program.kill();
    eventually("the server is gone", || !answers(&program.url));

    let again = Program::start_as_nobody(place.path());
    assert_eq!(notes(&again.url).await, ["mine"]);
}

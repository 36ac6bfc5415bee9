//! `roomcast read-model` as a process of its own, with the connector as it is shipped.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{
    chat::Chat,
    stack::{stack, until},
};

fn roomcast(chat: &Chat, brokers: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.arg("read-model").args(args).kill_on_drop(true).stdin(Stdio::null());
    command.env("DATABASE_URL", &chat.database.url).env("ROOMCAST_KAFKA_BROKERS", brokers);
    command
}

/// What a command says on standard output.
async fn told(chat: &Chat, brokers: &str, action: &str) -> String {
    let output = roomcast(chat, brokers, &[action]).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A consumer, and the first line that it says.
async fn consumer(chat: &Chat, brokers: &str) -> (Child, Lines<BufReader<ChildStdout>>, String) {
    let mut process =
        roomcast(chat, brokers, &["run", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    (process, lines, line)
}

#[tokio::test]
async fn a_consumer_that_is_killed_again_and_again_ends_as_the_truth_and_can_be_looked_at_and_rebuilt() {
    let chat = Chat::start_as_shipped().await;
    let brokers = stack().await.bootstrap_servers();
    // Somebody who is no writer of ours: the row is not what its type says.
    sqlx::query(
        "insert into chat_cdc (method, payload, partition, aggregate_id, event_type, mode)
         values ('publish', '{\"channel\": \"room:1\"}', 1, '1', 'message.text', 'cdc')",
    )
    .execute(chat.db())
    .await
    .unwrap();
    for _ in 0..3 {
        let (mut process, _lines, _) = consumer(&chat, &brokers).await;
        let before = chat.count("inbox_events").await;
        tokio::join!(chat.say(30), async {
            until(async || chat.count("inbox_events").await > before).await;
            process.kill().await.unwrap(); // kill -9, wherever it is
        });
    }
    let (process, mut lines, ready) = consumer(&chat, &brokers).await;
    chat.is_true().await;
    assert_eq!(chat.count("inbox_events").await, chat.count("messages").await);
    let rows = chat.rows().await;

    // It is put aside after the others of its batch are applied.
    until(async || chat.count("dead_letters").await > 0).await;
    let letter: (String, String) =
        sqlx::query_as("select source, reason from dead_letters").fetch_one(chat.db()).await.unwrap();
    assert!(letter.0.starts_with("events:room.events/") && letter.1.contains("not a publish request"), "{letter:?}");

    let address =
        ready.split_whitespace().find(|word| word.starts_with("http://")).unwrap().trim_end_matches(',').to_owned();
    let get = async |path: &str| reqwest::get(format!("{address}{path}")).await.unwrap();
    let ready = async || {
        // As a relay would. It sends nothing when it did so just before.
        sqlx::query("select send_probes(array['cdc'], 5)").execute(chat.db()).await.unwrap();
        get("/readyz").await.status().is_success()
    };
    assert!(!get("/readyz").await.status().is_success(), "nothing tells that the connector carries anything");
    until(ready).await;
    let metrics = get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("roomcast_events_total{topic=\"room.events\""), "{metrics}");

    until(async || told(&chat, &brokers, "status").await.contains("\n0 records wait")).await;
    let status = told(&chat, &brokers, "status").await;
    assert!(status.contains("rooms    5, and 5 in the truth; 0 differ"), "{status}");

    // Beside the running consumer.
    let rebuilt = told(&chat, &brokers, "rebuild").await;
    assert!(
        rebuilt.contains("All 5 rooms are as in the truth.") && rebuilt.contains("of them are dead letters"),
        "{rebuilt}"
    );
    assert_eq!(chat.rows().await, rows);
    // A line by another way is told as what it is.
    sqlx::query("select set_broadcast_mode('outbox')").execute(chat.db()).await.unwrap();
    sqlx::query(
        "select post_messages(room_id, array[user_id], array['aside'], array[gen_random_uuid()]) from members limit 1",
    )
    .execute(chat.db())
    .await
    .unwrap();
    let rebuilt = told(&chat, &brokers, "rebuild").await;
    assert!(
        rebuilt.contains("1 of 5 rooms are not as in the truth") && rebuilt.contains("went by outbox"),
        "{rebuilt}"
    );

    let id = process.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    let mut process = process;
    assert!(process.wait().await.unwrap().success(), "a clean stop");
    assert_eq!(lines.next_line().await.unwrap(), None);
}

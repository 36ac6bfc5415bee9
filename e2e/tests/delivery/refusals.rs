//! What the product refuses, and how clearly: at its start, at the socket, at the API.

use std::time::Duration;

use e2e::{App, Part, Process, Shape, TestClient};
use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::database;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn demo_secrets_are_refused_where_others_can_reach_them() {
    let refusal = Process::start(&["demo", "--listen", "0.0.0.0:0"]).await.err().map(|e| e.to_string());
    let refusal = refusal.expect("it does not start");
    assert!(refusal.contains("ROOMCAST_TOKEN_SECRET"), "{refusal}");
}

#[tokio::test]
async fn a_database_with_other_partitions_is_refused_by_the_settings_name() {
    let database = database().await;
    let args = ["demo", "--listen", "127.0.0.1:0", "--database-url", &database.url, "--partitions", "8"];
    let refusal = Process::start(&args).await.err().map(|e| e.to_string()).expect("it does not start");
    assert!(refusal.contains("ROOMCAST_PARTITIONS"), "{refusal}");
}

/// The first answer to these commands: a JSON reply, or the close code and its reason.
async fn answer(url: &str, commands: &str) -> anyhow::Result<Result<Value, (u16, String)>> {
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    socket.send(Message::text(commands)).await?;
    while let Some(message) = socket.next().await {
        match message? {
            Message::Text(text) => {
                let last = text.lines().last().unwrap_or_default();
                return Ok(Ok(serde_json::from_str(last)?));
            }
            Message::Close(Some(close)) => return Ok(Err((close.code.into(), close.reason.to_string()))),
            _ => {}
        }
    }
    anyhow::bail!("the socket ended without a word")
}

#[tokio::test]
async fn tokens_frames_and_strangers_are_refused_with_a_clear_code() -> anyhow::Result<()> {
    let database = database().await;
    let app = App::start(Shape::OneProcess, &database.url).await?;
    let (alice, bob) = (app.person("alice").await?, app.person("bob").await?);
    let room = alice.create_room("Private").await?;
    let url = app.websocket();

    let forged = json!({ "id": 1, "connect": { "token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0." } }).to_string();
    assert_eq!(answer(&url, &forged).await?, Err((3500, "invalid token".to_owned())));
    let missing = json!({ "id": 1, "connect": {} }).to_string();
    assert_eq!(answer(&url, &missing).await?.map_err(|(code, _)| code), Err(3501));
    assert_eq!(answer(&url, "{not json").await?.map_err(|(code, _)| code), Err(3501));

    let token = bob.token().await?;
    let commands = [
        json!({ "id": 1, "connect": { "token": token } }).to_string(),
        json!({ "id": 2, "subscribe": { "channel": format!("room:{room}") } }).to_string(),
    ];
    let (mut socket, _) = tokio_tungstenite::connect_async(&url).await?;
    socket.send(Message::text(commands.join("\n"))).await?;
    let mut refused = None;
    while refused.is_none() {
        let Some(Message::Text(text)) = socket.next().await.transpose()? else { continue };
        let replies: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        refused = replies.into_iter().find(|reply| reply["id"] == 2);
    }
    assert_eq!(refused.map(|reply| reply["error"]["code"].clone()), Some(json!(103)));

    let stranger = bob.request(reqwest::Method::GET, &format!("/api/rooms/{room}/messages")).send().await?;
    assert_eq!(stranger.status(), reqwest::StatusCode::FORBIDDEN);
    assert_eq!(stranger.headers()["content-type"], "application/problem+json");
    Ok(())
}

/// A failover as sessions see it: all of them end, and those that are opened next take no writes, for some time.
async fn a_database_without_writes_is_told_once(shape: Shape) -> anyhow::Result<()> {
    let database = database().await;
    let app = App::start(shape, &database.url).await?;
    let alice = app.person("alice").await?;
    let room = alice.create_room("Failover").await?;
    let channel = format!("room:{room}");
    let mut client = TestClient::connect(&alice, &app.websocket()).await?;
    client.caught_up(&channel, 1, SOON).await?;

    let mut db = PgConnection::connect(&database.url).await?;
    let mut run = async |sql: &'static str| sqlx::raw_sql(sql).execute(&mut db).await.map(drop);
    run("do $$ begin execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$").await?;
    run("select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'")
    .await?;
    let path = format!("/api/rooms/{room}/messages");
    // Whoever meets a session that has just ended hears that the database is away.
    while alice.request(Method::GET, &path).send().await?.status() != 200 {}
    for number in 0..50 {
        let message = json!({ "text": format!("refused {number}"), "client_id": uuid::Uuid::new_v4() });
        let answer = alice.request(Method::POST, &path).json(&message).send().await?;
        let (status, wait) = (answer.status(), answer.headers().get("retry-after").cloned());
        let problem: Value = answer.json().await?;
        assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("database_read_only")), "{problem}");
        assert_eq!(wait.as_ref().and_then(|wait| wait.to_str().ok()), Some("2"));
    }
    let ready = reqwest::get(format!("http://{}/readyz", app.http())).await?;
    assert_eq!(
        (ready.status().as_u16(), ready.json::<Value>().await?["parts"]["database"]["ready"].clone()),
        (503, json!(false))
    );
    run("do $$ begin execute format('alter database %I reset default_transaction_read_only', current_database()); end $$").await?;

    let ready = async {
        while !reqwest::get(format!("http://{}/readyz", app.http())).await.is_ok_and(|answer| answer.status() == 200) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(SOON, ready).await?;
    for number in 0..10 {
        alice.say(room, &format!("written {number}")).await?;
    }
    client.caught_up(&channel, 11, SOON).await?;
    assert_eq!(client.journal(&channel).faults, Vec::<String>::new());

    let log = app.log(Part::Backend);
    let told = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!((told("the database refuses"), told("the database takes requests again")), (1, 1), "{log}");
    assert_eq!(told("ERROR"), 0, "{log}");
    assert!(told(" WARN ") < 10, "a line a trouble, not a line a request:\n{log}");
    Ok(())
}

#[tokio::test]
async fn a_database_without_writes_is_told_once_by_one_process() -> anyhow::Result<()> {
    a_database_without_writes_is_told_once(Shape::OneProcess).await
}

#[tokio::test]
async fn a_database_without_writes_is_told_once_by_three_processes() -> anyhow::Result<()> {
    a_database_without_writes_is_told_once(Shape::Split).await
}

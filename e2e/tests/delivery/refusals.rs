//! What the product refuses, and how clearly: at its start, at the socket, at the API.

use e2e::{App, Process, Shape};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::database;

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

//! Who may open a socket, and how many.

use reqwest::StatusCode;
use serde_json::json;

use crate::{TestHub, http, token};

async fn upgrade(hub: &TestHub, origin: &str) -> StatusCode {
    let request = http().get(format!("http://{}/connection/websocket", hub.address)).header("origin", origin);
    let request = request.header("connection", "upgrade").header("upgrade", "websocket");
    let request = request.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let hub = TestHub::start().await;
    assert_eq!(upgrade(&hub, "http://localhost:3000").await, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(upgrade(&hub, "https://evil.example.org").await, StatusCode::FORBIDDEN);
    let hub = TestHub::start_with(|config| config.allowed_origins = vec!["https://*.example.org".into()]).await;
    assert_eq!(upgrade(&hub, "https://chat.example.org").await, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(upgrade(&hub, "http://localhost:3000").await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_hub_takes_so_many_sockets_and_no_more() {
    let hub = TestHub::start_with(|config| config.connection_limit = 1).await;
    let (_one, _) = hub.connect("7").await;
    assert_eq!(upgrade(&hub, "http://localhost").await, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_user_has_so_many_connections_and_no_more() {
    let hub = TestHub::start_with(|config| config.user_connection_limit = 1).await;
    let (one, _) = hub.connect("7").await;
    let (_other, _) = hub.connect("8").await;
    let mut second = hub.open().await;
    second.send(&json!({"id": 1, "connect": {"token": token("7")}})).await;
    assert_eq!(second.closed().await, (3504, "connection limit".into()));
    drop(one);
    crate::eventually("the place is free", async || {
        let mut next = hub.open().await;
        next.send(&json!({"id": 1, "connect": {"token": token("7")}})).await;
        matches!(next.incoming().await, crate::client::Incoming::Object(_)).then_some(())
    })
    .await;
}

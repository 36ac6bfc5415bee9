//! The connect command, the heartbeat and the end of a connection.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Client, LATER, SECRET, TestHub, client::Incoming, eventually, http, sign, token};

async fn closed_after_connect(token: &str) -> (u16, String) {
    let hub = TestHub::start().await;
    let mut client = hub.open().await;
    client.send(&json!({"id": 1, "connect": {"token": token}})).await;
    client.closed().await
}

#[tokio::test]
async fn a_good_token_opens_the_users_channels_in_one_reply() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    hub.truth.append(1);
    let (_client, connected) = hub.connect("7").await;
    assert!(!connected["client"].as_str().unwrap().is_empty());
    assert_eq!(connected["expires"], true);
    assert!(connected["ttl"].as_u64().unwrap() > 1_000_000);
    assert_eq!((&connected["ping"], &connected["pong"]), (&json!(25), &json!(true)));
    let room = json!({"recoverable": true, "epoch": "e1", "offset": 1, "positioned": true});
    assert_eq!(connected["subs"], json!({"room:1": room, "user:7": {}}));
}

#[tokio::test]
async fn a_token_without_an_end_gives_a_connection_without_one() {
    let hub = TestHub::start().await;
    let mut client = hub.open().await;
    let reply = client.ask(json!({"id": 1, "connect": {"token": sign(SECRET, &json!({"sub": "7"}))}})).await;
    assert_eq!((&reply["connect"]["expires"], &reply["connect"]["ttl"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn forged_malformed_and_unsigned_tokens_end_with_3500() {
    let invalid = (3500, "invalid token".to_owned());
    assert_eq!(closed_after_connect(&sign("other", &json!({"sub": "7", "exp": LATER}))).await, invalid);
    assert_eq!(closed_after_connect("garbage").await, invalid);
    let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiI3In0.";
    assert_eq!(closed_after_connect(unsigned).await, invalid);
}

#[tokio::test]
async fn a_missing_token_ends_with_3501() {
    assert_eq!(closed_after_connect("").await, (3501, "bad request".into()));
}

#[tokio::test]
async fn an_expired_token_is_an_error_and_leaves_the_socket_useless() {
    let hub = TestHub::start().await;
    let mut client = hub.open().await;
    let expired = sign(SECRET, &json!({"sub": "7", "exp": 1}));
    let reply = client.ask(json!({"id": 1, "connect": {"token": expired}})).await;
    assert_eq!(reply, json!({"id": 1, "error": {"code": 109, "message": "token expired"}}));
    client.send(&json!({"id": 2, "connect": {"token": token("7")}})).await;
    assert_eq!(client.closed().await.0, 3501);
}

#[tokio::test]
async fn an_authority_that_is_down_makes_the_client_come_back() {
    let hub = TestHub::start().await;
    hub.truth.down.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut client = hub.open().await;
    let reply = client.ask(json!({"id": 1, "connect": {"token": token("7")}})).await;
    assert_eq!(reply["error"], json!({"code": 100, "message": "internal server error", "temporary": true}));
}

#[tokio::test]
async fn the_first_command_is_connect_and_there_is_only_one() {
    let hub = TestHub::start().await;
    let mut client = hub.open().await;
    client.send(&json!({"id": 1, "subscribe": {"channel": "room:1"}})).await;
    assert_eq!(client.closed().await.0, 3501);
    let (mut client, _) = hub.connect("7").await;
    client.send(&json!({"id": 2, "connect": {"token": token("7")}})).await;
    assert_eq!(client.closed().await.0, 3501);
}

#[tokio::test]
async fn a_socket_that_says_nothing_is_stale() {
    let hub = TestHub::start_with(|config| config.stale_after = Duration::from_millis(200)).await;
    assert_eq!(hub.open().await.closed().await, (3502, "stale".into()));
}

#[tokio::test]
async fn pings_are_answered_or_the_connection_ends() {
    let hub = TestHub::start_with(|config| {
        config.ping_interval = Duration::from_millis(600);
        config.pong_timeout = Duration::from_millis(300);
    })
    .await;
    let (mut client, connected) = hub.connect("7").await;
    assert_eq!(connected["ping"], 1);
    client.answers_pings = false;
    for _ in 0..2 {
        assert_eq!(client.next().await, json!({}));
        client.send(&json!({})).await;
    }
    assert_eq!(client.closed().await, (3012, "no pong".into()));
}

#[tokio::test]
async fn a_pong_that_nobody_asked_for_ends_the_connection() {
    let hub = TestHub::start().await;
    let (mut client, _) = hub.connect("7").await;
    client.send(&json!({})).await;
    assert_eq!(client.closed().await.0, 3501);
}

#[tokio::test]
async fn a_token_is_refreshed_or_the_connection_expires() {
    let hub = TestHub::start_with(|config| config.expired_close_delay = Duration::ZERO).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let soon = sign(SECRET, &json!({"sub": "7", "exp": now + 2}));
    let (mut kept, mut lost) = (hub.open().await, hub.open().await);
    for client in [&mut kept, &mut lost] {
        client.ask(json!({"id": 1, "connect": {"token": soon}})).await;
    }
    let refreshed = kept.ask(json!({"id": 2, "refresh": {"token": token("7")}})).await;
    assert_eq!(refreshed["refresh"]["expires"], true);
    assert_eq!(lost.closed().await, (3005, "connection expired".into()));
    assert_eq!(kept.ask(json!({"id": 3, "rpc": {"method": "m"}})).await["error"]["code"], 108);
    kept.send(&json!({"id": 4, "refresh": {"token": token("8")}})).await;
    assert_eq!(kept.closed().await.0, 3500, "a token of somebody else");
}

#[tokio::test]
async fn a_stopping_hub_sends_everybody_elsewhere() {
    let hub = TestHub::start().await;
    let (mut one, _) = hub.connect("7").await;
    let mut unconnected = hub.open().await;
    let (stopped, one, other) = tokio::join!(hub.hub.stop(), one.closed(), unconnected.closed());
    assert_eq!(((), one.0, other.0), (stopped, 3001, 3001));
    assert!(!hub.hub.is_ready());
    let refused = http().get(format!("http://{}/connection/websocket", hub.address)).send().await.unwrap();
    assert_eq!(refused.status(), 426);
    assert_eq!(hub.attempt(hub.truth.append(1)).await.unwrap_err().code, 100);
}

#[tokio::test]
async fn a_client_that_closes_one_half_or_just_goes_is_forgotten() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    let (mut half, _) = hub.connect("7").await;
    half.socket.get_mut().shutdown().await.unwrap();
    let (gone, _) = hub.connect("7").await;
    drop(gone);
    let (mut polite, _) = hub.connect("7").await;
    polite.socket.close(None).await.unwrap();
    assert!(matches!(polite.incoming().await, Incoming::Closed(..) | Incoming::Cut));
    let client = http();
    eventually("no client and no channel is left", async || {
        let info = client.post(format!("http://{}/api/info", hub.address)).header("x-api-key", crate::KEY);
        let info: Value = info.send().await.unwrap().json().await.unwrap();
        let node = &info["result"]["nodes"][0];
        (node["num_clients"] == 0 && node["num_subs"] == 0 && node["num_users"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_no_upgrade_is_told_so() {
    let hub = TestHub::start().await;
    let reply = http().get(format!("http://{}/connection/websocket", hub.address)).send().await.unwrap();
    assert_eq!(reply.status(), 426);
    assert!(reply.text().await.unwrap().contains("WebSocket"));
}

#[tokio::test]
async fn the_subprotocol_is_echoed_and_bytes_sent_with_the_upgrade_are_read() {
    let hub = TestHub::start().await;
    let mut stream = tokio::net::TcpStream::connect(hub.address).await.unwrap();
    let command = json!({"id": 1, "connect": {"token": token("7")}}).to_string();
    let mut bytes = b"GET /connection/websocket HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n\
        Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: other, centrifuge-json\r\n\r\n"
        .to_vec();
    let length = u16::try_from(command.len()).unwrap().to_be_bytes();
    bytes.extend([0x81, 0xfe, length[0], length[1], 0, 0, 0, 0]);
    bytes.extend(command.as_bytes());
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(9).any(|part| part == b"\"connect\"") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{}", String::from_utf8_lossy(&answer));
    }
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
    assert!(answer.contains("sec-websocket-protocol: centrifuge-json"), "{answer}");
}

#[tokio::test]
async fn connect_and_subscribes_may_come_in_one_message() {
    let hub = TestHub::start().await;
    let mut client: Client = hub.open().await;
    let connect = json!({"id": 1, "connect": {"token": token("7")}});
    hub.truth.join("7", 3);
    client.send_text(&format!("{connect}\n{}", json!({"id": 2, "subscribe": {"channel": "room:4"}}))).await;
    assert!(client.next().await["connect"]["subs"]["room:3"].is_object());
    assert_eq!(client.next().await["error"]["code"], 103);
}

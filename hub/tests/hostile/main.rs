//! A thousand clients that mean no good beside a thousand good ones: these hear everything, those are gone in the end.
//!
//! A program of its own, so that its sockets are counted apart from those of the other tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod soak;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use hub::{Alone, ChannelOptions, Hub, HubConfig};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Mutex,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

const GOOD: usize = 1_000;
/// Of each kind.
const HOSTILE: usize = 200;
/// How much is said: more than the kernel holds for those who do not read.
const PUBLICATIONS: usize = 400;
const PUBLICATION: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_mins(4);

/// One test at a time: each looks at the whole process.
static ALONE: Mutex<()> = Mutex::const_new(());

type Socket = WebSocketStream<TcpStream>;

async fn start() -> (Hub, SocketAddr) {
    let open =
        ChannelOptions { allow_subscribe_for_client: true, allow_subscribe_for_anonymous: true, ..Default::default() };
    let config = HubConfig {
        shards: 1,
        token: hub::TokenRules::hmac("secret"),
        api_key: "key".into(),
        anonymous: true,
        stale_after: Duration::from_secs(5),
        close_wait: Duration::from_secs(1),
        queue_limit_bytes: 256 << 10,
        namespaces: BTreeMap::from([("all".to_owned(), open.clone()), ("one".to_owned(), open)]),
        ..HubConfig::default()
    };
    let hub = Hub::start(config, Arc::new(Alone)).unwrap();
    // Hundreds come at once: with tokio's own queue of 128 most of them would try again a second later.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1_024).unwrap();
    let address = listener.local_addr().unwrap();
    let router = hub.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (hub, address)
}

/// A connected client of `channel`, whose kernel reads only a little ahead.
async fn subscribed(address: SocketAddr, channel: &str) -> Socket {
    let mut socket = opened(address).await;
    let commands = [json!({"id": 1, "connect": {}}), json!({"id": 2, "subscribe": {"channel": channel}})];
    socket.send(Message::text(commands.map(|command| command.to_string()).join("\n"))).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(socket.next().await, Some(Ok(Message::Text(_)))));
    }
    socket
}

async fn opened(address: SocketAddr) -> Socket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let stream = socket.connect(address).await.unwrap();
    client_async(format!("ws://{address}/connection/websocket"), stream).await.unwrap().0
}

/// Hears everything, in order.
async fn good(mut socket: Socket) {
    let mut next = 0;
    while next < PUBLICATIONS / 20 {
        let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("a good client was closed at {next}") };
        for line in text.lines() {
            let object: Value = serde_json::from_str(line).unwrap();
            if object["push"]["pub"].is_object() {
                assert_eq!(object["push"]["pub"]["data"], next);
                next += 1;
            } else {
                socket.send(Message::text("{}")).await.unwrap(); // a ping
            }
        }
    }
    // Its connection goes on until all of it is over.
    while let Some(Ok(_)) = socket.next().await {}
}

/// Connects, subscribes, and never reads again.
async fn never_reads(socket: Socket) {
    let _socket = socket;
    sleep(PATIENCE).await;
}

/// Reads a byte at a time.
async fn reads_drop_by_drop(socket: Socket) {
    let mut stream = socket.into_inner();
    while stream.read_u8().await.is_ok() {
        sleep(Duration::from_secs(1)).await;
    }
}

/// Opens a socket and says nothing.
async fn never_connects(address: SocketAddr) {
    let mut socket = opened(address).await;
    while let Some(Ok(_)) = socket.next().await {}
}

/// Sends what is neither WebSocket nor JSON.
async fn sends_garbage(address: SocketAddr, number: usize) {
    let mut socket = opened(address).await;
    if number.is_multiple_of(2) {
        socket.send(Message::text("{{{{")).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    } else {
        let mut stream = socket.into_inner();
        stream.write_all(&[0xff; 512]).await.ok();
        while stream.read_u8().await.is_ok() {}
    }
}

/// Closes its half, in the middle of a frame, and waits.
async fn half_closes(socket: Socket) {
    let mut stream = socket.into_inner();
    stream.write_all(&[0x81, 0xfe]).await.ok();
    stream.shutdown().await.ok();
    while stream.read_u8().await.is_ok() {}
}

async fn clients(address: SocketAddr) -> usize {
    // Spoken by hand: nothing else in this test needs an HTTP client.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        "POST /api/info HTTP/1.1\r\nhost: hub\r\nx-api-key: key\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let body: Value = serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap();
    usize::try_from(body["result"]["nodes"][0]["num_clients"].as_u64().unwrap()).unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_while_thousands_come_and_go() {
    let _alone = ALONE.lock().await;
    soak::memory_stays_flat().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_bad_clients_harm_none_of_a_thousand_good_ones_and_do_not_stay() {
    let _alone = ALONE.lock().await;
    let sockets = rlimit::increase_nofile_limit(10_000).unwrap_or(0);
    assert!(sockets > 5_000, "this test opens 4,000 sockets, and {sockets} files may be open: see ulimit -n");
    let (hub, address) = start().await;
    let (mut kind, mut hostile) = (JoinSet::new(), JoinSet::new());
    for number in 0..HOSTILE {
        hostile.spawn(never_reads(subscribed(address, "one:1").await));
        hostile.spawn(reads_drop_by_drop(subscribed(address, "one:1").await));
        hostile.spawn(half_closes(subscribed(address, "one:1").await));
        hostile.spawn(never_connects(address));
        hostile.spawn(sends_garbage(address, number));
        for _ in 0..GOOD / HOSTILE {
            kind.spawn(good(subscribed(address, "all:1").await));
        }
    }
    let flood = "x".repeat(PUBLICATION);
    for number in 0..PUBLICATIONS {
        let mut commands = vec![publish("one:1", &json!(flood))];
        if number.is_multiple_of(20) {
            commands.push(publish("all:1", &json!(number / 20)));
        }
        assert!(hub.execute(commands).await.iter().all(Result::is_ok));
    }
    let only_the_good = async {
        while clients(address).await > GOOD {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, only_the_good).await.expect("the bad ones are let go");
    assert_eq!(clients(address).await, GOOD);
    hub.stop().await;
    while let Some(heard_everything) = kind.join_next().await {
        heard_everything.unwrap();
    }
}

fn publish(channel: &str, data: &Value) -> protocol::Command {
    protocol::Command::parse("publish", &json!({"channel": channel, "data": data}).to_string()).unwrap()
}

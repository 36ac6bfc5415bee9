//! Connections that come and go by the thousand leave nothing behind.
#![cfg(target_os = "linux")]

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{PATIENCE, clients, start};

/// How many clients come, unless `ROOMCAST_TEST_SOAK` says so.
const CLIENTS: usize = 50_000;
/// They come in waves.
const WAVE: usize = 250;
/// Of these, what comes first does not count: until then caches and the allocator's own reserves have grown to their size.
const WARM: usize = 5;
/// Each: a leak of a connection's smallest parts would be more.
const MOST: usize = 200;

/// One client: the upgrade and its commands in one go, as small as they can be, for it is the hub that is tested.
async fn subscribed(address: SocketAddr, number: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // A port that was used a moment ago is free again only later: several addresses have enough of them.
    let source = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number % 8).unwrap());
    socket.bind((source, 0).into()).unwrap();
    // Half of them go without a word.
    if number.is_multiple_of(2) {
        socket.set_zero_linger().unwrap();
    }
    let mut stream = socket.connect(address).await.unwrap();
    let commands =
        [json!({"id": 1, "connect": {}}), json!({"id": 2, "subscribe": {"channel": format!("one:{}", number % 40)}})];
    let commands = commands.map(|command| command.to_string()).join("\n");
    let upgrade = "GET /connection/websocket HTTP/1.1\r\nhost: hub\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let frame = [0x81, 0x80 | u8::try_from(commands.len()).unwrap(), 0, 0, 0, 0];
    stream.write_all(&[upgrade.as_bytes(), &frame, commands.as_bytes()].concat()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(16).any(|bytes| bytes == br#""id":2,"subscrib"#) {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
    stream
}

/// So many clients come, subscribe, are there together and go; all the hub has of them is gone afterwards.
async fn come_and_go(address: SocketAddr, waves: usize) {
    for _ in 0..waves {
        let mut wave = JoinSet::new();
        for number in 0..WAVE {
            wave.spawn(subscribed(address, number));
        }
        drop(wave.join_all().await);
    }
    while clients(address).await > 0 {
        sleep(Duration::from_millis(50)).await;
    }
}

/// What this process has in memory.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

pub(crate) async fn memory_stays_flat() {
    let wanted = env::var("ROOMCAST_TEST_SOAK").ok().map(|number| number.parse().expect("a number of clients"));
    let waves = wanted.unwrap_or(CLIENTS).div_ceil(WAVE);
    let warm = waves / WARM;
    let (hub, address) = start().await;
    timeout(PATIENCE, come_and_go(address, warm)).await.expect("the first come and go");
    let before = resident();
    timeout(PATIENCE, come_and_go(address, waves - warm)).await.expect("the others come and go");
    let most = MOST * WAVE * (waves - warm);
    // What the last ones had is let go a moment after they have gone.
    let grown = || resident().saturating_sub(before);
    let flat = async {
        while grown() >= most {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let clients = (waves - warm) * WAVE;
    timeout(PATIENCE, flat).await.unwrap_or_else(|_| panic!("{clients} connections left {} KiB behind", grown() >> 10));
    hub.stop().await;
}

//! Connections that come and go by the thousand leave nothing behind.
#![cfg(target_os = "linux")]

use std::{fs, net::SocketAddr, time::Duration};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{PATIENCE, clients, start, subscribed};

/// Until then caches and the allocator's own reserves have grown to their size.
const FIRST: usize = 4_000;
const THEN: usize = 12_000;
/// A leak of a connection's smallest part would be more: 12,000 times 2 KiB are 24 MiB.
const MOST: usize = 16 << 20;

/// So many clients come, subscribe and go, a hundred at a time; all the hub has of them is gone afterwards.
async fn come_and_go(address: SocketAddr, count: usize) {
    for round in 0..count / 100 {
        let mut tasks = JoinSet::new();
        for number in 0..100 {
            tasks.spawn(async move { drop(subscribed(address, &format!("one:{}", (round + number) % 40)).await) });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
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
    let (hub, address) = start().await;
    come_and_go(address, FIRST).await;
    let before = resident();
    come_and_go(address, THEN).await;
    // What waits for a ping that is never sent is let go when its time comes.
    let grown = || resident().saturating_sub(before);
    let flat = async {
        while grown() >= MOST {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, flat).await.unwrap_or_else(|_| panic!("{THEN} connections left {} KiB behind", grown() >> 10));
    hub.stop().await;
}

//! Order, repeats and holes, on live connections: every subscriber's view is the timeline.

use std::{sync::atomic::Ordering, time::Duration};

use protocol::Command;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::json;

use crate::{Client, TestHub, eventually};

#[tokio::test]
async fn a_repeat_is_dropped() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    let (mut client, _) = hub.connect("7").await;
    hub.say(1, 3).await;
    for version in [1, 3, 2] {
        hub.execute(hub.truth.row(1, version)).await;
    }
    hub.say(1, 1).await;
    assert_eq!(client.offsets(4).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn an_early_publication_waits_for_the_one_before_it() {
    let hub = TestHub::start_with(|config| config.hold = Duration::from_mins(1)).await;
    hub.truth.join("7", 1);
    let (mut client, _) = hub.connect("7").await;
    let rows: Vec<Command> = (0..3).map(|_| hub.truth.append(1)).collect();
    for row in rows.into_iter().rev() {
        hub.execute(row).await;
    }
    assert_eq!(client.offsets(3).await, [1, 2, 3]);
    assert_eq!(hub.truth.reads(), 0);
}

#[tokio::test]
async fn a_hole_that_stays_is_filled_from_the_backlog_also_after_failures() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    let (mut client, _) = hub.connect("7").await;
    let rows: Vec<Command> = (0..5).map(|_| hub.truth.append(1)).collect();
    hub.truth.down.store(true, Ordering::SeqCst);
    hub.execute(rows[0].clone()).await;
    hub.execute(rows[4].clone()).await;
    assert_eq!(client.offsets(1).await, [1]);
    hub.truth.recovers_after_a_refusal().await;
    assert_eq!(client.offsets(4).await, [2, 3, 4, 5]);
    hub.say(1, 1).await;
    assert_eq!(client.offsets(1).await, [6]);
}

#[tokio::test]
async fn early_publications_beyond_the_limit_are_left_to_the_backlog() {
    let hub = TestHub::start_with(|config| config.held_limit = 2).await;
    hub.truth.join("7", 1);
    let (mut client, _) = hub.connect("7").await;
    hub.truth.append(1);
    hub.say(1, 9).await;
    assert_eq!(client.offsets(10).await, (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_lost_before_a_client_came_is_fetched_when_it_comes() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    hub.say(1, 2).await;
    hub.truth.append(1); // committed, never announced
    let (mut client, connected) = hub.connect("7").await;
    assert_eq!(connected["subs"]["room:1"]["offset"], 2);
    assert_eq!(client.offsets(1).await, [3]);
}

#[tokio::test]
async fn pushes_of_twenty_channels_keep_their_order_on_several_connections() {
    const ROOMS: i64 = 20;
    const LINES: usize = 100;
    let hub = TestHub::start().await;
    for room in 1..=ROOMS {
        hub.truth.join("7", room);
    }
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(hub.connect("7").await.0);
    }
    let publish = async {
        for _ in 0..LINES {
            let commands = (1..=ROOMS).map(|room| hub.truth.append(room)).collect();
            assert!(hub.hub.execute(commands).await.iter().all(Result::is_ok));
        }
    };
    let views = futures_util::future::join_all(clients.iter_mut().map(|client| view(client, ROOMS, LINES)));
    let ((), views) = tokio::join!(publish, views);
    for view in views {
        assert!(view.iter().all(|offsets| *offsets == (1..=LINES as u64).collect::<Vec<_>>()));
    }
}

/// The offsets that a client sees, per room.
async fn view(client: &mut Client, rooms: i64, lines: usize) -> Vec<Vec<u64>> {
    let mut seen = vec![Vec::new(); rooms as usize];
    for _ in 0..rooms as usize * lines {
        let (channel, offset) = client.publication().await;
        let room: usize = channel.strip_prefix("room:").unwrap().parse().unwrap();
        seen[room - 1].push(offset);
    }
    seen
}

#[tokio::test]
async fn any_interleaving_of_repeats_reordering_loss_and_reconnects_is_seen_as_the_timeline() {
    for seed in 0..8 {
        let mut random = StdRng::seed_from_u64(seed);
        let hub = TestHub::start_with(|config| {
            config.hold = Duration::from_millis(2);
            config.held_limit = 4;
            config.namespaces.get_mut("room").unwrap().history_size = 6;
        })
        .await;
        hub.truth.join("7", 1);
        let (mut steady, _) = hub.connect("7").await;
        let (mut restless, _) = hub.connect("7").await;
        let mut restless_view = Vec::new();
        for _ in 0..12 {
            let mut rows: Vec<Command> = (0..random.random_range(1..12)).map(|_| hub.truth.append(1)).collect();
            rows.retain(|_| random.random_bool(0.8));
            let repeats: Vec<Command> = rows.iter().filter(|_| random.random_bool(0.3)).cloned().collect();
            rows.extend(repeats);
            rows.shuffle(&mut random);
            hub.hub.execute(rows).await;
            if random.random_bool(0.5) {
                let seen = random.random_range(0..4_usize).min(hub.truth.top(1) as usize - restless_view.len());
                restless_view.extend(restless.offsets_known_to_come(seen).await);
                drop(restless);
                let position = json!({"recover": true, "epoch": "e1", "offset": restless_view.len()});
                let (client, connected) = hub.connect_from("7", json!({"room:1": position})).await;
                let sub = &connected["subs"]["room:1"];
                assert_eq!(sub["recovered"], true, "seed {seed}");
                let missed = sub["publications"].as_array().cloned().unwrap_or_default();
                restless_view.extend(missed.iter().map(|missed| missed["offset"].as_u64().unwrap()));
                restless = client;
            }
        }
        hub.say(1, 1).await; // shows the hub that something before it is missing
        let timeline: Vec<u64> = (1..=hub.truth.top(1)).collect();
        restless_view.extend(restless.offsets(timeline.len() - restless_view.len()).await);
        assert_eq!(restless_view, timeline, "seed {seed}");
        assert_eq!(steady.offsets(timeline.len()).await, timeline, "seed {seed}");
        drop((steady, restless));
        hub.hub.stop().await;
    }
}

#[tokio::test]
async fn execute_waits_while_the_shards_are_behind_and_loses_nothing() {
    let hub = TestHub::start_with(|config| config.shard_queue = 8).await;
    hub.truth.join("7", 1);
    let (mut client, _) = hub.connect("7").await;
    hub.say(1, 500).await;
    assert_eq!(client.offsets(500).await, (1..=500).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_idempotency_key_counts_once_per_channel() {
    let hub = TestHub::start().await;
    let (mut client, _) = hub.connect("7").await;
    let publish = |data: u32, key: &str| {
        crate::command("publish", json!({"channel": "user:7", "data": data, "idempotency_key": key}))
    };
    for (data, key) in [(1, "a"), (2, "a"), (3, "b")] {
        hub.execute(publish(data, key)).await;
    }
    assert_eq!(client.push().await["pub"]["data"], 1);
    assert_eq!(client.push().await["pub"]["data"], 3);
}

#[tokio::test]
async fn what_nobody_counts_passes_through_a_room_beside_the_timeline() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    let (mut client, _) = hub.connect("7").await;
    hub.execute(crate::command("publish", json!({"channel": "room:1", "data": "typing"}))).await;
    hub.say(1, 1).await;
    assert_eq!(client.push().await["pub"], json!({"data": "typing"}));
    assert_eq!(client.offsets(1).await, [1]);
    eventually("nothing had to be read", async || (hub.truth.reads() == 0).then_some(())).await;
}

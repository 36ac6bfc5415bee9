//! Many busy rooms on one connection: what a batch has for it is gathered, and nothing is missing or in another order.

use std::{collections::HashMap, time::Duration};

use serde_json::json;

use crate::{Client, TestHub, client::Incoming, token};

const ROOMS: i64 = 50;

async fn hub_with_rooms(queue_limit_bytes: usize) -> TestHub {
    let hub = TestHub::start_with(|config| {
        config.queue_limit_bytes = queue_limit_bytes;
        config.close_wait = Duration::from_millis(200);
    })
    .await;
    for room in 1..=ROOMS {
        hub.truth.join("7", room);
    }
    hub
}

/// A client of somebody who is in all rooms.
async fn everywhere(mut client: Client) -> Client {
    let reply = client.ask(json!({"id": 1, "connect": {"token": token("7")}})).await;
    assert_eq!(reply["connect"]["subs"].as_object().unwrap().len(), ROOMS as usize + 1, "{reply}");
    client
}

/// Commits `rounds` lines to each room; the rooms' lines are mixed, and every batch has several of a room.
async fn say_everywhere(hub: &TestHub, rounds: usize) {
    for _ in 0..rounds / 2 {
        let commands = (0..2 * ROOMS).map(|line| hub.truth.append(line % ROOMS + 1)).collect();
        assert!(hub.hub.execute(commands).await.iter().all(Result::is_ok));
    }
}

/// Hears `rounds` lines of each room, after those heard before.
async fn hears_everything(client: &mut Client, before: u64, rounds: u64) {
    let mut tops = HashMap::new();
    for _ in 0..rounds * ROOMS as u64 {
        let (room, offset) = client.publication().await;
        assert_eq!(offset, tops.insert(room, offset).unwrap_or(before) + 1);
    }
    assert!(tops.values().all(|&top| top == before + rounds), "{tops:?}");
}

#[tokio::test]
async fn the_news_of_many_rooms_is_complete_and_each_room_in_order() {
    let hub = hub_with_rooms(1 << 20).await;
    let (mut one, mut other) = (everywhere(hub.open().await).await, everywhere(hub.open().await).await);
    let (mut in_one_room, _) = hub.connect_from("8", json!({})).await;
    hub.truth.join("8", 1);
    let access = in_one_room.ask(json!({"id": 2, "subscribe": {"channel": "room:1"}})).await;
    assert!(access["subscribe"].is_object(), "{access}");
    say_everywhere(&hub, 40).await;
    hears_everything(&mut one, 0, 40).await;
    hears_everything(&mut other, 0, 40).await;
    assert_eq!(in_one_room.offsets(40).await, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_is_slow_in_many_rooms_is_let_go_with_whole_frames_and_the_others_hear_on() {
    // Less than a batch has for each: it must not count as slowness before the kernel has refused something.
    let hub = hub_with_rooms(8 << 10).await;
    let mut slow = everywhere(Client::open_with_buffer(hub.address, 4_096).await).await;
    let mut good = everywhere(hub.open().await).await;
    let mut rounds = 0;
    while !slow_was_closed(&hub).await {
        say_everywhere(&hub, 10).await;
        hears_everything(&mut good, rounds, 10).await;
        rounds += 10;
    }
    let mut tops = HashMap::new();
    let end = loop {
        match slow.incoming().await {
            Incoming::Object(object) => {
                let push = &object["push"];
                let offset = push["pub"]["offset"].as_u64().unwrap();
                assert_eq!(offset, tops.insert(push["channel"].to_string(), offset).unwrap_or(0) + 1);
            }
            end => break end,
        }
    };
    // It may have been cut before it read its Close frame.
    assert!(matches!(end, Incoming::Closed(3008, _) | Incoming::Cut), "{end:?}");
}

/// Is only the good client left?
async fn slow_was_closed(hub: &TestHub) -> bool {
    let answer = crate::http().post(format!("http://{}/api/info", hub.address)).header("x-api-key", crate::KEY).send();
    let info: serde_json::Value = answer.await.unwrap().json().await.unwrap();
    info["result"]["nodes"][0]["num_clients"] == 1
}

//! A client that does not read: closed with 3008, and nobody else notices.

use std::time::Duration;

use serde_json::json;

use crate::{Client, TestHub, client::Incoming, http, token};

/// More than the kernel's buffers hold.
const LINES: usize = 4_000;

async fn connected(mut client: Client) -> Client {
    let reply = client.ask(json!({"id": 1, "connect": {"token": token("7")}})).await;
    assert!(reply["connect"].is_object(), "{reply}");
    client
}

async fn flood(hub: &TestHub) {
    for part in 0..LINES / 100 {
        let big = "x".repeat(2_000);
        let commands = (0..100).map(|line| {
            let data = json!({"n": part * 100 + line, "text": big});
            crate::command("publish", json!({"channel": "user:7", "data": data}))
        });
        assert!(hub.hub.execute(commands.collect()).await.iter().all(Result::is_ok));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_with_3008_and_others_are_not_affected() {
    let hub = TestHub::start_with(|config| config.queue_limit_bytes = 256 << 10).await;
    let mut slow = connected(Client::open_with_buffer(hub.address, 4_096).await).await;
    let mut good = connected(hub.open().await).await;
    let read = async {
        for number in 0..LINES {
            assert_eq!(good.push().await["pub"]["data"]["n"], number);
        }
    };
    // The good one has to keep up with less than the queue's limit while the slow one reads nothing.
    let ((), ()) = tokio::join!(paced(&hub), read);
    let mut seen = 0;
    let end = loop {
        match slow.incoming().await {
            Incoming::Object(object) => {
                assert_eq!(object["push"]["pub"]["data"]["n"], seen, "in order up to the end");
                seen += 1;
            }
            end => break end,
        }
    };
    assert!(matches!(end, Incoming::Closed(3008, _)), "{end:?}");
    assert!(seen < LINES);
    assert_eq!(good.ask(json!({"id": 9, "rpc": {}})).await["error"]["code"], 108);
}

/// Publishes no faster than a reader on this machine can follow.
async fn paced(hub: &TestHub) {
    for number in 0..LINES {
        let data = json!({"n": number, "text": "x".repeat(2_000)});
        hub.execute(crate::command("publish", json!({"channel": "user:7", "data": data}))).await;
        if number % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn a_blocked_socket_gets_everything_once_it_reads_again() {
    let hub = TestHub::start_with(|config| config.queue_limit_bytes = 64 << 20).await;
    let mut slow = connected(Client::open_with_buffer(hub.address, 4_096).await).await;
    flood(&hub).await;
    for number in 0..LINES {
        assert_eq!(slow.push().await["pub"]["data"]["n"], number);
    }
}

#[tokio::test]
async fn a_client_that_never_answers_the_close_frame_is_cut() {
    let hub = TestHub::start_with(|config| {
        config.queue_limit_bytes = 64 << 10;
        config.close_wait = Duration::from_millis(200);
    })
    .await;
    let mut slow = connected(Client::open_with_buffer(hub.address, 4_096).await).await;
    flood(&hub).await;
    crate::eventually("the hub has let it go", async || {
        let info = http().post(format!("http://{}/api/info", hub.address));
        let info: serde_json::Value = info.header("x-api-key", crate::KEY).send().await.unwrap().json().await.unwrap();
        (info["result"]["nodes"][0]["num_clients"] == 0).then_some(())
    })
    .await;
    while let Incoming::Object(_) = slow.incoming().await {}
}

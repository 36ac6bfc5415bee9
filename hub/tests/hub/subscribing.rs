//! Subscriptions that the client asks for.

use std::{sync::atomic::Ordering, time::Duration};

use hub::ChannelOptions;
use serde_json::json;

use crate::{TestHub, command, eventually};

#[tokio::test]
async fn a_member_subscribes_and_hears_what_comes_after_the_reply() {
    let hub = TestHub::start().await;
    let (mut client, _) = hub.connect("7").await;
    hub.truth.join("7", 1);
    hub.say(1, 2).await;
    let reply = client.ask(json!({"id": 2, "subscribe": {"channel": "room:1"}})).await;
    let told = json!({"recoverable": true, "epoch": "e1", "offset": 2, "positioned": true});
    assert_eq!(reply, json!({"id": 2, "subscribe": told}));
    hub.say(1, 1).await;
    let push = client.push().await;
    assert_eq!(push, json!({"channel": "room:1", "pub": {"data": {"room": 1, "n": 3}, "offset": 3}}));
}

#[tokio::test]
async fn errors_of_subscribe_have_their_codes() {
    let hub = TestHub::start_with(|config| config.channel_limit = 3).await;
    hub.truth.join("7", 1);
    let (mut client, _) = hub.connect("7").await;
    let mut code = async |channel: &str| {
        client.ask(json!({"id": 2, "subscribe": {"channel": channel}})).await["error"]["code"].as_u64()
    };
    assert_eq!(code("room:2").await, Some(103), "not a member");
    assert_eq!(code("room:1").await, Some(105), "subscribed by the server");
    assert_eq!(code("nothing:1").await, Some(102), "unknown namespace");
    assert_eq!(code("plain").await, Some(102));
    assert_eq!(code(&"r".repeat(256)).await, Some(107), "too long");
    assert_eq!(code("room:é").await, Some(107));
    hub.truth.join("7", 2);
    hub.truth.join("7", 3);
    assert_eq!(code("room:2").await, None);
    assert_eq!(code("room:2").await, Some(105));
    assert_eq!(code("room:3").await, Some(106), "one more than allowed");
    hub.truth.down.store(true, Ordering::SeqCst);
    assert_eq!(code("room:3").await, Some(100));
}

#[tokio::test]
async fn unsubscribing_ends_the_pushes_and_succeeds_even_twice() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    let (mut client, _) = hub.connect("7").await;
    for id in [2, 3] {
        let reply = client.ask(json!({"id": id, "unsubscribe": {"channel": "room:1"}})).await;
        assert_eq!(reply, json!({"id": id, "unsubscribe": {}}));
    }
    hub.say(1, 1).await;
    let again = client.ask(json!({"id": 4, "subscribe": {"channel": "room:1"}})).await;
    assert_eq!(again["subscribe"]["offset"], 1, "nothing was pushed before: {again}");
}

#[tokio::test]
async fn what_the_hub_does_not_offer_is_refused_and_the_connection_goes_on() {
    let hub = TestHub::start().await;
    let (mut client, _) = hub.connect("7").await;
    let mut code = async |kind: &str, body: serde_json::Value| {
        client.ask(json!({"id": 2, kind: body})).await["error"]["code"].as_u64().unwrap()
    };
    assert_eq!(code("publish", json!({"channel": "room:1", "data": {}})).await, 103);
    assert_eq!(code("presence", json!({"channel": "room:1"})).await, 108);
    assert_eq!(code("history", json!({"channel": "room:1"})).await, 108);
    assert_eq!(code("rpc", json!({"method": "m"})).await, 108);
}

#[tokio::test]
async fn a_member_removed_while_access_is_asked_does_not_get_in() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    let (mut client, _) = hub.connect("7").await;
    client.ask(json!({"id": 2, "unsubscribe": {"channel": "room:1"}})).await;
    hub.truth.hold_answers();
    let before = hub.truth.asked.load(Ordering::SeqCst);
    client.send(&json!({"id": 3, "subscribe": {"channel": "room:1"}})).await;
    eventually("access is asked", async || (hub.truth.asked.load(Ordering::SeqCst) > before).then_some(())).await;
    hub.truth.leave("7", 1);
    hub.execute(command("unsubscribe", json!({"user": "7", "channel": "room:1"}))).await;
    hub.truth.answers.add_permits(9);
    assert_eq!(client.next().await["error"]["code"], 103);
}

#[tokio::test]
async fn a_namespace_that_the_hub_counts_recovers_from_its_history() {
    let hub = TestHub::start_with(|config| {
        let news = ChannelOptions {
            history_size: 4,
            history_ttl: Duration::from_mins(5),
            force_recovery: true,
            allow_subscribe_for_client: true,
            ..ChannelOptions::default()
        };
        config.namespaces.insert("news".into(), news);
    })
    .await;
    let (mut client, _) = hub.connect("7").await;
    let fresh = client.ask(json!({"id": 2, "subscribe": {"channel": "news:a"}})).await["subscribe"].clone();
    let publish = || command("publish", json!({"channel": "news:a", "data": "x", "tags": {"k": "v"}}));
    for offset in 1..=5 {
        assert_eq!(hub.execute(publish()).await.offset.0, offset);
    }
    let push = client.push().await;
    assert_eq!(push["pub"], json!({"data": "x", "offset": 1, "tags": {"k": "v"}}));
    client.offsets(4).await;
    client.ask(json!({"id": 3, "unsubscribe": {"channel": "news:a"}})).await;
    let mut recover = async |offset: u64, flag: u64| {
        let position =
            json!({"channel": "news:a", "recover": true, "epoch": fresh["epoch"], "offset": offset, "flag": flag});
        let reply = client.ask(json!({"id": 4, "subscribe": position})).await;
        client.ask(json!({"id": 5, "unsubscribe": {"channel": "news:a"}})).await;
        reply
    };
    assert_eq!(recover(3, 0).await["subscribe"]["publications"].as_array().unwrap().len(), 2);
    assert_eq!(recover(0, 0).await["subscribe"]["recovered"], json!(null), "the first has gone");
    assert_eq!(recover(0, 2).await["error"]["code"], 112, "the client asked for an error");
}

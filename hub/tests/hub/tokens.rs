//! Subscription tokens, channels in connection tokens, connections without a user, and how all of it ends.

use serde_json::{Value, json};

use crate::{Client, LATER, SECRET, TestHub, command, in_seconds, sign};

fn ticket(user: &str, channel: &str, exp: u64) -> String {
    sign(SECRET, &json!({"sub": user, "channel": channel, "exp": exp, "info": {"role": "x"}, "data": {"hello": 1}}))
}

async fn closed(hub: &mut Client) -> u16 {
    hub.closed().await.0
}

async fn guarded() -> TestHub {
    TestHub::alone(|options| options.allow_subscribe_for_client = false).await
}

#[tokio::test]
async fn a_subscription_token_opens_its_channel() {
    let hub = guarded().await;
    let (mut client, connected) = hub.connect("7").await;
    let subscribe = |token: &str| json!({"id": 2, "subscribe": {"channel": "chat:1", "token": token}});
    assert_eq!(client.ask(subscribe("")).await["error"]["code"], 103);
    assert_eq!(client.ask(subscribe(&ticket("7", "chat:1", 1))).await["error"]["code"], 109);
    assert_eq!(client.ask(subscribe(&sign("other", &json!({"channel": "chat:1"})))).await["error"]["code"], 103);
    let reply = client.ask(subscribe(&ticket("7", "chat:1", LATER))).await["subscribe"].clone();
    assert_eq!((&reply["expires"], &reply["data"]), (&json!(true), &json!({"hello": 1})));
    let presence = client.ask(json!({"id": 3, "presence": {"channel": "chat:1"}})).await["presence"].clone();
    let name = connected["client"].as_str().unwrap();
    assert_eq!(presence["presence"][name]["chan_info"], json!({"role": "x"}));
    client.ask(json!({"id": 4, "publish": {"channel": "chat:1", "data": 1}})).await;
    assert_eq!(client.push().await["pub"]["info"]["chan_info"], json!({"role": "x"}));
}

#[tokio::test]
async fn a_token_for_somebody_or_something_else_ends_the_connection() {
    let hub = guarded().await;
    let wrong = [
        ticket("8", "chat:1", LATER),
        ticket("7", "chat:2", LATER),
        sign(SECRET, &json!({"sub": "7", "channel": "chat:1", "client": "another"})),
    ];
    for token in wrong {
        let (mut client, _) = hub.connect("7").await;
        client.send(&json!({"id": 2, "subscribe": {"channel": "chat:1", "token": token}})).await;
        assert_eq!(closed(&mut client).await, 3500);
    }
    let mut client = hub.open().await;
    client.send(&json!({"id": 1, "connect": {"token": ticket("7", "chat:1", LATER)}})).await;
    assert_eq!(closed(&mut client).await, 3500, "a subscription token opens no connection");
}

#[tokio::test]
async fn a_subscription_lives_as_long_as_its_last_good_token_says() {
    let hub = guarded().await;
    let (mut client, _) = hub.connect("7").await;
    let subscribe = json!({"channel": "chat:1", "token": ticket("7", "chat:1", LATER)});
    client.ask(json!({"id": 2, "subscribe": subscribe})).await;
    let refresh = |token: &str| json!({"id": 3, "sub_refresh": {"channel": "chat:1", "token": token}});
    assert_eq!(client.ask(refresh("")).await["error"]["code"], 107);
    assert_eq!(client.ask(refresh(&ticket("7", "chat:1", 1))).await["error"]["code"], 109);
    let refreshed = client.ask(refresh(&ticket("7", "chat:1", in_seconds(2)))).await;
    assert!(refreshed["sub_refresh"]["ttl"].as_u64().unwrap() <= 2, "{refreshed}");
    // An expired token is an error and changes nothing: the subscription ends when the good one has said.
    client.send(&refresh(&ticket("7", "chat:1", 1))).await;
    let over = loop {
        let object = client.next().await;
        if object["push"].is_object() {
            break object["push"].clone();
        }
    };
    let told = json!({"code": 2501, "reason": "subscription expired"});
    assert_eq!(over, json!({"channel": "chat:1", "unsubscribe": told}));
    let code =
        client.ask(json!({"id": 4, "sub_refresh": {"channel": "chat:1", "token": "x"}})).await["error"]["code"].clone();
    assert_eq!(code, 103, "nothing to refresh");
    client.ask(json!({"id": 5, "subscribe": subscribe})).await;
    client.send(&refresh("garbage")).await;
    assert_eq!(closed(&mut client).await, 3500);
}

#[tokio::test]
async fn a_connection_token_can_bring_channels_and_say_who_it_is() {
    let hub = guarded().await;
    let mut client = hub.open().await;
    let claims = json!({"sub": "7", "info": {"name": "Ann"}, "subs": {"chat:1": {
        "data": 5, "info": 6, "override": {"force_recovery": {"value": true}}
    }}});
    let connected = client.ask(json!({"id": 1, "connect": {"token": sign(SECRET, &claims)}})).await["connect"].clone();
    let sub = &connected["subs"]["chat:1"];
    assert_eq!((&sub["data"], &sub["recoverable"]), (&json!(5), &json!(true)), "{connected}");
    client.ask(json!({"id": 2, "publish": {"channel": "chat:1", "data": 1}})).await;
    let info = client.push().await["pub"]["info"].clone();
    assert_eq!((&info["conn_info"], &info["chan_info"]), (&json!({"name": "Ann"}), &json!(6)));

    let mut client = hub.open().await;
    let unknown = sign(SECRET, &json!({"sub": "7", "channels": ["nothing:1"]}));
    let reply = client.ask(json!({"id": 1, "connect": {"token": unknown}})).await;
    assert_eq!(reply["error"]["code"], 102);
}

#[tokio::test]
async fn anonymous_connections_are_for_hubs_that_want_them() {
    let hub = TestHub::start_with(|config| config.anonymous = true).await;
    let mut client = hub.open().await;
    let connected = client.ask(json!({"id": 1, "connect": {}})).await;
    assert!(connected["connect"]["client"].is_string(), "{connected}");
    assert_eq!(connected["connect"]["subs"], Value::Null);
    assert_eq!(client.ask(json!({"id": 2, "subscribe": {"channel": "room:1"}})).await["error"]["code"], 103);
    let strict = TestHub::start().await;
    let mut client = strict.open().await;
    client.send(&json!({"id": 1, "connect": {"token": sign(SECRET, &json!({}))}})).await;
    assert_eq!(closed(&mut client).await, 3501);
}

#[tokio::test]
async fn an_insecure_hub_asks_nobody_for_anything() {
    let hub = TestHub::start_with(|config| {
        config.insecure = true;
        config.token = hub::TokenRules::default();
        config.api_key.clear();
        config.without_namespace = Some(hub::ChannelOptions { presence: true, ..Default::default() });
    })
    .await;
    let mut client = hub.open().await;
    client.ask(json!({"id": 1, "connect": {}})).await;
    client.ask(json!({"id": 2, "subscribe": {"channel": "plain"}})).await;
    assert_eq!(client.ask(json!({"id": 3, "publish": {"channel": "plain", "data": "x"}})).await["publish"], json!({}));
    assert_eq!(client.push().await["pub"]["data"], "x");
    let presence = client.ask(json!({"id": 4, "presence_stats": {"channel": "plain"}})).await;
    assert_eq!(presence["presence_stats"]["num_clients"], 1);
    let info = crate::http().post(format!("http://{}/api/info", hub.address)).send().await.unwrap();
    assert!(info.status().is_success(), "no key");
}

#[tokio::test]
async fn the_server_can_shorten_and_lengthen_a_life() {
    let hub = TestHub::start_with(|config| config.expired_close_delay = std::time::Duration::ZERO).await;
    let (mut client, _) = hub.connect("7").await;
    hub.execute(command("refresh", json!({"user": "7", "expire_at": in_seconds(600)}))).await;
    assert_eq!(client.push().await["refresh"]["expires"], true);
    hub.execute(command("refresh", json!({"user": "7", "expire_at": in_seconds(1)}))).await;
    assert_eq!(client.push().await["refresh"]["ttl"], 1);
    assert_eq!(client.closed().await, (3005, "connection expired".into()));
    let (mut client, _) = hub.connect("7").await;
    hub.execute(command("refresh", json!({"user": "7", "expired": true}))).await;
    assert_eq!(closed(&mut client).await, 3005);
}

#[tokio::test]
async fn one_connection_of_a_user_can_be_meant() {
    let hub = guarded().await;
    let (mut one, told) = hub.connect("7").await;
    let (mut two, _) = hub.connect("7").await;
    let client = told["client"].clone();
    let invite = json!({"user": "7", "channel": "chat:1", "client": client, "data": {"a": 1}});
    hub.execute(command("subscribe", invite)).await;
    assert_eq!(one.push().await["subscribe"]["data"], json!({"a": 1}));
    hub.execute(command("disconnect", json!({"user": "7", "whitelist": [client]}))).await;
    assert_eq!(closed(&mut two).await, 3503);
    hub.execute(command("unsubscribe", json!({"user": "7", "channel": "chat:1", "client": client}))).await;
    assert_eq!(one.push().await["unsubscribe"]["code"], 2000);
    hub.execute(command("disconnect", json!({"user": "7", "client": "nobody"}))).await;
    assert_eq!(one.ask(json!({"id": 9, "rpc": {}})).await["error"]["code"], 108, "still there");
}

//! Channels that belong to users by their names: personal ones, those that name their users, and those behind a token.

use hub::{ChannelOptions, PersonalChannel};
use serde_json::json;

use crate::{KEY, LATER, SECRET, TestBus, TestHub, command, http, sign};

async fn personal(namespace: &str, single_connection: bool) -> TestHub {
    let personal = PersonalChannel { namespace: namespace.into(), single_connection };
    TestHub::start_with(|config| {
        TestHub::with_chat(config, |options| options.force_recovery = true);
        config.without_namespace = Some(ChannelOptions { presence: true, ..ChannelOptions::default() });
        config.personal_channel = Some(personal);
    })
    .await
}

#[tokio::test]
async fn each_connection_of_a_user_hears_the_users_own_channel() {
    let hub = personal("", false).await;
    let (mut one, told) = hub.connect("42").await;
    let (mut two, _) = hub.connect("42").await;
    let (_other, others) = hub.connect("43").await;
    assert!(told["subs"]["#42"].is_object() && others["subs"]["#42"].is_null(), "{told} {others}");
    let request = http().post(format!("http://{}/api/publish", hub.address)).header("x-api-key", KEY);
    let answer = request.json(&json!({"channel": "#42", "data": "for you"})).send().await.unwrap();
    assert!(answer.status().is_success());
    for client in [&mut one, &mut two] {
        let push = client.push().await;
        assert_eq!((&push["channel"], &push["pub"]["data"]), (&json!("#42"), &json!("for you")));
    }
    assert_eq!(one.ask(json!({"id": 2, "subscribe": {"channel": "#43"}})).await["error"]["code"], 103, "another's");
}

#[tokio::test]
async fn a_personal_channel_of_a_namespace_has_its_options() {
    let hub = personal("chat", false).await;
    let (_, told) = hub.connect("42").await;
    let position = told["subs"]["chat:#42"].clone();
    hub.execute(command("publish", json!({"channel": "chat:#42", "data": 1}))).await;
    let recover = json!({"chat:#42": {"recover": true, "offset": 0, "epoch": position["epoch"]}});
    let (_, told) = hub.connect_from("42", recover).await;
    assert_eq!(told["subs"]["chat:#42"]["publications"][0]["data"], 1, "{told}");
}

#[tokio::test]
async fn who_has_no_user_has_no_channel() {
    let hub = TestHub::start_with(|config| {
        config.anonymous = true;
        config.without_namespace = Some(ChannelOptions::default());
        config.personal_channel = Some(PersonalChannel::default());
    })
    .await;
    let mut client = hub.open().await;
    let reply = client.ask(json!({"id": 1, "connect": {}})).await;
    assert!(reply["connect"]["client"].is_string() && reply["connect"]["subs"].is_null(), "{reply}");
}

#[tokio::test]
async fn a_user_with_a_single_connection_keeps_the_newest() {
    let hub = personal("", true).await;
    let (mut first, _) = hub.connect("42").await;
    let (mut other, _) = hub.connect("43").await;
    let (mut second, _) = hub.connect("42").await;
    assert_eq!(first.closed().await, (3504, "connection limit".into()));
    for client in [&mut second, &mut other] {
        assert_eq!(client.ask(json!({"id": 9, "rpc": {}})).await["error"]["code"], 108, "still there");
    }
}

#[tokio::test]
async fn and_so_it_is_over_nodes() {
    let bus = TestBus::new();
    let change = |config: &mut hub::HubConfig| {
        config.without_namespace = Some(ChannelOptions { presence: true, ..ChannelOptions::default() });
        config.personal_channel = Some(PersonalChannel { single_connection: true, ..PersonalChannel::default() });
    };
    let ((one, _), (two, _)) = (TestHub::among(&bus, change).await, TestHub::among(&bus, change).await);
    let (mut first, _) = one.connect("42").await;
    let (mut second, _) = two.connect("42").await;
    assert_eq!(first.closed().await.0, 3504);
    assert_eq!(second.ask(json!({"id": 9, "rpc": {}})).await["error"]["code"], 108, "still there");
}

#[tokio::test]
async fn a_channel_that_names_its_users_is_for_nobody_else() {
    let hub = TestHub::alone(|options| options.allow_user_limited_channels = true).await;
    let subscribe = |channel: &str| json!({"id": 2, "subscribe": {"channel": channel}});
    let (mut named, _) = hub.connect("7").await;
    assert!(named.ask(subscribe("chat:dialog#7,8")).await["subscribe"].is_object());
    let (mut stranger, _) = hub.connect("9").await;
    assert_eq!(stranger.ask(subscribe("chat:dialog#7,8")).await["error"]["code"], 103, "whatever else is allowed");
    assert!(stranger.ask(subscribe("chat:dialog")).await["subscribe"].is_object(), "it names nobody");
}

#[tokio::test]
async fn a_channel_that_begins_with_a_dollar_takes_a_token() {
    let hub = TestHub::alone(|_| {}).await;
    let (mut client, _) = hub.connect("7").await;
    let subscribe = |id: u32, token: &str| json!({"id": id, "subscribe": {"channel": "$chat:1", "token": token}});
    assert_eq!(client.ask(subscribe(2, "")).await["error"]["code"], 103, "though anybody may subscribe in chat");
    let ticket = sign(SECRET, &json!({"sub": "7", "channel": "$chat:1", "exp": LATER}));
    assert!(client.ask(subscribe(3, &ticket)).await["subscribe"].is_object(), "it is of the namespace chat");
}

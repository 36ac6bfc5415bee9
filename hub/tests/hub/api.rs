//! The server API: shapes of requests, replies and errors.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{KEY, TestHub, http};

pub(crate) async fn post(hub: &TestHub, method: &str, body: Value) -> Value {
    let (status, text) = post_text(hub, method, &body.to_string(), ("x-api-key", KEY)).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).unwrap()
}

async fn post_text(hub: &TestHub, method: &str, body: &str, header: (&str, &str)) -> (StatusCode, String) {
    let request = http().post(format!("http://{}/api/{method}", hub.address));
    let reply = request.header(header.0, header.1).body(body.to_owned()).send().await.unwrap();
    (reply.status(), reply.text().await.unwrap())
}

#[tokio::test]
async fn the_key_opens_the_api_and_nothing_else_does() {
    let hub = TestHub::start().await;
    for header in [("x-api-key", "wrong"), ("authorization", "apikey wrong"), ("x-other", KEY)] {
        let (status, body) = post_text(&hub, "info", "{}", header).await;
        assert_eq!((status, body.as_str()), (StatusCode::UNAUTHORIZED, ""), "{header:?}");
    }
    assert_eq!(post_text(&hub, "info", "{}", ("authorization", "apikey key")).await.0, StatusCode::OK);
    assert_eq!(post_text(&hub, "nothing", "{}", ("x-api-key", KEY)).await.0, StatusCode::NOT_FOUND);
    let (status, body) = post_text(&hub, "publish", "{", ("x-api-key", KEY)).await;
    assert_eq!((status, body.as_str()), (StatusCode::BAD_REQUEST, "Bad Request"));
}

#[tokio::test]
async fn publish_answers_with_the_position_and_delivers() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    let (mut client, _) = hub.connect("7").await;
    let request = json!({"channel": "room:1", "data": {"a": 1}, "version": 1, "version_epoch": "e1", "delta": true});
    assert_eq!(post(&hub, "publish", request).await, json!({"result": {"epoch": "e1", "offset": 1}}));
    assert_eq!(client.push().await["pub"], json!({"data": {"a": 1}, "offset": 1}));
    let without_history = json!({"channel": "user:7", "data": "x"});
    assert_eq!(post(&hub, "publish", without_history).await, json!({"result": {}}));
    assert_eq!(client.push().await["pub"], json!({"data": "x"}));
}

#[tokio::test]
async fn errors_are_told_with_status_200() {
    let hub = TestHub::start().await;
    let unknown = post(&hub, "publish", json!({"channel": "nothing:1", "data": 1})).await;
    assert_eq!(unknown, json!({"error": {"code": 102, "message": "unknown channel"}}));
    assert_eq!(post(&hub, "publish", json!({"channel": "room:1"})).await["error"]["code"], 107);
    assert_eq!(post(&hub, "publish", json!({"channel": "", "data": 1})).await["error"]["code"], 107);
    assert_eq!(post(&hub, "broadcast", json!({"channels": [], "data": 1})).await["error"]["code"], 107);
}

#[tokio::test]
async fn broadcast_answers_per_channel() {
    let hub = TestHub::start().await;
    let (mut client, _) = hub.connect("7").await;
    let reply = post(&hub, "broadcast", json!({"channels": ["nothing:1", "user:7"], "data": 1})).await;
    let responses = json!([{"error": {"code": 102, "message": "unknown channel"}}, {"result": {}}]);
    assert_eq!(reply, json!({"result": {"responses": responses}}));
    assert_eq!(client.push().await["pub"]["data"], 1);
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_a_bad_one_harms_nobody() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    let (mut client, _) = hub.connect("7").await;
    let commands = json!([
        {"publish": {"channel": "user:7", "data": 1}},
        {"shout": {}},
        {"publish": {"channel": "nothing:1", "data": 1}},
        {"broadcast": {"channels": ["user:7", "user:8"], "data": 2}},
        {"subscribe": {"user": "7", "channel": "room:1"}},
        {"publish": {"channel": "room:1", "data": 3, "version": 1, "version_epoch": "e1"}},
    ]);
    let replies = post(&hub, "batch", json!({"commands": commands})).await["replies"].clone();
    assert_eq!(replies.as_array().unwrap().len(), 6);
    assert_eq!(replies[0], json!({"publish": {}}));
    assert_eq!(replies[1]["error"]["code"], 107);
    assert_eq!(replies[2]["error"]["code"], 102);
    assert_eq!(replies[3], json!({"broadcast": {"responses": [{"result": {}}, {"result": {}}]}}));
    assert_eq!(replies[4], json!({"subscribe": {}}));
    assert_eq!(replies[5], json!({"publish": {"epoch": "e1", "offset": 1}}));
    let mut data = Vec::new();
    for _ in 0..3 {
        data.push(client.push().await["pub"]["data"].as_u64().unwrap());
    }
    data.sort_unstable();
    assert_eq!(data, [1, 2, 3]);
}

#[tokio::test]
async fn subscribe_unsubscribe_and_disconnect_answer_with_nothing() {
    let hub = TestHub::start().await;
    let (mut client, _) = hub.connect("7").await;
    let target = json!({"user": "7", "channel": "room:1"});
    assert_eq!(post(&hub, "subscribe", target.clone()).await, json!({"result": {}}));
    assert!(client.push().await["subscribe"].is_object());
    assert_eq!(post(&hub, "unsubscribe", target).await, json!({"result": {}}));
    assert_eq!(client.push().await["unsubscribe"]["code"], 2000);
    assert_eq!(post(&hub, "disconnect", json!({"user": "7"})).await, json!({"result": {}}));
    assert_eq!(client.closed().await.0, 3503);
    assert_eq!(post(&hub, "disconnect", json!({"user": "nobody"})).await, json!({"result": {}}));
}

#[tokio::test]
async fn info_and_channels_tell_what_is_heard() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    let (_one, _) = hub.connect("7").await;
    let (_two, _) = hub.connect("8").await;
    let node = post(&hub, "info", json!({})).await["result"]["nodes"][0].clone();
    let counts = ["num_clients", "num_users", "num_channels", "num_subs"].map(|name| node[name].as_u64().unwrap());
    assert_eq!(counts, [2, 2, 3, 3]);
    let rooms = post(&hub, "channels", json!({"pattern": "room:*"})).await;
    assert_eq!(rooms, json!({"result": {"channels": {"room:1": {"num_clients": 1}}}}));
}

#[tokio::test]
async fn presence_and_history_are_told_and_history_can_be_removed() {
    let hub = TestHub::alone(|_| {}).await;
    let (mut client, connected) = hub.connect("7").await;
    client.ask(json!({"id": 2, "subscribe": {"channel": "chat:1"}})).await;
    let channel = json!({"channel": "chat:1"});
    let name = connected["client"].as_str().unwrap();
    let presence = json!({"presence": {name: {"user": "7", "client": name}}});
    assert_eq!(post(&hub, "presence", channel.clone()).await, json!({"result": presence}));
    let stats = json!({"result": {"num_clients": 1, "num_users": 1}});
    assert_eq!(post(&hub, "presence_stats", channel.clone()).await, stats);
    let off = post(&hub, "presence", json!({"channel": "room:1"})).await;
    assert_eq!(off, json!({"error": {"code": 108, "message": "not available"}}));

    let published = post(&hub, "publish", json!({"channel": "chat:1", "data": 1})).await["result"].clone();
    let page = post(&hub, "history", json!({"channel": "chat:1", "limit": 10})).await["result"].clone();
    assert_eq!(page["publications"], json!([{"data": 1, "offset": 1}]));
    assert_eq!((&page["epoch"], &page["offset"]), (&published["epoch"], &json!(1)));
    let other = json!({"channel": "chat:1", "limit": 1, "since": {"offset": 1, "epoch": "other"}});
    assert_eq!(post(&hub, "history", other).await["error"]["code"], 112);
    assert_eq!(post(&hub, "history_remove", channel.clone()).await, json!({"result": {}}));
    let page = post(&hub, "history", json!({"channel": "chat:1", "limit": 10})).await["result"].clone();
    assert_eq!((&page["publications"], &page["offset"]), (&json!([]), &json!(1)));
    assert_eq!(post(&hub, "history", json!({"channel": "room:1"})).await["error"]["code"], 108);
    assert_eq!(post(&hub, "rpc", json!({"method": "m", "params": {}})).await["error"]["code"], 104);
}

#[tokio::test]
async fn an_idempotency_key_is_answered_like_the_first_time_and_delivered_once() {
    let hub = TestHub::alone(|_| {}).await;
    let (mut client, _) = hub.connect("7").await;
    client.ask(json!({"id": 2, "subscribe": {"channel": "chat:1"}})).await;
    let keyed = json!({"channel": "chat:1", "data": 1, "idempotency_key": "k"});
    let first = post(&hub, "publish", keyed.clone()).await;
    assert_eq!(post(&hub, "publish", keyed).await, first);
    let other = json!({"channels": ["chat:1", "chat:2"], "data": 2, "idempotency_key": "k"});
    let responses = post(&hub, "broadcast", other).await["result"]["responses"].clone();
    assert_eq!((&responses[0], &responses[1]["result"]["offset"]), (&first, &json!(1)), "the key is the channel's");
    post(&hub, "publish", json!({"channel": "chat:1", "data": 3})).await;
    assert_eq!(client.offsets(2).await, [1, 2]);
}

#[tokio::test]
async fn errors_are_told_by_the_status_to_those_who_ask_for_it() {
    let hub = TestHub::start().await;
    let call = async |method: &str, body: Value| {
        let request = http().post(format!("http://{}/api/{method}", hub.address)).header("x-api-key", KEY);
        let request = request.header("X-Centrifugo-Error-Mode", "transport").body(body.to_string());
        let reply = request.send().await.unwrap();
        (reply.status().as_u16(), reply.json::<Value>().await.unwrap())
    };
    let (status, body) = call("publish", json!({"channel": "nothing:1", "data": 1})).await;
    assert_eq!((status, body), (404, json!({"code": 102, "message": "unknown channel"})));
    assert_eq!(call("publish", json!({"channel": "room:1"})).await.0, 400);
    assert_eq!(call("rpc", json!({})).await.0, 404);
    assert_eq!(call("publish", json!({"channel": "user:1", "data": 1})).await, (200, json!({"result": {}})));
}

#[tokio::test]
async fn a_question_in_a_batch_sees_what_was_done_before_it() {
    let hub = TestHub::alone(|_| {}).await;
    let publish = |n: u64| json!({"publish": {"channel": "chat:1", "data": n}});
    let history = json!({"history": {"channel": "chat:1", "limit": 9}});
    let commands = json!([publish(1), history, {"presence": {"channel": "room:1"}}, publish(2)]);
    let replies = post(&hub, "batch", json!({"commands": commands, "parallel": true})).await["replies"].clone();
    assert_eq!(replies[1]["history"]["publications"], json!([{"data": 1, "offset": 1}]));
    assert_eq!(replies[2]["error"]["code"], 108);
    assert_eq!(replies[3]["publish"]["offset"], 2);
}

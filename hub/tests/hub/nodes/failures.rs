//! What happens when the bus is away, a node says nothing, or something else is on the bus.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use super::{Cluster, data, member, names, publish};
use crate::{api::post, eventually};

#[tokio::test]
async fn a_silent_node_is_an_error_until_it_is_taken_for_gone() {
    let hub = Cluster::start_with(2, |config| {
        config.bus_timeout = Duration::from_millis(400);
        config.node_heartbeat = Duration::from_secs(1);
    })
    .await;
    let (_alice, _) = member(&hub.nodes[0], "alice", json!({})).await;
    let stats = async || post(&hub.nodes[0], "presence_stats", json!({"channel": "chat:1"})).await;
    hub.lines[1].hold(true);
    hub.lines[1].cut(true);
    assert_eq!(stats().await["error"]["code"], 100);
    let alone = eventually("the node is taken for gone", async || stats().await.get("result").cloned()).await;
    assert_eq!(alone, json!({"num_clients": 1, "num_users": 1}));
    assert_eq!(names(&hub.nodes[0]).await, ["node 0"]);
    hub.lines[1].cut(false);
    hub.lines[1].hold(false);
    hub.know_each_other().await;
}

#[tokio::test]
async fn while_the_bus_is_away_callers_are_told_and_clients_stay() {
    let hub = Cluster::start_with(2, |config| config.bus_timeout = Duration::from_millis(300)).await;
    let (mut alice, _) = member(&hub.nodes[0], "alice", json!({})).await;
    let (mut bob, _) = member(&hub.nodes[1], "bob", json!({})).await;
    hub.lines[0].cut(true);
    let failed = post(&hub.nodes[0], "publish", publish(1)).await;
    assert_eq!(failed["error"], json!({"code": 100, "message": "internal server error"}));
    let reply = alice.ask(json!({"id": 3, "publish": publish(1)})).await;
    assert_eq!((&reply["error"]["code"], &reply["error"]["temporary"]), (&json!(100), &json!(true)));
    let reply = alice.ask(json!({"id": 4, "presence": {"channel": "chat:1"}})).await;
    assert_eq!(reply["error"]["code"], 100);
    assert_eq!(post(&hub.nodes[0], "publish", json!({"channel": "nothing:1", "data": 1})).await["error"]["code"], 102);
    // What is said gets out again, but does not come back in time.
    hub.lines[0].cut(false);
    hub.lines[0].hold(true);
    assert_eq!(post(&hub.nodes[0], "publish", publish("late")).await["error"]["code"], 100);
    assert_eq!(data(&mut bob, 1).await, ["late"], "an error 100 does not say that it was not done");
    eventually("the silence shows", async || {
        hub.nodes[0].hub.silence().filter(|&silence| silence > Duration::from_millis(100))
    })
    .await;
    hub.lines[0].hold(false);
    assert_eq!(data(&mut alice, 1).await, ["late"], "in the end every node hears it");
    eventually("it is as before", async || {
        let reply = alice.ask(json!({"id": 5, "publish": publish("again")})).await;
        (reply == json!({"id": 5, "publish": {}})).then_some(())
    })
    .await;
    assert_eq!(data(&mut bob, 1).await, ["again"]);
}

#[tokio::test]
async fn what_is_too_large_for_the_bus_never_passes() {
    let hub = Cluster::start(1).await;
    let answer = post(&hub.nodes[0], "publish", publish("x".repeat(1 << 20))).await;
    assert_eq!(answer["error"], json!({"code": 106, "message": "limit exceeded"}));
    let small: Vec<_> = (0..9).map(|n| json!({"publish": publish(format!("{n}{}", "x".repeat(200_000)))})).collect();
    let replies = post(&hub.nodes[0], "batch", json!({"commands": small})).await["replies"].clone();
    let offsets: Vec<_> = (0..9).map(|n| replies[n]["publish"]["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, (1..=9).collect::<Vec<_>>(), "together they would be too large: they are said apart, in order");
}

#[tokio::test]
async fn what_nobody_of_this_version_says_is_left_out() {
    let hub = Cluster::start(1).await;
    let (mut client, _) = member(&hub.nodes[0], "7", json!({})).await;
    let stranger = Uuid::new_v4();
    let message = |kind: &str, body: &str| format!(r#"{{"node":"{stranger}","kind":"{kind}","body":{body}}}"#);
    let publish = |n: u32| format!(r#"{{"publish":{{"channel":"chat:1","data":{n}}}}}"#);
    let odd = [
        String::new(),
        "garbage".into(),
        "[".repeat(9_999),
        "{}".into(),
        message("song", r#"{"la":1}"#),
        message("commands", r#"{"call":-1,"commands":[]}"#),
        message("commands", &format!(r#"{{"call":0,"commands":[{{"sing":{{}}}},{{}},{}]}}"#, publish(1))),
        message(
            "said",
            r#"{"call":0,"publish":{"channel":"chat:1","data":2},"by":"\u0000","more":"of a later version"}"#,
        ),
        message("company", r#"{"channel":"chat:1","changes":[{"dance":1}]}"#),
        message("company", r#"{"channel":"","changes":[]}"#),
        message("question", r#"{"call":0,"about":"everything"}"#),
        message("answer", &format!(r#"{{"to":"{stranger}","call":0,"part":{{"channels":{{}}}},"last":true}}"#)),
        message("bye", "[]"),
    ];
    for message in odd {
        hub.bus.say(&Bytes::from(message));
    }
    hub.bus.say(&Bytes::from_static(b"\xff\xfe\x00"));
    post(&hub.nodes[0], "publish", json!({"channel": "chat:1", "data": 3})).await;
    assert_eq!(data(&mut client, 3).await, [1, 2, 3], "what can be understood is done");
    assert!(hub.nodes[0].hub.is_ready());
}

#[tokio::test]
async fn a_message_that_breaks_lines_does_not_break_a_clients() {
    let hub = Cluster::start(1).await;
    let (mut client, _) = member(&hub.nodes[0], "7", json!({"join_leave": true})).await;
    assert!(client.push().await["join"].is_object());
    let stranger = Uuid::new_v4();
    let who = "{\n\"user\":\n\"8\"}";
    let body = format!(r#"{{"channel":"chat:1","changes":[{{"join":{who}}}]}}"#);
    hub.bus.say(&Bytes::from(format!(r#"{{"node":"{stranger}","kind":"company","body":{body}}}"#)));
    assert_eq!(client.push().await["join"]["info"], json!({"user": "8"}));
    let body = format!(r#"{{"call":1,"publish":{{"channel":"chat:1","data":1}},"by":{who}}}"#);
    hub.bus.say(&Bytes::from(format!(r#"{{"node":"{stranger}","kind":"said","body":{body}}}"#)));
    assert_eq!(client.push().await["pub"]["info"], json!({"user": "8"}));
}

#[tokio::test]
async fn who_may_have_missed_something_is_told_so() {
    let hub = Cluster::start(1).await;
    let node = &hub.nodes[0];
    node.truth.join("7", 1);
    let wishes = json!({"recoverable": true});
    let (mut client, _) = member(node, "7", wishes.clone()).await;
    let history = json!({"id": 3, "history": {"channel": "chat:1"}});
    let before = client.ask(history.clone()).await["history"]["epoch"].clone();
    node.say(1, 1).await;
    assert_eq!(client.publication().await, ("room:1".into(), 1));
    // Written, but lost on the way here; and so may be that somebody was sent out of a room.
    node.truth.append(1);
    node.truth.append(1);
    node.truth.leave("7", 1);
    node.hub.missed().await;
    assert_eq!(client.closed().await, (3010, "insufficient state".to_owned()));
    let (_, connected) = node.connect("7").await;
    assert!(connected["subs"]["room:1"].is_null(), "{connected}");
    node.truth.join("7", 1);
    let (mut again, connected) = node.connect("7").await;
    let told = connected["subs"]["room:1"]["offset"].as_u64().unwrap();
    let missing: Vec<u64> = (told + 1..=3).collect();
    assert_eq!(again.offsets(missing.len()).await, missing, "rooms are filled from the truth");
    let (mut client, _) = member(node, "7", wishes).await;
    let after = client.ask(history).await["history"]["epoch"].clone();
    assert!(before.is_string() && after.is_string() && before != after, "what the hub counts begins anew");
}

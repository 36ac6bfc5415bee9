//! Several hubs that are one: what is said on a node is heard on all, in the same order, and who is there is who is on
//! any of them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hub::HubConfig;
use protocol::Command;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Client, Line, TestBus, TestHub, api::post, command, eventually};

/// Cluster of one hub, with a namespace `chat` in which much is allowed.
struct Cluster {
    bus: Arc<TestBus>,
    nodes: Vec<TestHub>,
    lines: Vec<Arc<Line>>,
}

impl Cluster {
    async fn start(count: usize) -> Self {
        Self::start_with(count, |_| {}).await
    }

    async fn start_with(count: usize, change: impl Fn(&mut HubConfig)) -> Self {
        let mut nodes = Self { bus: TestBus::new(), nodes: Vec::new(), lines: Vec::new() };
        for _ in 0..count {
            nodes.add(&change).await;
        }
        nodes.know_each_other().await;
        nodes
    }

    async fn add(&mut self, change: impl Fn(&mut HubConfig)) {
        let name = format!("node {}", self.nodes.len());
        let (node, line) = TestHub::among(&self.bus, |config| {
            TestHub::with_chat(config, |_| {});
            config.node_name = name;
            config.node_heartbeat = Duration::from_millis(50);
            change(config);
        })
        .await;
        self.nodes.push(node);
        self.lines.push(line);
    }

    async fn know_each_other(&self) {
        for node in &self.nodes {
            eventually("every node knows the others", async || {
                (names(node).await.len() == self.nodes.len()).then_some(())
            })
            .await;
        }
    }
}

/// The nodes that `info` shows.
async fn names(node: &TestHub) -> Vec<String> {
    let info = post(node, "info", json!({})).await;
    let nodes = info["result"]["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}

/// A connected client of a user that hears `chat:1`, and what it is called.
async fn member(node: &TestHub, user: &str, wishes: Value) -> (Client, String) {
    let (mut client, connected) = node.connect(user).await;
    let mut subscribe = json!({"channel": "chat:1"});
    subscribe.as_object_mut().unwrap().extend(wishes.as_object().unwrap().clone());
    let reply = client.ask(json!({"id": 2, "subscribe": subscribe})).await;
    assert!(reply["subscribe"].is_object(), "{reply}");
    (client, connected["client"].as_str().unwrap().to_owned())
}

/// The data of the next publications.
async fn data(client: &mut Client, count: usize) -> Vec<Value> {
    let mut data = Vec::new();
    while data.len() < count {
        data.push(client.push().await["pub"]["data"].clone());
    }
    data
}

fn publish(n: impl Into<Value>) -> Value {
    json!({"channel": "chat:1", "data": n.into()})
}

#[tokio::test]
async fn what_is_published_on_any_node_is_heard_on_all_in_the_same_order() {
    let hub = Cluster::start(3).await;
    let mut members = Vec::new();
    for (node, user) in hub.nodes.iter().zip(["alice", "bob", "carol"]) {
        members.push(member(node, user, json!({})).await.0);
    }
    let servers = (0..30).map(|n| post(&hub.nodes[n % 3], "publish", publish(n)));
    let answers = futures_util::future::join_all(servers).await;
    assert!(answers.iter().all(|answer| answer["result"]["offset"].as_u64().is_some()), "{answers:?}");
    let mut heard = Vec::new();
    for member in &mut members {
        heard.push(data(member, 30).await);
    }
    assert_eq!(heard[0], heard[1]);
    assert_eq!(heard[0], heard[2]);
}

#[tokio::test]
async fn a_client_that_publishes_is_heard_on_the_other_node_under_its_name() {
    let hub = Cluster::start(2).await;
    let (mut alice, name) = member(&hub.nodes[0], "alice", json!({})).await;
    let (mut bob, _) = member(&hub.nodes[1], "bob", json!({})).await;
    assert_eq!(alice.ask(json!({"id": 3, "publish": publish("hi")})).await, json!({"id": 3, "publish": {}}));
    let said = json!({"data": "hi", "info": {"user": "alice", "client": name}, "offset": 1});
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.push().await, json!({"channel": "chat:1", "pub": said}));
    }
}

#[tokio::test]
async fn a_batch_is_carried_out_in_order_on_every_node() {
    let hub = Cluster::start(2).await;
    let (mut client, _) = hub.nodes[1].connect("7").await;
    let commands = json!([
        {"subscribe": {"user": "7", "channel": "chat:1"}},
        {"publish": publish(1)},
        {"publish": {"channel": "nothing:1", "data": 1}},
        {"broadcast": {"channels": ["chat:1", "chat:2"], "data": 2}},
        {"presence_stats": {"channel": "chat:1"}},
        {"unsubscribe": {"user": "7", "channel": "chat:1"}},
        {"publish": publish(3)},
    ]);
    let replies = post(&hub.nodes[0], "batch", json!({"commands": commands})).await["replies"].clone();
    assert_eq!(replies[1]["publish"]["offset"], 1);
    assert_eq!(replies[2]["error"]["code"], 102);
    assert_eq!(replies[3]["broadcast"]["responses"][1]["result"]["offset"], 1);
    assert_eq!(replies[4]["presence_stats"], json!({"num_clients": 1, "num_users": 1}), "it is on the other node");
    assert_eq!(replies[6]["publish"]["offset"], 3);
    assert!(client.push().await["subscribe"].is_object());
    assert_eq!(data(&mut client, 2).await, [1, 2]);
    assert_eq!(client.push().await["unsubscribe"]["code"], 2000);
    assert_eq!(client.ask(json!({"id": 2, "rpc": {}})).await["error"]["code"], 108, "heard nothing more");
}

#[tokio::test]
async fn a_user_is_reached_on_every_node() {
    let hub = Cluster::start(2).await;
    let (mut here, _) = hub.nodes[0].connect("7").await;
    let (mut there, _) = hub.nodes[1].connect("7").await;
    post(&hub.nodes[0], "refresh", json!({"user": "7", "expire_at": crate::LATER})).await;
    for client in [&mut here, &mut there] {
        assert_eq!(client.push().await["refresh"]["expires"], true);
    }
    assert_eq!(post(&hub.nodes[0], "disconnect", json!({"user": "7"})).await, json!({"result": {}}));
    assert_eq!(here.closed().await.0, 3503);
    assert_eq!(there.closed().await.0, 3503);
}

#[tokio::test]
async fn who_is_there_is_who_is_on_any_node() {
    let hub = Cluster::start(3).await;
    let (mut alice, first) = member(&hub.nodes[0], "alice", json!({})).await;
    let (_also_alice, second) = member(&hub.nodes[1], "alice", json!({})).await;
    let (bob, third) = member(&hub.nodes[2], "bob", json!({})).await;
    let channel = json!({"channel": "chat:1"});
    let everybody = json!({
        &first: {"user": "alice", "client": first},
        &second: {"user": "alice", "client": second},
        &third: {"user": "bob", "client": third},
    });
    let presence = json!({"presence": everybody});
    for node in &hub.nodes {
        assert_eq!(post(node, "presence", channel.clone()).await["result"], presence);
    }
    assert_eq!(alice.ask(json!({"id": 3, "presence": channel})).await["presence"], presence);
    let stats = json!({"id": 4, "presence_stats": channel});
    assert_eq!(alice.ask(stats).await["presence_stats"], json!({"num_clients": 3, "num_users": 2}));
    let channels = post(&hub.nodes[1], "channels", json!({"pattern": "chat:*"})).await;
    assert_eq!(channels["result"], json!({"channels": {"chat:1": {"num_clients": 3}}}));
    drop(bob);
    eventually("bob has gone", async || {
        let stats = post(&hub.nodes[0], "presence_stats", channel.clone()).await;
        (stats["result"] == json!({"num_clients": 2, "num_users": 1})).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_large_presence_comes_in_parts_and_is_whole() {
    let hub = Cluster::start_with(2, |config| config.shards = 1).await;
    let info = "x".repeat(20_000);
    let mut members = Vec::new();
    for n in 0..12 {
        let (mut client, _) = hub.nodes[1].connect(&format!("user {n}")).await;
        let info = json!({"bio": info});
        let claims = json!({"sub": format!("user {n}"), "channel": "chat:1", "info": info, "exp": crate::LATER});
        let subscribe = json!({"channel": "chat:1", "token": crate::sign(crate::SECRET, &claims)});
        assert!(client.ask(json!({"id": 2, "subscribe": subscribe})).await["subscribe"].is_object());
        members.push(client);
    }
    let presence = post(&hub.nodes[0], "presence", json!({"channel": "chat:1"})).await;
    assert_eq!(presence["result"]["presence"].as_object().unwrap().len(), 12);
    assert!(presence.to_string().len() > 240_000);
}

#[tokio::test]
async fn those_who_ask_are_told_who_comes_and_goes_on_other_nodes() {
    let hub = Cluster::start(2).await;
    let (mut curious, alice) = member(&hub.nodes[0], "alice", json!({"join_leave": true})).await;
    assert_eq!(curious.push().await["join"]["info"]["client"], alice.as_str(), "its own coming, once");
    let (mut bob, name) = member(&hub.nodes[1], "bob", json!({})).await;
    let info = json!({"info": {"user": "bob", "client": name}});
    assert_eq!(curious.push().await, json!({"channel": "chat:1", "join": info}));
    bob.ask(json!({"id": 3, "unsubscribe": {"channel": "chat:1"}})).await;
    assert_eq!(curious.push().await, json!({"channel": "chat:1", "leave": info}));
    let (carol, _) = member(&hub.nodes[1], "carol", json!({})).await;
    assert_eq!(curious.push().await["join"]["info"]["user"], "carol");
    drop(carol);
    assert_eq!(curious.push().await["leave"]["info"]["user"], "carol");
}

#[tokio::test]
async fn a_node_that_stops_says_who_leaves_with_it_and_goodbye() {
    let hub = Cluster::start(2).await;
    let (mut curious, _) = member(&hub.nodes[0], "alice", json!({"join_leave": true})).await;
    let (mut bob, _) = member(&hub.nodes[1], "bob", json!({})).await;
    assert_eq!([curious.push().await, curious.push().await][1]["join"]["info"]["user"], "bob");
    let (stopped, closed) = tokio::join!(hub.nodes[1].hub.stop(), bob.closed());
    assert_eq!((stopped, closed.0), ((), 3001));
    assert_eq!(curious.push().await["leave"]["info"]["user"], "bob");
    eventually("the other node is gone", async || (names(&hub.nodes[0]).await == ["node 0"]).then_some(())).await;
    let stats = post(&hub.nodes[0], "presence_stats", json!({"channel": "chat:1"})).await;
    assert_eq!(stats["result"], json!({"num_clients": 1, "num_users": 1}));
}

#[tokio::test]
async fn an_idempotency_key_is_known_on_every_node() {
    let hub = Cluster::start(2).await;
    let (mut alice, _) = member(&hub.nodes[0], "alice", json!({})).await;
    let (mut bob, _) = member(&hub.nodes[1], "bob", json!({})).await;
    let keyed = json!({"channel": "chat:1", "data": 1, "idempotency_key": "k"});
    assert_eq!(post(&hub.nodes[0], "publish", keyed.clone()).await["result"]["offset"], 1);
    assert_eq!(post(&hub.nodes[1], "publish", keyed).await["result"]["offset"], 1);
    post(&hub.nodes[1], "publish", publish(2)).await;
    for client in [&mut alice, &mut bob] {
        assert_eq!(data(client, 2).await, [1, 2]);
    }
}

#[tokio::test]
async fn rooms_and_history_are_the_same_everywhere_but_a_position_holds_on_its_own_node() {
    let hub = Cluster::start(2).await;
    for n in 1..=3 {
        post(&hub.nodes[0], "publish", publish(n)).await;
    }
    let history = async |node: &TestHub| {
        eventually("everything has been heard", async || {
            let page = post(node, "history", json!({"channel": "chat:1", "limit": 9})).await["result"].clone();
            (page["offset"] == 3).then_some(page)
        })
        .await
    };
    let (here, there) = (history(&hub.nodes[0]).await, history(&hub.nodes[1]).await);
    assert_eq!(here["publications"], there["publications"]);
    // A client that moves is told that it may have missed something: each node counts for itself.
    let moved = json!({"channel": "chat:1", "recoverable": true, "recover": true, "epoch": here["epoch"], "offset": 1});
    let told = async |node: &TestHub| {
        let (mut client, _) = node.connect("7").await;
        client.ask(json!({"id": 2, "subscribe": moved})).await["subscribe"].clone()
    };
    let back = told(&hub.nodes[0]).await;
    assert_eq!((&back["recovered"], back["publications"].as_array().unwrap().len()), (&json!(true), 2));
    let elsewhere = told(&hub.nodes[1]).await;
    assert_eq!((&elsewhere["was_recovering"], &elsewhere["recovered"]), (&json!(true), &Value::Null));
    assert_eq!((&elsewhere["publications"], &elsewhere["epoch"]), (&Value::Null, &there["epoch"]));
    post(&hub.nodes[0], "history_remove", json!({"channel": "chat:1"})).await;
    eventually("nothing is kept", async || {
        let page = post(&hub.nodes[1], "history", json!({"channel": "chat:1", "limit": 9})).await;
        (page["result"]["publications"] == json!([])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn info_shows_every_node() {
    let hub = Cluster::start(2).await;
    let (_client, _) = member(&hub.nodes[1], "alice", json!({})).await;
    let other = eventually("the other node has told of its client", async || {
        let info = post(&hub.nodes[0], "info", json!({})).await["result"].clone();
        (info["nodes"][1]["num_subs"] == 2).then(|| info["nodes"].clone())
    })
    .await;
    let counts = ["num_clients", "num_users", "num_channels"].map(|name| other[1][name].as_u64().unwrap());
    assert_eq!((&other[0]["name"], &other[1]["name"], counts), (&json!("node 0"), &json!("node 1"), [1, 1, 2]));
    assert_ne!(other[0]["uid"], other[1]["uid"]);
}

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
    let (mut client, _) = member(node, "7", wishes).await;
    node.say(1, 1).await;
    assert_eq!(client.publication().await, ("room:1".into(), 1));
    // Written, but lost on the way here.
    node.truth.append(1);
    node.truth.append(1);
    node.hub.missed().await;
    let (mut room, mut chat) = (Vec::new(), None);
    while room.len() < 2 || chat.is_none() {
        let push = client.push().await;
        match push["channel"].as_str().unwrap() {
            "room:1" => room.push(push["pub"]["offset"].as_u64().unwrap()),
            _ => chat = Some(push["unsubscribe"]["code"].as_u64().unwrap()),
        }
    }
    assert_eq!((room, chat), (vec![2, 3], Some(2500)), "rooms are filled up, the other begins anew");
}

#[tokio::test]
async fn what_each_node_is_told_from_elsewhere_is_not_said_on() {
    let bus = TestBus::new();
    let (_, mut ear) = bus.line();
    let (node, _line) = TestHub::among(&bus, |config| TestHub::with_chat(config, |_| {})).await;
    let commands: Vec<Command> = vec![command("publish", publish(1)), command("disconnect", json!({"user": "7"}))];
    assert!(node.hub.execute(commands).await.iter().all(Result::is_ok));
    assert_eq!(ear.next().await["kind"], "here");
    post(&node, "publish", publish(2)).await;
    loop {
        match ear.next().await {
            message if message["kind"] == "here" => {}
            message => return assert_eq!(message["body"]["commands"][0]["publish"]["data"], 2),
        }
    }
}

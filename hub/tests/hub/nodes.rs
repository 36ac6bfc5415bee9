//! Several hubs that are one: what is said on a node is heard on all, in the same order, and who is there is who is on
//! any of them.

mod company;
mod failures;
mod model;

use std::{sync::Arc, time::Duration};

use hub::HubConfig;
use protocol::Command;
use serde_json::{Value, json};

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

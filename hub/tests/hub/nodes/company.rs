//! Who is there is who is on any node, and all nodes know each other.

use serde_json::json;

use super::{Cluster, member, names};
use crate::{api::post, eventually};

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

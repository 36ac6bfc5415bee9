//! What clients do in channels of the hub's own: publish, read the history, see each other.

use serde_json::{Value, json};

use crate::{Client, TestHub, command};

/// A connected client of a user that hears `chat:1`, with what it was told.
async fn member(hub: &TestHub, user: &str, wishes: Value) -> (Client, Value) {
    let (mut client, connected) = hub.connect(user).await;
    let mut subscribe = json!({"channel": "chat:1"});
    subscribe.as_object_mut().unwrap().extend(wishes.as_object().unwrap().clone());
    let reply = client.ask(json!({"id": 2, "subscribe": subscribe})).await;
    assert!(reply["subscribe"].is_object(), "{reply}");
    (client, json!({"client": connected["client"], "subscribe": reply["subscribe"]}))
}

#[tokio::test]
async fn a_subscriber_publishes_and_everybody_hears_who_it_was() {
    let hub = TestHub::alone(|_| {}).await;
    let (mut alice, told) = member(&hub, "alice", json!({})).await;
    let (mut bob, _) = member(&hub, "bob", json!({})).await;
    let publish = json!({"id": 3, "publish": {"channel": "chat:1", "data": {"text": "hi"}}});
    assert_eq!(alice.ask(publish.clone()).await, json!({"id": 3, "publish": {}}));
    for client in [&mut alice, &mut bob] {
        let info = json!({"user": "alice", "client": told["client"]});
        let said = json!({"data": {"text": "hi"}, "info": info, "offset": 1});
        assert_eq!(client.push().await, json!({"channel": "chat:1", "pub": said}));
    }
    let (mut carol, _) = hub.connect("carol").await;
    assert_eq!(carol.ask(publish).await["error"]["code"], 103, "does not hear the channel");
    assert_eq!(bob.ask(json!({"id": 4, "publish": {"channel": "chat:1"}})).await["error"]["code"], 107, "no data");
}

#[tokio::test]
async fn history_is_read_in_pages_in_both_directions() {
    let hub = TestHub::alone(|_| {}).await;
    let (mut client, _) = member(&hub, "7", json!({})).await;
    for n in 1..=12 {
        hub.execute(command("publish", json!({"channel": "chat:1", "data": n, "tags": {"k": "v"}}))).await;
    }
    client.offsets(12).await;
    let mut ask = async |question: Value| {
        let mut history = json!({"channel": "chat:1"});
        history.as_object_mut().unwrap().extend(question.as_object().unwrap().clone());
        client.ask(json!({"id": 3, "history": history})).await
    };
    let top = ask(json!({})).await["history"].clone();
    assert_eq!((&top["publications"], &top["offset"]), (&json!([]), &json!(12)));
    let epoch = top["epoch"].clone();
    let data = |reply: &Value| -> Vec<u64> {
        let publications = reply["history"]["publications"].as_array().unwrap();
        publications.iter().map(|publication| publication["data"].as_u64().unwrap()).collect()
    };
    let page = ask(json!({"limit": 2, "since": {"offset": 4, "epoch": epoch}})).await;
    assert_eq!(data(&page), [5, 6]);
    assert_eq!(page["history"]["publications"][0], json!({"data": 5, "offset": 5, "tags": {"k": "v"}}));
    assert_eq!(data(&ask(json!({"limit": -1})).await), (3..=12).collect::<Vec<_>>(), "ten are kept");
    assert_eq!(data(&ask(json!({"limit": 3, "reverse": true})).await), [12, 11, 10]);
    assert_eq!(data(&ask(json!({"limit": 9, "reverse": true, "since": {"offset": 5}})).await), [4, 3]);
    assert_eq!(ask(json!({"limit": 1, "since": {"offset": 4, "epoch": "other"}})).await["error"]["code"], 112);
    assert_eq!(ask(json!({"limit": 1, "reverse": true, "since": {"offset": 0}})).await["error"]["code"], 107);
    hub.execute(command("history_remove", json!({"channel": "chat:1"}))).await;
    let removed = ask(json!({"limit": -1})).await["history"].clone();
    assert_eq!(removed, json!({"publications": [], "epoch": epoch, "offset": 12}), "the position stays");
}

#[tokio::test]
async fn presence_shows_who_is_there_and_ends_with_the_connection() {
    let hub = TestHub::alone(|_| {}).await;
    let (mut alice, told) = member(&hub, "alice", json!({})).await;
    let (bob, _) = member(&hub, "bob", json!({})).await;
    let stats = json!({"id": 3, "presence_stats": {"channel": "chat:1"}});
    assert_eq!(alice.ask(stats.clone()).await["presence_stats"], json!({"num_clients": 2, "num_users": 2}));
    drop(bob);
    crate::eventually("bob has gone", async || {
        (alice.ask(stats.clone()).await["presence_stats"]["num_clients"] == 1).then_some(())
    })
    .await;
    let presence = alice.ask(json!({"id": 4, "presence": {"channel": "chat:1"}})).await;
    let name = told["client"].as_str().unwrap();
    assert_eq!(presence["presence"], json!({"presence": {name: {"user": "alice", "client": name}}}));
    let (mut carol, _) = hub.connect("carol").await;
    assert_eq!(carol.ask(stats).await["error"]["code"], 103);
}

#[tokio::test]
async fn those_who_ask_are_told_who_comes_and_goes() {
    let hub = TestHub::alone(|_| {}).await;
    let (mut curious, told) = member(&hub, "alice", json!({"join_leave": true})).await;
    let own = curious.push().await;
    assert_eq!(own["join"]["info"], json!({"user": "alice", "client": told["client"]}), "its own coming");
    let (mut other, bob) = member(&hub, "bob", json!({})).await;
    let info = json!({"info": {"user": "bob", "client": bob["client"]}});
    assert_eq!(curious.push().await, json!({"channel": "chat:1", "join": info}));
    other.ask(json!({"id": 3, "unsubscribe": {"channel": "chat:1"}})).await;
    assert_eq!(curious.push().await, json!({"channel": "chat:1", "leave": info}));
    // Nothing but what it asked for was sent to the other.
    assert_eq!(other.ask(json!({"id": 4, "rpc": {}})).await["error"]["code"], 108);
}

#[tokio::test]
async fn who_understands_numbers_is_not_sent_the_channels_name() {
    let hub = TestHub::alone(|options| options.force_push_join_leave = true).await;
    let (mut plain, _) = member(&hub, "alice", json!({})).await;
    let (mut short, told) = member(&hub, "bob", json!({"flag": 1})).await;
    let number = told["subscribe"]["id"].as_u64().unwrap();
    hub.execute(command("publish", json!({"channel": "chat:1", "data": 1}))).await;
    assert_eq!(short.push().await["id"], number, "its own join");
    assert_eq!(short.push().await, json!({"id": number, "pub": {"data": 1, "offset": 1}}));
    let named = [plain.push().await, plain.push().await, plain.push().await];
    assert!(named.iter().all(|push| push["channel"] == "chat:1" && push["id"].is_null()), "{named:?}");
    hub.execute(command("unsubscribe", json!({"user": "bob", "channel": "chat:1"}))).await;
    assert_eq!(short.push().await["channel"], "chat:1", "the end of the subscription names it");
}

#[tokio::test]
async fn recovery_is_for_those_who_ask_where_it_is_only_allowed() {
    let hub = TestHub::alone(|_| {}).await;
    let (mut client, told) = member(&hub, "7", json!({"recoverable": true})).await;
    assert_eq!(told["subscribe"]["recoverable"], true);
    let epoch = told["subscribe"]["epoch"].clone();
    client.ask(json!({"id": 3, "unsubscribe": {"channel": "chat:1"}})).await;
    for n in 1..=3 {
        hub.execute(command("publish", json!({"channel": "chat:1", "data": n}))).await;
    }
    let from = json!({"channel": "chat:1", "recoverable": true, "recover": true, "epoch": epoch, "offset": 1});
    let back = client.ask(json!({"id": 4, "subscribe": from})).await["subscribe"].clone();
    assert_eq!((&back["recovered"], back["publications"].as_array().unwrap().len()), (&json!(true), 2));
    let (_, plain) = member(&hub, "8", json!({})).await;
    assert_eq!(plain["subscribe"], json!({}));
}

#[tokio::test]
async fn a_publishers_version_is_never_taken_twice() {
    let hub = TestHub::alone(|_| {}).await;
    let publish = |version: u64, epoch: &str| {
        command("publish", json!({"channel": "chat:1", "data": 1, "version": version, "version_epoch": epoch}))
    };
    assert_eq!(hub.execute(publish(5, "a")).await.offset.0, 1);
    assert_eq!(hub.execute(publish(5, "a")).await.offset.0, 1);
    assert_eq!(hub.execute(publish(4, "a")).await.offset.0, 1);
    assert_eq!(hub.execute(publish(6, "a")).await.offset.0, 2);
    assert_eq!(hub.execute(publish(1, "b")).await.offset.0, 3, "another epoch");
}

#[tokio::test]
async fn what_is_not_to_be_kept_is_heard_and_forgotten() {
    let hub = TestHub::alone(|_| {}).await;
    let (mut client, _) = member(&hub, "7", json!({})).await;
    hub.execute(command("publish", json!({"channel": "chat:1", "data": 1, "skip_history": true}))).await;
    assert_eq!(client.push().await["pub"], json!({"data": 1}));
    let history = client.ask(json!({"id": 3, "history": {"channel": "chat:1", "limit": -1}})).await;
    assert_eq!(history["history"]["publications"], json!([]));
}

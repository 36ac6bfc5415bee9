//! Clients that come back: from history, from the backlog, after a restart of the hub, after a change of epoch.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use serde_json::{Value, json};

use crate::{TestHub, eventually};

fn from(offset: u64) -> Value {
    json!({"room:1": {"recover": true, "epoch": "e1", "offset": offset}})
}

/// What a client that has seen everything up to `offset` sees after it has come back.
fn offsets(sub: &Value) -> Vec<u64> {
    let publications = sub["publications"].as_array().cloned().unwrap_or_default();
    publications.iter().map(|publication| publication["offset"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_short_absence_is_made_good_from_history_without_asking_the_truth() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    let (first, _) = hub.connect("7").await;
    hub.say(1, 2).await;
    drop(first);
    hub.say(1, 3).await;
    let (mut client, connected) = hub.connect_from("7", from(2)).await;
    let sub = &connected["subs"]["room:1"];
    assert_eq!(offsets(sub), [3, 4, 5]);
    assert_eq!(
        (&sub["recovered"], &sub["was_recovering"], &sub["offset"], &sub["epoch"]),
        (&json!(true), &json!(true), &json!(2), &json!("e1"))
    );
    assert_eq!(sub["publications"][0]["data"], json!({"room": 1, "n": 3}));
    assert_eq!(hub.truth.reads(), 0);
    hub.say(1, 1).await;
    assert_eq!(client.offsets(1).await, [6]);
}

#[tokio::test]
async fn a_client_that_missed_nothing_is_told_so() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    hub.say(1, 3).await;
    let (_client, connected) = hub.connect_from("7", from(3)).await;
    let expected = json!({"recoverable": true, "epoch": "e1", "recovered": true, "offset": 3, "positioned": true, "was_recovering": true});
    assert_eq!(connected["subs"]["room:1"], expected);
}

#[tokio::test]
async fn a_long_absence_is_made_good_from_the_backlog() {
    let hub = TestHub::start_with(|config| {
        config.namespaces.get_mut("room").unwrap().history_size = 5;
    })
    .await;
    hub.truth.join("7", 1);
    hub.say(1, 300).await;
    let (_client, connected) = hub.connect_from("7", from(10)).await;
    assert_eq!(offsets(&connected["subs"]["room:1"]), (11..=300).collect::<Vec<_>>());
    assert_eq!(hub.truth.reads(), 1);
}

#[tokio::test]
async fn after_a_restart_everybody_recovers_with_one_read_of_the_backlog() {
    let before = TestHub::start().await;
    for user in 0..50 {
        before.truth.join(&user.to_string(), 1);
    }
    before.say(1, 40).await;
    before.hub.stop().await;
    let hub = TestHub::start_on(Arc::clone(&before.truth), |_| {}).await;
    hub.truth.backlogs.forget_permits(usize::MAX);
    let clients = (0..50).map(|user: usize| {
        let hub = &hub;
        async move { hub.connect_from(&user.to_string(), from(20 + user as u64 % 5)).await }
    });
    let release = async {
        eventually("the backlog is read", async || (hub.truth.reads() > 0).then_some(())).await;
        eventually("all have asked", async || (hub.truth.asked.load(Ordering::SeqCst) >= 50).then_some(())).await;
        hub.truth.backlogs.add_permits(100);
    };
    let (clients, ()) = tokio::join!(futures_util::future::join_all(clients), release);
    for (user, (_, connected)) in clients.iter().enumerate() {
        assert_eq!(offsets(&connected["subs"]["room:1"]), (21 + user as u64 % 5..=40).collect::<Vec<_>>());
    }
    assert!(hub.truth.reads() <= 3, "{} reads", hub.truth.reads());
}

#[tokio::test]
async fn what_is_published_while_the_backlog_is_read_is_neither_lost_nor_doubled() {
    let hub = TestHub::start_with(|config| config.namespaces.get_mut("room").unwrap().history_size = 3).await;
    hub.truth.join("7", 1);
    hub.say(1, 20).await;
    hub.truth.backlogs.forget_permits(usize::MAX);
    let during = async {
        eventually("the backlog is read", async || (hub.truth.reads() == 1).then_some(())).await;
        hub.say(1, 10).await; // more than the history keeps: a second read is needed
        hub.truth.backlogs.add_permits(9);
    };
    let ((mut client, connected), ()) = tokio::join!(hub.connect_from("7", from(5)), during);
    let mut seen = offsets(&connected["subs"]["room:1"]);
    hub.say(1, 5).await;
    while seen.last() != Some(&35) {
        seen.extend(client.offsets(1).await);
    }
    assert_eq!(seen, (6..=35).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_client_that_missed_too_much_or_knows_another_epoch_is_not_recovered() {
    let hub = TestHub::start_with(|config| config.recovery_limit = 10).await;
    hub.truth.join("7", 1);
    hub.say(1, 20).await;
    for (epoch, offset) in [("e1", 5), ("other", 20), ("e1", 99)] {
        let sub = json!({"room:1": {"recover": true, "epoch": epoch, "offset": offset}});
        let (_client, connected) = hub.connect_from("7", sub).await;
        let expected =
            json!({"recoverable": true, "epoch": "e1", "offset": 20, "positioned": true, "was_recovering": true});
        assert_eq!(connected["subs"]["room:1"], expected, "from {epoch} {offset}");
    }
    let (_client, connected) = hub.connect_from("7", from(10)).await;
    assert_eq!(offsets(&connected["subs"]["room:1"]).len(), 10);
}

#[tokio::test]
async fn a_client_that_has_seen_more_than_a_restarted_hub_is_not_told_it_again() {
    let before = TestHub::start().await;
    before.truth.join("7", 1);
    before.say(1, 8).await;
    before.hub.stop().await;
    let hub = TestHub::start_on(Arc::clone(&before.truth), |_| {}).await;
    hub.execute(hub.truth.row(1, 5)).await; // the relay repeats what was not acknowledged
    let (mut client, connected) = hub.connect_from("7", from(8)).await;
    assert_eq!(connected["subs"]["room:1"]["recovered"], true);
    for version in 6..=8 {
        hub.execute(hub.truth.row(1, version)).await;
    }
    hub.say(1, 1).await;
    assert_eq!(client.offsets(1).await, [9]);
}

#[tokio::test]
async fn a_new_epoch_sends_subscribers_back_to_learn_it() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    hub.say(1, 2).await;
    let (mut server_side, _) = hub.connect("7").await;
    let (mut client_side, _) = hub.connect("8").await;
    hub.truth.join("8", 1);
    client_side.ask(json!({"id": 2, "subscribe": {"channel": "room:1"}})).await;
    hub.truth.restore(1, "new");
    hub.say(1, 1).await;
    let push = client_side.push().await;
    assert_eq!(push["unsubscribe"], json!({"code": 2500, "reason": "insufficient state"}));
    assert_eq!(server_side.closed().await, (3010, "insufficient state".into()));
    let (mut back, connected) = hub.connect_from("7", from(2)).await;
    assert_eq!(connected["subs"]["room:1"]["epoch"], "new");
    assert_eq!(connected["subs"]["room:1"]["recovered"], Value::Null);
    hub.say(1, 1).await;
    assert_eq!(back.offsets(1).await, [4]);
}

#[tokio::test]
async fn an_idle_channel_is_forgotten_and_still_recovers() {
    let hub = TestHub::start_with(|config| config.idle_channel_ttl = Duration::ZERO).await;
    hub.truth.join("7", 1);
    hub.say(1, 6).await;
    eventually("the history has gone, and the backlog is read", async || {
        let (_client, connected) = hub.connect_from("7", from(2)).await;
        assert_eq!(offsets(&connected["subs"]["room:1"]), [3, 4, 5, 6]);
        (hub.truth.reads() > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_returning_client_is_told_to_try_again_while_the_backlog_cannot_be_read() {
    let hub = TestHub::start_with(|config| config.namespaces.get_mut("room").unwrap().history_size = 1).await;
    hub.truth.join("7", 1);
    hub.say(1, 6).await;
    hub.truth.hold_answers();
    let mut client = hub.open().await;
    client.send(&json!({"id": 1, "connect": {"token": crate::token("7"), "subs": from(1)}})).await;
    eventually("subscriptions are asked", async || (hub.truth.asked.load(Ordering::SeqCst) == 1).then_some(())).await;
    hub.truth.down.store(true, Ordering::SeqCst);
    hub.truth.answers.add_permits(9);
    assert_eq!(client.next().await["error"]["code"], 100);
    hub.truth.down.store(false, Ordering::SeqCst);
    let (_client, connected) = hub.connect_from("7", from(1)).await;
    assert_eq!(offsets(&connected["subs"]["room:1"]), [2, 3, 4, 5, 6]);
}

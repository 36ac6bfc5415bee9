//! What the relay does to the connections of a user: join a room in one tab, hear it in all.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::{TestHub, command, eventually, token};

fn join(room: i64) -> protocol::Command {
    command("subscribe", json!({"user": "7", "channel": format!("room:{room}")}))
}

fn leave(room: i64) -> protocol::Command {
    command("unsubscribe", json!({"user": "7", "channel": format!("room:{room}")}))
}

#[tokio::test]
async fn joining_and_leaving_reach_every_tab_in_order_with_the_publications() {
    let hub = TestHub::start().await;
    let (mut one, _) = hub.connect("7").await;
    let (mut two, _) = hub.connect("7").await;
    let (mut other, _) = hub.connect("8").await;
    hub.truth.join("7", 1);
    // As the backend writes them: subscribe, then the line; the line, then unsubscribe.
    hub.hub.execute(vec![join(1), hub.truth.append(1)]).await;
    for client in [&mut one, &mut two] {
        let push = client.push().await;
        let told = json!({"recoverable": true, "epoch": "e1", "positioned": true});
        assert_eq!(push, json!({"channel": "room:1", "subscribe": told}));
        assert_eq!(client.offsets(1).await, [1]);
    }
    hub.hub.execute(vec![hub.truth.append(1), leave(1), hub.truth.append(1)]).await;
    for client in [&mut one, &mut two] {
        assert_eq!(client.offsets(1).await, [2]);
        let gone = json!({"code": 2000, "reason": "server unsubscribe"});
        assert_eq!(client.push().await, json!({"channel": "room:1", "unsubscribe": gone}));
        assert_eq!(client.ask(json!({"id": 2, "rpc": {}})).await["error"]["code"], 108, "heard nothing more");
    }
    assert_eq!(other.ask(json!({"id": 2, "rpc": {}})).await["error"]["code"], 108, "heard nothing");
}

#[tokio::test]
async fn a_line_that_follows_the_join_is_pushed_although_the_position_was_not_known() {
    let hub = TestHub::start().await;
    let (mut client, _) = hub.connect("7").await;
    hub.truth.join("7", 1);
    hub.truth.append(1);
    let joined = hub.truth.append(1);
    hub.hub.execute(vec![join(1), joined]).await;
    let push = client.push().await;
    // The truth is asked while the line is on its way: it may be asked after the line has come, or before.
    let offset = push["subscribe"]["offset"].as_u64().unwrap();
    let told = json!({"recoverable": true, "epoch": "e1", "offset": offset, "positioned": true});
    assert_eq!(push, json!({"channel": "room:1", "subscribe": told}));
    assert!([1, 2].contains(&offset), "{push}");
    hub.hub.execute(vec![hub.truth.append(1)]).await;
    let after: Vec<u64> = (offset + 1..=3).collect();
    assert_eq!(client.offsets(after.len()).await, after, "everything after what was told, whichever it was");
}

#[tokio::test]
async fn a_join_is_idempotent_and_outlives_a_truth_that_is_down() {
    let hub = TestHub::start().await;
    let (mut client, _) = hub.connect("7").await;
    hub.truth.join("7", 1);
    hub.truth.down.store(true, Ordering::SeqCst);
    hub.hub.execute(vec![join(1), join(1), hub.truth.append(1)]).await;
    hub.truth.recovers_after_a_refusal().await;
    assert!(client.push().await["subscribe"].is_object());
    assert_eq!(client.offsets(1).await, [1]);
    hub.hub.execute(vec![join(1), hub.truth.append(1)]).await;
    assert_eq!(client.offsets(1).await, [2], "no second subscribe push");
}

#[tokio::test]
async fn a_connection_that_is_connecting_gets_the_commands_after_its_reply() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    hub.truth.append(1);
    hub.truth.hold_answers();
    let mut client = hub.open().await;
    client.send(&json!({"id": 1, "connect": {"token": token("7")}})).await;
    eventually("subscriptions are read", async || (hub.truth.asked.load(Ordering::SeqCst) == 1).then_some(())).await;
    // Read before: the answer under way still has room 1 and has not room 2.
    hub.truth.leave("7", 1);
    hub.truth.join("7", 2);
    let lines = vec![leave(1), join(2), hub.truth.append(2), join(3), leave(3)];
    assert!(hub.hub.execute(lines).await.iter().all(Result::is_ok));
    hub.truth.answers.add_permits(9);
    let connected = client.next().await;
    assert!(connected["connect"]["subs"]["room:1"].is_object(), "{connected}");
    assert!(connected["connect"]["subs"]["room:2"].is_null(), "{connected}");
    // Channels have no order among each other; room 3 came and went before anybody could be told.
    let (mut left, mut joined) = (false, false);
    while !(left && joined) {
        let push = client.push().await;
        left |= push["channel"] == "room:1" && push["unsubscribe"]["code"] == 2000;
        joined |= push["channel"] == "room:2" && push["subscribe"]["epoch"] == "e2";
    }
    hub.say(1, 1).await;
    hub.say(2, 1).await;
    loop {
        let push = client.push().await;
        match push["channel"].as_str().unwrap() {
            "room:3" => {}
            "room:2" if push["pub"]["offset"] == 2 => return,
            "room:2" => assert!(push["pub"].is_object(), "{push}"),
            other => panic!("{other}: {push}"),
        }
    }
}

#[tokio::test]
async fn pushes_wait_for_the_connect_reply() {
    let hub = TestHub::start().await;
    hub.truth.join("7", 1);
    hub.truth.join("7", 2);
    hub.truth.append(2);
    hub.say(1, 3).await;
    hub.truth.backlogs.forget_permits(usize::MAX);
    let mut client = hub.open().await;
    // Room 2 needs the backlog, so the reply waits while room 1 is joined and goes on.
    let subs = json!({"room:2": {"recover": true, "epoch": "e2", "offset": 0}});
    client.send(&json!({"id": 1, "connect": {"token": token("7"), "subs": subs}})).await;
    eventually("the backlog is read", async || (hub.truth.reads() > 0).then_some(())).await;
    hub.say(1, 5).await;
    hub.truth.backlogs.add_permits(9);
    let reply = client.next().await;
    assert!(reply["connect"]["subs"]["room:2"]["recovered"] == true, "{reply}");
    let start = reply["connect"]["subs"]["room:1"]["offset"].as_u64().unwrap();
    let missing = usize::try_from(8 - start).unwrap();
    assert_eq!(client.offsets(missing).await, (start + 1..=8).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_user_is_disconnected_with_the_code_that_was_asked_for() {
    let hub = TestHub::start().await;
    let (mut one, _) = hub.connect("7").await;
    hub.execute(command("disconnect", json!({"user": "7"}))).await;
    assert_eq!(one.closed().await, (3503, "force disconnect".into()));
    let (mut two, _) = hub.connect("7").await;
    let reason = json!({"code": 4100, "reason": "go"});
    hub.execute(command("disconnect", json!({"user": "7", "disconnect": reason}))).await;
    assert_eq!(two.closed().await, (4100, "go".into()));
    let impossible = json!({"user": "7", "disconnect": {"code": 1006, "reason": ""}});
    assert_eq!(hub.attempt(command("disconnect", impossible)).await.unwrap_err().code, 107);
}

#[tokio::test]
async fn a_command_that_can_never_pass_has_its_code() {
    let hub = TestHub::start().await;
    let code = async |method: &str, payload| hub.attempt(command(method, payload)).await.unwrap_err().code;
    assert_eq!(code("publish", json!({"channel": "nothing:1", "data": 1})).await, 102);
    assert_eq!(code("subscribe", json!({"user": "", "channel": "room:1"})).await, 107);
    assert_eq!(code("broadcast", json!({"channels": ["room:1", "nothing:1"], "data": 1})).await, 102);
}

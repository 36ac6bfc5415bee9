//! The hub's questions, asked over HTTP and in process.

use axum::http::Method;
use backend::authority;
use protocol::{Channel, Offset, RoomId};
use serde_json::json;

use crate::app::{App, INTERNAL_KEY, Reply};

async fn ask(app: &App, path: &str) -> Reply {
    let request = app.stranger().request(Method::GET, path).header("authorization", &format!("Bearer {INTERNAL_KEY}"));
    request.send().await
}

#[tokio::test]
async fn the_hub_learns_channels_positions_and_what_was_missed() {
    let app = App::start().await;
    let (alice, bob) = (app.person("alice").await, app.person("bob").await);
    let room = alice.create("room").await;
    let said = alice.say(room, "hello").await;
    let epoch = alice.room(room).await["epoch"].clone();
    let (user, other) = (alice.id, bob.id);

    let answer = ask(&app, &format!("/internal/users/{user}/subscriptions")).await.expect(200);
    let expected = json!([
        {"channel": "system:all"},
        {"channel": format!("user:{user}")},
        {"channel": format!("room:{room}"), "epoch": epoch, "offset": 2},
    ]);
    assert_eq!(answer["subscriptions"], expected);
    let answer = ask(&app, "/internal/users/somebody/subscriptions").await.expect(200);
    assert_eq!(answer, json!({"subscriptions": []}));

    let access = async |user: &str, channel: String| {
        ask(&app, &format!("/internal/access?user={user}&channel={channel}")).await.expect(200)
    };
    let granted = json!({"granted": true, "position": {"epoch": epoch, "offset": 2}});
    assert_eq!(access(&user.to_string(), format!("room:{room}")).await, granted);
    assert_eq!(access(&user.to_string(), format!("user:{user}")).await, json!({"granted": true}));
    assert_eq!(access(&user.to_string(), "system:all".to_owned()).await, json!({"granted": true}));
    for (asking, channel) in [
        (String::new(), "system:all".to_owned()),
        (user.to_string(), "system:other".to_owned()),
        (other.to_string(), format!("room:{room}")),
        (other.to_string(), format!("user:{user}")),
        (user.to_string(), "room:999".to_owned()),
        (user.to_string(), "room:x".to_owned()),
        (user.to_string(), "weather".to_owned()),
        (String::new(), format!("room:{room}")),
        ("nobody".to_owned(), "user:nobody".to_owned()),
    ] {
        assert_eq!(access(&asking, channel.clone()).await, json!({"granted": false}), "{asking} {channel}");
    }

    let backlog = ask(&app, &format!("/internal/backlog?channel=room:{room}&after=1&limit=10")).await.expect(200);
    assert_eq!(backlog["position"], json!({"epoch": epoch, "offset": 2}));
    assert_eq!(backlog["publications"][0]["offset"], 2);
    let mut data = said;
    data["type"] = json!("message");
    assert_eq!(backlog["publications"], json!([{"offset": 2, "data": data}]));
    for channel in ["room:999".to_owned(), format!("user:{user}"), "weather".to_owned()] {
        ask(&app, &format!("/internal/backlog?channel={channel}")).await.expect_problem(404, "no_such_channel");
    }
    ask(&app, "/internal/backlog?channel=").await.expect_problem(400, "wrong_parameter");
    ask(&app, "/internal/nothing").await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn a_backlog_comes_in_pieces_that_know_the_top() {
    let app = App::start().await;
    let alice = app.person("alice").await;
    let room = alice.create("room").await;
    for number in 2..=10 {
        alice.say(room, &number.to_string()).await;
    }
    let channel = Channel::room(RoomId(room));
    let piece = async |after, limit| {
        let backlog = authority::backlog(&app.db, &channel, Offset(after), limit).await.unwrap().unwrap();
        (backlog.position.offset.0, backlog.publications.iter().map(|line| line.offset.0).collect::<Vec<_>>())
    };
    assert_eq!(piece(0, 4).await, (10, vec![1, 2, 3, 4]));
    assert_eq!(piece(8, 4).await, (10, vec![9, 10]));
    assert_eq!(piece(10, 4).await, (10, vec![]));
}

#[tokio::test]
async fn only_who_knows_the_key_may_ask() {
    let app = App::start().await;
    let alice = app.person("alice").await;
    let path = format!("/internal/users/{}/subscriptions", alice.id);
    alice.get(&path).await.expect_problem(401, "wrong_key");
    for key in ["", "internal", "internal key, more"] {
        let request = alice.request(Method::GET, &path).header("authorization", &format!("Bearer {key}"));
        request.send().await.expect_problem(401, "wrong_key");
    }
    let keyless = App::with(|config| config.internal_key = String::new()).await;
    let request = keyless.stranger().request(Method::GET, &path).header("authorization", "Bearer ");
    request.send().await.expect_problem(401, "wrong_key");
}

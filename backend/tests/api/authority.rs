//! The hub's questions, asked over HTTP and in process.

use axum::http::Method;
use backend::authority;
use protocol::{Channel, Offset, RoomId, UserId};
use serde_json::{Value, json};

use crate::app::{App, INTERNAL_KEY, Reply};

async fn ask(app: &App, path: &str) -> Reply {
    let request = app.stranger().request(Method::GET, path).header("authorization", &format!("Bearer {INTERNAL_KEY}"));
    request.send().await
}

async fn ask_for_many(app: &App, path: &str, questions: &Value) -> Reply {
    let request = app.stranger().request(Method::POST, path).header("authorization", &format!("Bearer {INTERNAL_KEY}"));
    request.json(questions).send().await
}

#[tokio::test]
async fn the_hub_learns_channels_positions_and_what_was_missed() {
    let app = App::start().await;
    let (alice, bob) = (app.person("alice").await, app.person("bob").await);
    let room = alice.create("room").await;
    let said = alice.say(room, "hello").await;
    let epoch = alice.room(room).await["epoch"].clone();
    let (user, other) = (alice.id, bob.id);

    let nobody = UserId(999_999);
    let answer = ask_for_many(&app, "/internal/subscriptions", &json!({"users": [other, user, nobody, user]})).await;
    let answer = answer.expect(200);
    let uncounted = |user: UserId| vec![json!({"channel": "system:all"}), json!({"channel": format!("user:{user}")})];
    let rooms = vec![json!({"channel": format!("room:{room}"), "epoch": epoch, "offset": 2})];
    let of_user = [uncounted(user), rooms].concat();
    assert_eq!(answer["subscriptions"], json!([uncounted(other), of_user, uncounted(nobody), of_user]));
    let answer = ask_for_many(&app, "/internal/subscriptions", &json!({"users": []})).await.expect(200);
    assert_eq!(answer, json!({"subscriptions": []}));

    let (user, other) = (user.to_string(), other.to_string());
    let question = |user: &str, channel: &str| json!({"user": user, "channel": channel});
    let (room_name, own) = (format!("room:{room}"), format!("user:{user}"));
    let granted = json!({"granted": true, "position": {"epoch": epoch, "offset": 2}});
    let cases = [
        (question(&user, &room_name), granted.clone()),
        (question("", "system:all"), json!({"granted": false})),
        (question(&user, "system:other"), json!({"granted": false})),
        (question(&user, &own), json!({"granted": true})),
        (question(&other, &room_name), json!({"granted": false})),
        (question(&other, &own), json!({"granted": false})),
        (question(&user, "system:all"), json!({"granted": true})),
        (question(&user, "room:999"), json!({"granted": false})),
        (question(&user, "room:x"), json!({"granted": false})),
        (question(&user, "weather"), json!({"granted": false})),
        (question("", &room_name), json!({"granted": false})),
        (question("nobody", "user:nobody"), json!({"granted": false})),
        (question(&user, &room_name), granted),
    ];
    for asked in [&cases[..], &cases[3..4]] {
        let (questions, answers): (Vec<_>, Vec<_>) = asked.iter().cloned().unzip();
        let answer = ask_for_many(&app, "/internal/access", &json!({"questions": questions})).await.expect(200);
        assert_eq!(answer, json!({"answers": answers}));
    }

    let backlog = ask(&app, &format!("/internal/backlog?channel=room:{room}&after=1&limit=10")).await.expect(200);
    assert_eq!(backlog["position"], json!({"epoch": epoch, "offset": 2}));
    assert_eq!(backlog["publications"][0]["offset"], 2);
    let mut data = said;
    data["type"] = json!("message");
    assert_eq!(backlog["publications"], json!([{"offset": 2, "data": data}]));
    for channel in ["room:999", &own, "weather"] {
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
    let path = format!("/internal/backlog?channel=user:{}", alice.id);
    alice.get(&path).await.expect_problem(401, "wrong_key");
    for key in ["", "internal", "internal key, more"] {
        let request = alice.request(Method::GET, &path).header("authorization", &format!("Bearer {key}"));
        request.send().await.expect_problem(401, "wrong_key");
    }
    let keyless = App::with(|config| config.internal_key = String::new()).await;
    let request = keyless.stranger().request(Method::GET, &path).header("authorization", "Bearer ");
    request.send().await.expect_problem(401, "wrong_key");
}

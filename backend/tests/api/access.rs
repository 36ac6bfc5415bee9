//! Members only: no reading and no writing from outside, and no more to see than a search shows.

use protocol::Command;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;

#[tokio::test]
async fn who_is_not_a_member_gets_nothing() {
    let app = App::start().await;
    let (member, outsider) = (app.person("member").await, app.person("outsider").await);
    let room = member.create("private talk").await;
    member.say(room, "between us").await;
    let before = (app.count("messages").await, app.count("chat_outbox").await);

    for path in ["messages", "messages?after=0", "members"] {
        outsider.get(&format!("/api/rooms/{room}/{path}")).await.expect_problem(403, "not_member");
    }
    outsider.say_as(room, "let me in", Uuid::new_v4()).await.expect_problem(403, "not_member");
    outsider.put(&format!("/api/rooms/{room}/read"), json!({"version": 2})).await.expect_problem(403, "not_member");
    outsider.leave(room).await;
    assert_eq!((app.count("messages").await, app.count("chat_outbox").await), before);

    let seen = outsider.room(room).await;
    assert_eq!(seen["is_member"], false);
    for secret in ["last_message", "unread", "read_version"] {
        assert!(seen.get(secret).is_none(), "{secret}");
    }
    let found = outsider.get("/api/rooms/discover").await.expect(200);
    assert_eq!(found["rooms"], json!([seen]), "one room shows as much as a search");
    assert_eq!(outsider.get("/api/rooms").await.expect(200), json!({"rooms": []}));
}

#[tokio::test]
async fn a_room_that_does_not_exist_is_not_found() {
    let app = App::start().await;
    let person = app.person("person").await;
    for room in ["999999", "abc", "-1", "99999999999999999999"] {
        for path in ["", "/messages", "/members"] {
            person.get(&format!("/api/rooms/{room}{path}")).await.expect_problem(404, "no_such_room");
        }
        for path in ["join", "leave"] {
            person.post(&format!("/api/rooms/{room}/{path}"), Value::Null).await.expect_problem(404, "no_such_room");
        }
        let new = json!({"text": "hi", "client_id": Uuid::new_v4()});
        person.post(&format!("/api/rooms/{room}/messages"), new).await.expect_problem(404, "no_such_room");
        let read = json!({"version": 1});
        person.put(&format!("/api/rooms/{room}/read"), read).await.expect_problem(404, "no_such_room");
    }
}

#[tokio::test]
async fn coming_and_going_is_announced_in_the_order_in_which_it_must_be_heard() {
    let app = App::start().await;
    let (host, guest) = (app.person("host").await, app.person("guest").await);
    let room = host.create("room").await;
    let joined = guest.join(room).await;
    assert_eq!(
        (&joined["is_member"], &joined["member_count"], &joined["unread"]),
        (&json!(true), &json!(2), &json!(0))
    );
    assert_eq!(joined["last_message"]["kind"], "joined");
    let wakeups = app.wakeups.count();
    assert_eq!(guest.join(room).await, joined, "who is a member already joins nothing");
    guest.leave(room).await;
    guest.leave(room).await;
    assert_eq!(app.wakeups.count(), wakeups + 1, "what changes nothing wakes nobody");

    let told: Vec<String> = app
        .announced()
        .await
        .iter()
        .map(|command| match command {
            Command::Subscribe(subscribe) => format!("subscribe {} to {}", subscribe.user, subscribe.channel),
            Command::Unsubscribe(unsubscribe) => {
                format!("unsubscribe {} from {}", unsubscribe.user, unsubscribe.channel)
            }
            Command::Publish(publish) => {
                let data: Value = serde_json::from_str(publish.data.get()).unwrap();
                format!("{} {} {} of {}", publish.channel, publish.version.unwrap(), data["kind"], data["members"])
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let (host, guest) = (host.id, guest.id);
    assert_eq!(
        told,
        [
            format!("subscribe {host} to room:{room}"),
            format!("room:{room} 1 \"created\" of 1"),
            format!("subscribe {guest} to room:{room}"),
            format!("room:{room} 2 \"joined\" of 2"),
            format!("room:{room} 3 \"left\" of 1"),
            format!("unsubscribe {guest} from room:{room}"),
        ]
    );
    app.assert_timelines_are_whole().await;
}

#[tokio::test]
async fn fifty_people_who_come_and_go_at_once_leave_a_whole_timeline() {
    let app = App::start().await;
    let people = app.people(50).await;
    let room = people[0].create("station").await;
    futures_util::future::join_all(people[1..].iter().map(|person| async move {
        person.join(room).await;
        person.say(room, "hello and good bye").await;
        person.leave(room).await;
        person.join(room).await;
    }))
    .await;
    assert_eq!(people[0].room(room).await["member_count"], 50);
    app.assert_timelines_are_whole().await;
}

#[tokio::test]
async fn a_room_has_a_name_of_its_own() {
    let app = App::start().await;
    let person = app.person("person").await;
    let room = person.post("/api/rooms", json!({"name": "  Über uns  "})).await.expect(201);
    assert_eq!(room["name"], "Über uns");
    assert_eq!((&room["version"], &room["unread"], &room["texts"]), (&json!(1), &json!(0), &json!(0)));
    person.post("/api/rooms", json!({"name": "ÜBER UNS"})).await.expect_problem(409, "room_name_taken");
    for name in ["", " ", "a\nb", "a\0b", &"x".repeat(81)] {
        let problem = person.post("/api/rooms", json!({"name": name})).await.expect_problem(422, "invalid");
        assert_eq!(problem["errors"][0]["field"], "name");
    }
    app.assert_timelines_are_whole().await;
}

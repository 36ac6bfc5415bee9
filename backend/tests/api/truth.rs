//! What SQL announces, what the API answers and what the backlog tells is one and the same event.

use backend::authority;
use protocol::{Channel, ChatEvent, Command, Offset, RoomId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;

#[tokio::test]
async fn an_event_is_the_same_from_the_transaction_the_api_and_the_backlog() {
    let app = App::start().await;
    let (alice, bob) = (app.person("alice").await, app.person("bob").await);
    let room = alice.create("room").await;
    bob.join(room).await;
    let said = alice.say(room, "\"quoted\" \\ <b>&amp;</b>\n😀\u{7f}\u{2028}").await;
    bob.say(room, "{\"type\":\"message\"}").await;
    bob.leave(room).await;

    let channel = Channel::room(RoomId(room));
    let backlog = authority::backlog(&app.db, &channel, Offset(0), 100).await.unwrap().unwrap();
    let page = alice.get(&format!("/api/rooms/{room}/messages")).await.expect(200);
    let published: Vec<_> = app
        .announced()
        .await
        .into_iter()
        .filter_map(|command| if let Command::Publish(publish) = command { Some(publish) } else { None })
        .collect();
    assert_eq!((published.len(), backlog.publications.len()), (5, 5));
    assert_eq!(page["messages"][2], said);

    for (index, publish) in published.iter().enumerate() {
        let event: ChatEvent = serde_json::from_str(publish.data.get()).unwrap();
        let ChatEvent::Message(line) = &event else { panic!("{event:?}") };
        assert_eq!(publish.channel, channel);
        assert_eq!(publish.version, Some(line.version));
        assert_eq!(publish.version_epoch.as_ref(), Some(&backlog.position.epoch));

        // SQL writes no field that the type does not have, and the type none that SQL does not write.
        let from_sql: Value = serde_json::from_str(publish.data.get()).unwrap();
        let mut from_rust = serde_json::to_value(&event).unwrap();
        from_rust["created_at"] = from_sql["created_at"].clone(); // ...Z and ...+00:00 are the same time, compared below
        assert_eq!(from_sql, from_rust);

        assert_eq!(serde_json::to_string(&event).unwrap(), backlog.publications[index].data.get(), "byte for byte");
        assert_eq!(serde_json::to_value(line).unwrap(), page["messages"][index]);
    }
    assert_eq!(backlog.position.offset, Offset(5));
}

#[tokio::test]
async fn an_event_keeps_the_name_that_its_author_had() {
    let app = App::start().await;
    let alice = app.person("alice").await;
    let room = alice.create("room").await;
    let client_id = Uuid::new_v4();
    let first = alice.say_as(room, "hi", client_id).await.expect(201);
    sqlx::query("update users set name = 'Somebody else'").execute(&app.db).await.unwrap();
    assert_eq!(alice.say_as(room, "hi", client_id).await.expect(200), first);
    assert_eq!(alice.say(room, "hi again").await["author"]["name"], "Somebody else");
    assert_eq!(alice.get(&format!("/api/rooms/{room}/messages?before=3")).await.expect(200)["messages"][1], first);
}

#[tokio::test]
async fn a_read_position_that_moved_is_told_to_the_users_own_channel() {
    let app = App::start().await;
    let (alice, bob) = (app.person("alice").await, app.person("bob").await);
    let room = alice.create("room").await;
    bob.join(room).await;
    alice.say(room, "one").await;
    alice.say(room, "two").await;
    sqlx::query("delete from chat_outbox").execute(&app.db).await.unwrap();

    assert_eq!(bob.read(room, 3).await, json!({"read_version": 3, "unread": 1}));
    assert_eq!(bob.read(room, 2).await, json!({"read_version": 3, "unread": 1}), "it never moves back");
    assert_eq!(bob.read(room, 999).await, json!({"read_version": 4, "unread": 0}), "nor beyond the newest line");
    let announced = app.announced().await;
    assert_eq!(announced.len(), 2, "{announced:?}");
    let Command::Publish(publish) = &announced[0] else { panic!("{announced:?}") };
    assert_eq!((publish.channel.clone(), publish.version), (Channel::user(bob.id), None));
    let data: Value = serde_json::from_str(publish.data.get()).unwrap();
    assert_eq!(data, json!({"type": "read", "room": room, "read_version": 3, "unread": 1}));
    serde_json::from_value::<ChatEvent>(data).unwrap();
}

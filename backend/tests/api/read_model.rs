//! The room list that is made from the log: whatever comes twice, late or again from the beginning changes nothing.

use backend::read_model::{self, Applied, ApplyError, Record, RoomEntry};
use protocol::Mode;
use rand::seq::SliceRandom;
use sqlx::PgPool;
use uuid::Uuid;

use crate::app::{App, Person};

type Event = (Uuid, String, String);

/// What Debezium would make of the rows, in the order of the log.
async fn events(db: &PgPool) -> Vec<Event> {
    sqlx::query_as("select event_id, event_type, payload::text from chat_cdc order by id").fetch_all(db).await.unwrap()
}

async fn apply(db: &PgPool, (event_id, event_type, payload): &Event) -> Applied {
    read_model::apply(db, Record { event_id: *event_id, event_type, payload }).await.unwrap()
}

/// Some rooms with a history, all of it by the log.
async fn history(app: &App) -> Vec<Person> {
    app.switch(Mode::Cdc).await;
    let people = app.people(4).await;
    for number in 0..3 {
        let room = people[number].create(&format!("room {number}")).await;
        for person in &people {
            person.join(room).await;
            person.say(room, "hello").await;
        }
        let version = people[0].say(room, "last words").await["version"].as_i64().unwrap();
        people[3].read(room, version - 1).await;
        people[number + 1].leave(room).await;
    }
    people
}

async fn list(app: &App, person: &Person) -> Vec<RoomEntry> {
    read_model::rooms(&app.db, person.id, 100).await.unwrap()
}

#[tokio::test]
async fn the_list_made_of_events_is_the_list_of_the_truth() {
    let app = App::start().await;
    let people = history(&app).await;
    for event in &events(&app.db).await {
        let applied = apply(&app.db, event).await;
        let expected = if event.1.starts_with("message.") { Applied::Newest } else { Applied::Ignored };
        assert_eq!(applied, expected, "{event:?}");
    }
    for person in &people {
        let truth = person.get("/api/rooms").await.expect(200);
        let truth = truth["rooms"].as_array().unwrap();
        let entries = list(&app, person).await;
        assert_eq!(entries.len(), truth.len());
        for (entry, room) in entries.iter().zip(truth) {
            assert_eq!(
                (entry.room.0, entry.name.as_str()),
                (room["id"].as_i64().unwrap(), room["name"].as_str().unwrap())
            );
            assert_eq!(
                (entry.version.0, entry.texts),
                (room["version"].as_u64().unwrap(), room["texts"].as_i64().unwrap())
            );
            assert_eq!(i64::from(entry.member_count), room["member_count"].as_i64().unwrap());
            assert_eq!(entry.unread, room["unread"].as_i64().unwrap());
            assert_eq!(serde_json::to_value(&entry.last_message).unwrap(), room["last_message"]);
        }
    }
}

#[tokio::test]
async fn events_that_come_twice_late_or_in_any_order_make_the_same_list() {
    let app = App::start().await;
    let people = history(&app).await;
    let events = events(&app.db).await;
    for event in &events {
        apply(&app.db, event).await;
    }
    let expected = list(&app, &people[0]).await;
    for event in &events {
        let applied = apply(&app.db, event).await;
        assert!(matches!(applied, Applied::Repeat | Applied::Ignored), "{applied:?}");
    }
    assert_eq!(list(&app, &people[0]).await, expected, "the topic again from the beginning changes nothing");

    for _ in 0..5 {
        read_model::rebuild_begin(&app.db).await.unwrap();
        assert_eq!(list(&app, &people[0]).await, []);
        let mut shuffled = [events.clone(), events.clone()].concat();
        shuffled.shuffle(&mut rand::rng());
        for event in &shuffled {
            apply(&app.db, event).await;
        }
        assert_eq!(
            list(&app, &people[0]).await,
            expected,
            "{:?}",
            shuffled.iter().map(|event| event.0).collect::<Vec<_>>()
        );
    }
    // Ids that were forgotten, as after the topic's retention: versions guard alone.
    assert!(read_model::forget(&app.db, std::time::Duration::ZERO).await.unwrap() > 0);
    for event in &events {
        assert_ne!(apply(&app.db, event).await, Applied::Newest);
    }
    assert_eq!(list(&app, &people[0]).await, expected);
}

#[tokio::test]
async fn two_consumers_at_the_same_time_make_the_same_list() {
    let app = App::start().await;
    let people = history(&app).await;
    let events = events(&app.db).await;
    let consumer = async |order: Vec<Event>| {
        let mut newest = 0;
        for event in &order {
            newest += usize::from(apply(&app.db, event).await == Applied::Newest);
        }
        newest
    };
    let backwards = events.iter().rev().cloned().collect();
    let (one, other) = tokio::join!(consumer(events.clone()), consumer(backwards));
    assert!(one + other <= events.len());
    for (entry, version) in list(&app, &people[0]).await.iter().zip([10, 10, 10]) {
        assert_eq!(entry.version, entry.last_message.version);
        assert_eq!(entry.version.0, version);
    }
}

#[tokio::test]
async fn a_record_that_is_no_event_is_named_and_leaves_nothing_behind() {
    let app = App::start().await;
    let event_id = Uuid::new_v4();
    let apply = async |event_type, payload| read_model::apply(&app.db, Record { event_id, event_type, payload }).await;
    for payload in [
        "",
        "null",
        "{\"channel\": \"room:1\"}",
        "{\"channel\": \"room:1\", \"data\": {\"type\": \"message\"}}",
        "{\"channel\": \"user:1\", \"data\": {\"type\": \"read\", \"room\": 1, \"read_version\": 1, \"unread\": 0}}",
    ] {
        let error = apply("message.text", payload).await.unwrap_err();
        assert!(matches!(error, ApplyError::Payload { .. }), "{payload}: {error}");
        assert!(error.to_string().contains(&event_id.to_string()));
    }
    assert_eq!(apply("member.subscribe", "anything").await.unwrap(), Applied::Ignored);
    assert_eq!(apply("a type of next year", "anything").await.unwrap(), Applied::Ignored);
    assert_eq!((app.count("inbox_events").await, app.count("room_view").await), (0, 0));
}

//! The room list that is made from the log: whatever comes twice, late or again from the beginning changes nothing.

use backend::read_model::{self, Applied, Deviation, PayloadError, Record, RoomEntry};
use protocol::{Mode, Offset};
use rand::seq::SliceRandom;
use sqlx::PgPool;
use uuid::Uuid;

use crate::app::{App, Person};

type Event = (Uuid, String, String);

/// What Debezium would make of the rows, in the order of the log.
async fn events(db: &PgPool) -> Vec<Event> {
    sqlx::query_as("select event_id, event_type, payload::text from chat_cdc order by id").fetch_all(db).await.unwrap()
}

async fn apply(db: &PgPool, event: &Event) -> Applied {
    apply_together(db, std::slice::from_ref(event)).await[0]
}

async fn apply_together(db: &PgPool, events: &[Event]) -> Vec<Applied> {
    let records: Vec<_> = events.iter().map(record_of).collect();
    read_model::apply(db, &records).await.unwrap().into_iter().map(Result::unwrap).collect()
}

fn record_of((event_id, event_type, payload): &Event) -> Record<'_> {
    Record { event_id: *event_id, event_type, payload }
}

/// One record that need not be what its type says.
async fn try_apply(db: &PgPool, event_id: Uuid, event_type: &str, payload: &str) -> Result<Applied, PayloadError> {
    read_model::apply(db, &[Record { event_id, event_type, payload }]).await.unwrap().remove(0)
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
    read_model::rooms(&app.db, person.id, 100).await.unwrap().rooms
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
                (entry.id.0, entry.name.as_str()),
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
async fn records_that_are_applied_together_are_applied_as_one_after_the_other() {
    let app = App::start().await;
    let people = history(&app).await;
    let events = events(&app.db).await;
    for event in &events {
        apply(&app.db, event).await;
    }
    let expected = list(&app, &people[0]).await;
    read_model::rebuild_begin(&app.db).await.unwrap();

    let twice = [events.clone(), events.clone()].concat();
    let applied = apply_together(&app.db, &twice).await;
    let count = |wanted| applied.iter().filter(|applied| **applied == wanted).count();
    let lines = events.iter().filter(|event| event.1.starts_with("message.")).count();
    assert_eq!((count(Applied::Newest), count(Applied::Older), count(Applied::Repeat)), (3, lines - 3, lines));
    assert_eq!(list(&app, &people[0]).await, expected);

    // Many consumers, each with all records in an order of its own: whoever waits for whom, all get through.
    read_model::rebuild_begin(&app.db).await.unwrap();
    let shuffled = || {
        let mut events = events.clone();
        events.shuffle(&mut rand::rng());
        events
    };
    let (one, two, three, four) = (shuffled(), shuffled(), shuffled(), shuffled());
    let all = async |events: Vec<Event>| {
        for chunk in events.chunks(7) {
            apply_together(&app.db, chunk).await;
        }
    };
    tokio::join!(all(one), all(two), all(three), all(four));
    assert_eq!(list(&app, &people[0]).await, expected);
}

#[tokio::test]
async fn the_list_says_how_far_it_is_behind_and_what_is_different() {
    let app = App::start().await;
    let people = history(&app).await;
    let events = events(&app.db).await;
    let alice = people[0].clone();
    let empty = alice.get("/api/read-model/rooms").await.expect(200);
    assert_eq!((empty["rooms"].as_array().unwrap().len(), empty["lag"]["rooms_missing"].as_i64()), (0, Some(3)));
    assert!(empty["lag"]["seconds"].as_f64().unwrap() > 0.0, "{empty}");
    let missing = read_model::differences(&app.db).await.unwrap();
    assert!(matches!(missing[..], [ref one, _, _] if matches!(one.what, Deviation::Missing { mode: Mode::Cdc, .. })));

    apply_together(&app.db, &events).await;
    let whole = alice.get("/api/read-model/rooms").await.expect(200);
    let truth = alice.get("/api/rooms").await.expect(200);
    for (entry, room) in whole["rooms"].as_array().unwrap().iter().zip(truth["rooms"].as_array().unwrap()) {
        for field in ["id", "name", "version", "texts", "member_count", "unread", "last_message", "bumped_at"] {
            assert_eq!(entry[field], room[field], "{field}");
        }
    }
    let nothing = serde_json::json!({"rooms_missing": 0, "rooms_behind": 0, "lines": 0, "seconds": 0.0});
    assert_eq!(whole["lag"], nothing);
    assert_eq!(read_model::differences(&app.db).await.unwrap(), []);

    // Two lines by another way, which the topic does not have; the next one by the log makes it good.
    app.switch(Mode::Outbox).await;
    let room = truth["rooms"][2]["id"].as_i64().unwrap();
    alice.say(room, "one").await;
    let version = alice.say(room, "two").await["version"].as_u64().unwrap();
    let behind = alice.get("/api/read-model/rooms?limit=1").await.expect(200);
    assert_eq!(behind["rooms"].as_array().unwrap().len(), 1);
    assert_eq!((&behind["lag"]["rooms_behind"], &behind["lag"]["lines"]), (&1.into(), &2.into()));
    let different = read_model::differences(&app.db).await.unwrap();
    let what = Deviation::Behind { seen: Offset(version - 2), truth: Offset(version), mode: Mode::Outbox };
    assert_eq!(different.iter().map(|one| (one.room.0, one.what)).collect::<Vec<_>>(), [(room, what)]);
    app.switch(Mode::Wal).await;
    alice.say(room, "three").await;
    apply_together(&app.db, &self::events(&app.db).await).await;
    assert_eq!(read_model::differences(&app.db).await.unwrap(), []);

    let extent = read_model::extent(&app.db).await.unwrap();
    assert_eq!((extent.rooms, extent.rooms_in_truth), (3, 3));
    assert!(extent.newest.is_some() && extent.events > 3);
    app.stranger().get("/api/read-model/rooms").await.expect(401);
}

#[tokio::test]
async fn a_topic_that_is_older_than_its_database_does_not_win_by_its_numbers() {
    let app = App::start().await;
    let people = history(&app).await;
    let events = events(&app.db).await;
    apply_together(&app.db, &events).await;
    let expected = list(&app, &people[0]).await;
    // The same rooms in an earlier life, with far higher versions.
    let earlier = |(_, event_type, payload): &Event| {
        let mut payload: serde_json::Value = serde_json::from_str(payload).unwrap();
        payload["version_epoch"] = "earlier".into();
        payload["data"]["version"] = (1000 + payload["data"]["version"].as_i64().unwrap_or_default()).into();
        payload["data"]["created_at"] = "2020-01-01T00:00:00Z".into();
        (Uuid::new_v4(), event_type.clone(), payload.to_string())
    };
    let lines = events.iter().filter(|event| event.1.starts_with("message."));
    let earlier: Vec<Event> = lines.map(earlier).collect();
    apply_together(&app.db, &earlier).await;
    assert_eq!(list(&app, &people[0]).await, expected);

    read_model::rebuild_begin(&app.db).await.unwrap();
    apply_together(&app.db, &earlier).await;
    assert_eq!(list(&app, &people[0]).await, [], "a room of another life is nobody's");
    let different = read_model::differences(&app.db).await.unwrap();
    assert!(different.iter().all(|one| matches!(one.what, Deviation::Unknown { .. })), "{different:?}");
    apply_together(&app.db, &events).await;
    assert_eq!(list(&app, &people[0]).await, expected);
}

#[tokio::test]
async fn a_reader_does_with_what_it_knows_and_refuses_what_it_would_misread() {
    let app = App::start().await;
    let line = |more: &str| {
        format!(
            r#"{{"channel":"room:7","version":2,"version_epoch":"e","some":["new"],"data":{{"type":"message","room":7,"version":2,
                "kind":"joined","author":{{"id":3,"name":"C"}},"members":2,"texts":0,"created_at":"2026-11-22T12:00:00Z"{more}}}}}"#
        )
    };
    let apply = async |event_type, payload: String| try_apply(&app.db, Uuid::new_v4(), event_type, &payload).await;
    // From before rooms had names in events, and from after whatever comes next.
    let newer = line(r#","schema":1,"device":{"name":"phone"}"#);
    assert_eq!(apply("message.joined", newer).await.unwrap(), Applied::Newest);
    assert_eq!(apply("message.edited", line("")).await.unwrap(), Applied::Ignored, "a type of next year");

    let refused = apply("message.text", line(r#","schema":2"#)).await.unwrap_err().to_string();
    assert!(refused.contains("format is 2") && refused.contains("rebuild"), "{refused}");
    let moved = r#"{"channel":"room:7","data":{"type":"line","schema":3}}"#.to_owned();
    let refused = apply("message.text", moved).await.unwrap_err().to_string();
    assert!(refused.contains("format is 3"), "{refused}");
}

#[tokio::test]
async fn a_record_that_is_no_event_is_told_and_leaves_nothing_behind() {
    let app = App::start().await;
    let apply = async |event_type, payload| try_apply(&app.db, Uuid::new_v4(), event_type, payload).await;
    for payload in [
        "",
        "null",
        "{\"channel\": \"room:1\"}",
        "{\"channel\": \"room:1\", \"data\": {\"type\": \"message\"}}",
        "{\"channel\": \"user:1\", \"data\": {\"type\": \"read\", \"room\": 1, \"read_version\": 1, \"unread\": 0}}",
    ] {
        apply("message.text", payload).await.unwrap_err();
    }
    assert_eq!(apply("member.subscribe", "anything").await.unwrap(), Applied::Ignored);
    assert_eq!(apply("a type of next year", "anything").await.unwrap(), Applied::Ignored);
    assert_eq!((app.count("inbox_events").await, app.count("room_view").await), (0, 0));

    // It does not keep those that came with it.
    history(&app).await;
    let mut events = events(&app.db).await;
    events[1].2 = "{oops".to_owned();
    let records: Vec<_> = events.iter().map(record_of).collect();
    let applied = read_model::apply(&app.db, &records).await.unwrap();
    assert_eq!(applied.iter().filter(|applied| applied.is_err()).count(), 1);
    assert_eq!(read_model::differences(&app.db).await.unwrap(), []);
}

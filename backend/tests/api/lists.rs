//! Lists: paged by what the last page ended with, and counts that mean what they say.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::app::{App, Person};

/// Follows `next_cursor` to the end.
async fn pages(person: &Person, path: &str, list: &str, parameter: &str) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = person.get(&format!("{path}{cursor}")).await.expect(200);
        pages.push(page[list].as_array().unwrap().clone());
        cursor.clear();
        match &page["next_cursor"] {
            Value::Null => return pages,
            Value::String(next) => write!(cursor, "&{parameter}={next}").unwrap(),
            next => write!(cursor, "&{parameter}={next}").unwrap(),
        }
    }
}

fn field(rows: &[Value], name: &str) -> Vec<Value> {
    rows.iter().map(|row| row[name].clone()).collect()
}

#[tokio::test]
async fn my_rooms_come_by_activity_with_their_last_line() {
    let app = App::start().await;
    let (alice, bob) = (app.person("alice").await, app.person("bob").await);
    let mut rooms = Vec::new();
    for number in 0..5 {
        rooms.push(alice.create(&format!("room {number}")).await);
    }
    alice.say(rooms[1], "back to the top").await;
    bob.join(rooms[3]).await;

    let pages = pages(&alice, "/api/rooms?limit=2", "rooms", "cursor").await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    let mine = pages.concat();
    assert_eq!(field(&mine, "id"), [rooms[3], rooms[1], rooms[4], rooms[2], rooms[0]].map(|id| json!(id)));
    assert_eq!(mine[0]["last_message"]["kind"], "joined", "the last line, whatever its kind");
    assert_eq!(mine[1]["last_message"]["text"], "back to the top");
    for room in &mine {
        let page = alice.get(&format!("/api/rooms/{}/messages?limit=1", room["id"])).await.expect(200);
        assert_eq!(page["messages"], json!([room["last_message"]]));
        assert_eq!(*room, alice.room(room["id"].as_i64().unwrap()).await, "one room shows as in the list");
    }
}

#[tokio::test]
async fn my_rooms_are_found_by_a_part_of_their_name_page_by_page() {
    let app = App::start().await;
    let (alice, bob) = (app.person("alice").await, app.person("bob").await);
    for name in ["Cats", "apes", "Bears", "100% wool", "bees", "Zebras"] {
        alice.create(name).await;
    }
    bob.create("Bees of Bob").await;
    let found = pages(&alice, "/api/rooms?q=%20BE&limit=1", "rooms", "cursor").await;
    assert_eq!(field(&found.concat(), "name"), ["bees", "Bears"], "mine only, latest activity first");
    for (q, names) in [("%25", json!(["100% wool"])), ("_", json!([])), ("as", json!(["Zebras"]))] {
        let rooms = alice.get(&format!("/api/rooms?q={q}")).await.expect(200);
        let rooms = rooms["rooms"].as_array().unwrap();
        assert_eq!(json!(field(rooms, "name")), names, "{q}");
    }
}

#[tokio::test]
async fn what_is_unread_is_told_of_all_rooms_at_once() {
    let app = App::start().await;
    let (alice, bob) = (app.person("alice").await, app.person("bob").await);
    let mut rooms = Vec::new();
    for number in 0..3 {
        rooms.push(alice.create(&format!("room {number}")).await);
        bob.join(rooms[number]).await;
    }
    bob.create("not mine").await;
    for _ in 0..2 {
        bob.say(rooms[0], "hello").await;
    }
    bob.say(rooms[2], "hello").await;
    let unread = alice.get("/api/rooms/unread").await.expect(200);
    assert_eq!(unread, json!({"total": 3, "rooms": {rooms[0].to_string(): 2, rooms[2].to_string(): 1}}));
    assert_eq!(bob.get("/api/rooms/unread").await.expect(200), json!({"total": 0, "rooms": {}}), "one's own is read");
    app.stranger().get("/api/rooms/unread").await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn discover_has_the_rooms_i_am_not_in_by_name() {
    let app = App::start().await;
    let (alice, bob) = (app.person("alice").await, app.person("bob").await);
    for name in ["Cats", "apes", "Bears", "100% wool", "bees", "Zebras"] {
        alice.create(name).await;
    }
    bob.create("Bob's own").await;
    let pages = pages(&bob, "/api/rooms/discover?limit=4", "rooms", "cursor").await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2]);
    assert_eq!(field(&pages.concat(), "name"), ["100% wool", "apes", "Bears", "bees", "Cats", "Zebras"]);
    for (q, found) in
        [("BE", json!(["Bears", "bees"])), ("%25", json!(["100% wool"])), ("_", json!([])), ("%00", Value::Null)]
    {
        let rooms = bob.get(&format!("/api/rooms/discover?q={q}")).await.expect(200);
        if !found.is_null() {
            assert_eq!(json!(field(rooms["rooms"].as_array().unwrap(), "name")), found, "{q}");
        }
    }
}

#[tokio::test]
async fn a_timeline_is_read_backwards_and_forwards() {
    let app = App::start().await;
    let alice = app.person("alice").await;
    let room = alice.create("room").await;
    for number in 2..=12 {
        alice.say(room, &number.to_string()).await;
    }
    let page = async |query: &str| {
        let page = alice.get(&format!("/api/rooms/{room}/messages{query}")).await.expect(200);
        let versions = field(page["messages"].as_array().unwrap(), "version");
        (
            versions.iter().map(|version| version.as_i64().unwrap()).collect::<Vec<_>>(),
            page["has_more"].as_bool().unwrap(),
        )
    };
    assert_eq!(page("").await, ((1..=12).collect(), false));
    assert_eq!(page("?limit=5").await, ((8..=12).collect(), true));
    assert_eq!(page("?limit=5&before=8").await, ((3..=7).collect(), true));
    assert_eq!(page("?limit=5&before=3").await, ((1..=2).collect(), false));
    assert_eq!(
        page("?limit=2&before=3").await,
        ((1..=2).collect(), false),
        "a full page need not mean that there is more"
    );
    assert_eq!(page("?after=9").await, ((10..=12).collect(), false));
    assert_eq!(page("?limit=2&after=9").await, ((10..=11).collect(), true));
    assert_eq!(page("?after=3&before=6").await, ((4..=5).collect(), false));
    assert_eq!(page("?after=12").await, (vec![], false));
    assert_eq!(page("?before=18446744073709551615&limit=1").await, (vec![12], true));
    assert_eq!(page("?limit=0").await, (vec![12], true), "a page has at least one line");
}

#[tokio::test]
async fn members_are_paged_by_id() {
    let app = App::start().await;
    let people = app.people(5).await;
    let room = people[0].create("room").await;
    for person in &people[1..] {
        person.join(room).await;
    }
    let pages = pages(&people[0], &format!("/api/rooms/{room}/members?limit=2"), "members", "after").await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(pages.concat()[3], json!({"id": people[3].id, "name": "Person_3", "username": "person_3"}));
}

#[tokio::test]
async fn unread_counts_the_texts_of_others_since_i_read() {
    let app = App::start().await;
    let (alice, bob) = (app.person("alice").await, app.person("bob").await);
    let room = alice.create("room").await;
    alice.say(room, "before bob came").await;
    bob.join(room).await;
    let unread = async |person: &Person| person.room(room).await["unread"].as_i64().unwrap();
    assert_eq!((unread(&alice).await, unread(&bob).await), (0, 0), "what was said before one came is not unread");

    alice.say(room, "one").await;
    alice.say(room, "two").await;
    app.person("carol").await.join(room).await;
    assert_eq!((unread(&alice).await, unread(&bob).await), (0, 2), "neither one's own words nor somebody's joining");

    bob.say(room, "I did not look").await;
    assert_eq!(unread(&bob).await, 3, "who has not read everything has not read it by writing");
    let version = bob.room(room).await["version"].as_i64().unwrap();
    bob.read(room, version).await;
    bob.say(room, "now I did").await;
    assert_eq!((unread(&alice).await, unread(&bob).await), (2, 0));
    assert_eq!(bob.room(room).await["read_version"], version + 1, "one's own line moves the position along");

    let listed = alice.get("/api/rooms").await.expect(200);
    assert_eq!(listed["rooms"][0]["unread"], 2);
    bob.leave(room).await;
    alice.say(room, "while bob was away").await;
    assert_eq!(bob.join(room).await["unread"], 0);
}

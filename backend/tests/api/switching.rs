//! Switching the mode: who may, what can be had, what is told, and that a switch is clean under load.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use backend::mode::{self, SetError};
use futures_util::future::join_all;
use protocol::{Channel, ChatEvent, Command, Mode};
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    app::{App, Person},
    log::Log,
    recorder::Recorder,
};

const PATH: &str = "/api/settings/broadcast-mode";

async fn admin(app: &App) -> Person {
    sqlx::query("insert into users (username, name, password_hash, is_admin) values ('root', 'Root', '-', true)")
        .execute(&app.db)
        .await
        .unwrap();
    app.signed_in("root").await
}

#[tokio::test]
async fn administrators_switch_to_what_is_carried_and_everybody_is_told() {
    let app = App::publishing(Recorder::new()).await;
    let (admin, alice) = (admin(&app).await, app.person("alice").await);
    app.stranger().get(PATH).await.expect_problem(401, "unauthenticated");
    let ready = |reply: &Value| {
        let offers = reply["available"].as_array().unwrap().iter();
        offers.map(|offer| (offer["mode"].clone(), offer["ready"] == true)).collect::<Vec<_>>()
    };

    // Nobody has reported yet.
    let reply = alice.get(PATH).await.expect(200);
    assert_eq!(reply["mode"], "outbox");
    assert_eq!(ready(&reply), Mode::ALL.map(|mode| (json!(mode), mode == Mode::Api)));
    assert!(reply["available"][5]["reason"].as_str().unwrap().contains("write-ahead log"), "{reply}");

    app.everything_is_carried().await;
    let reply = alice.get(PATH).await.expect(200);
    assert_eq!(ready(&reply), Mode::ALL.map(|mode| (json!(mode), true)));
    alice.put(PATH, json!({"mode": "wal"})).await.expect_problem(403, "not_admin");
    admin.put(PATH, json!({"mode": "fax"})).await.expect_problem(422, "invalid");
    assert_eq!(app.count("chat_outbox").await, 0);

    let wakeups = app.wakeups.count();
    let reply = admin.put(PATH, json!({"mode": "wal"})).await.expect(200);
    assert_eq!(reply["mode"], "wal");
    assert_eq!(app.wakeups.count(), wakeups + 1);
    let announced = app.announced().await;
    let [Command::Publish(publish)] = &announced[..] else { panic!("{announced:?}") };
    assert_eq!(publish.channel, Channel::everybody());
    let ChatEvent::Mode(event) = serde_json::from_str(publish.data.get()).unwrap() else { panic!("{publish:?}") };
    let changed_at = event.changed_at.format(&time::format_description::well_known::Rfc3339).unwrap();
    assert_eq!((event.mode, &reply["changed_at"]), (Mode::Wal, &json!(changed_at)));

    // The same again changes nothing, and tells nobody.
    let again = admin.put(PATH, json!({"mode": "wal"})).await.expect(200);
    assert_eq!((&again["changed_at"], app.announced().await.len()), (&reply["changed_at"], 1));
    let room = alice.create("room").await;
    assert_eq!(alice.say(room, "hello").await["mode"], "wal");
}

#[tokio::test]
async fn a_mode_that_nobody_carries_is_refused_with_what_is_missing() {
    let app = App::start().await;
    let admin = admin(&app).await;
    app.everything_is_carried().await;
    sqlx::query("update carriers set seen_at = now() - interval '1 minute' where source = 'cdc'")
        .execute(&app.db)
        .await
        .unwrap();
    let detail = async |mode: &str| {
        let problem = admin.put(PATH, json!({ "mode": mode })).await.expect_problem(409, "mode_unavailable");
        problem["detail"].as_str().unwrap().to_owned()
    };
    assert!(detail("cdc").await.contains("roomcast-rows"));
    assert!(detail("api_cdc").await.contains("no hub to publish to"));
    assert!(detail("api").await.contains("no hub to publish to"));
    assert_eq!(mode::get(&app.db).await.unwrap().mode, Mode::Outbox);
    // The command line knows of no hub, and takes the operator's word for it.
    assert!(mode::set(&app.db, Mode::Api, true).await.unwrap().is_some());
    let error = mode::set(&app.db, Mode::ApiCdc, true).await.unwrap_err();
    assert!(matches!(error, SetError::Unavailable { mode: Mode::ApiCdc, .. }), "{error}");
    assert_eq!(mode::get(&app.db).await.unwrap().mode, Mode::Api);
}

#[tokio::test]
async fn a_request_names_a_mode_only_where_that_is_allowed() {
    let app = App::start().await;
    let alice = app.person("alice").await;
    let room = alice.create("room").await;
    let message = json!({"text": "hi", "client_id": Uuid::new_v4(), "mode": "wal"});
    let problem = alice.post(&format!("/api/rooms/{room}/messages"), message).await.expect_problem(422, "invalid");
    assert_eq!(problem["errors"][0]["field"], "mode");

    let app = App::with(|config| config.allow_request_mode = true).await;
    let alice = app.person("alice").await;
    let room = alice.create("room").await;
    let message = json!({"text": "hi", "client_id": Uuid::new_v4(), "mode": "wal"});
    let path = format!("/api/rooms/{room}/messages");
    let said = alice.post(&path, message.clone()).await.expect(201);
    let mut other = message;
    other["mode"] = json!("outbox");
    assert_eq!(alice.post(&path, other).await.expect(200), said, "a repeat has the mode of the first");
    assert_eq!(alice.say(room, "no mode").await["mode"], "outbox");
}

#[tokio::test]
async fn a_switch_waits_for_who_has_read_the_old_mode_and_the_others_wait_for_the_switch() {
    let app = App::start().await;
    let (alice, bob) = (app.person("alice").await, app.person("bob").await);
    let (room, other) = (alice.create("room").await, bob.create("other").await);
    app.everything_is_carried().await;
    let mut writing = app.db.begin().await.unwrap();
    let first: String = sqlx::query_scalar("select o_mode from post_messages($1, $2, $3, $4)")
        .bind(room)
        .bind([alice.id.0])
        .bind(["under way"])
        .bind([Uuid::new_v4()])
        .fetch_one(&mut *writing)
        .await
        .unwrap();
    assert_eq!(first, "outbox");

    let switch = tokio::spawn({
        let db = app.state.db.clone();
        async move { mode::set(&db, Mode::Wal, true).await }
    });
    app.waiting_for_a_lock(1).await;
    let post = tokio::spawn(async move { bob.say(other, "another room").await });
    app.waiting_for_a_lock(2).await;
    assert_eq!(mode::get(&app.db).await.unwrap().mode, Mode::Outbox, "who only looks does not wait");
    writing.commit().await.unwrap();

    switch.await.unwrap().unwrap().expect("it was switched");
    assert_eq!(post.await.unwrap()["mode"], "wal");
    assert_eq!(alice.get(&format!("/api/rooms/{room}/messages")).await.expect(200)["messages"][1]["mode"], "outbox");
}

#[tokio::test]
async fn a_switch_that_would_hold_up_everybody_gives_up() {
    let app = App::start().await;
    let admin = admin(&app).await;
    app.everything_is_carried().await;
    let mut forgotten = app.db.begin().await.unwrap();
    sqlx::query("select broadcast_mode()").execute(&mut *forgotten).await.unwrap();
    admin.put(PATH, json!({"mode": "wal"})).await.expect_problem(503, "database_locked");
    forgotten.rollback().await.unwrap();
    assert_eq!(admin.put(PATH, json!({"mode": "wal"})).await.expect(200)["mode"], "wal");
}

/// Fifty writers, joins and leaves, and a switch every few milliseconds through all modes.
#[tokio::test]
async fn switching_under_fifty_writers_announces_each_message_exactly_once_by_the_mode_it_names() {
    let recorder = Recorder::new();
    let app = App::publishing(recorder.clone()).await;
    let people = app.people(50).await;
    let room = people[0].create("crowd").await;
    for person in &people[1..] {
        person.join(room).await;
    }
    let mut log = Log::open(&app.database_url).await;
    app.everything_is_carried().await;
    let over = Arc::new(AtomicBool::new(false));
    let switches = Arc::new(AtomicUsize::new(0));
    let switching = tokio::spawn({
        let (db, over, switches) = (app.db.clone(), over.clone(), switches.clone());
        async move {
            for mode in Mode::ALL.into_iter().cycle() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                mode::set(&db, mode, true).await.unwrap();
                switches.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await; // the load itself, nothing waits for it
            }
        }
    });
    // A busy machine switches less often: everybody goes on until each mode was there twice, within bounds.
    let enough = &|| switches.load(Ordering::SeqCst) >= 2 * Mode::ALL.len();
    let written: usize = join_all(people.iter().enumerate().map(|(number, person)| async move {
        let mut written = 0;
        for turn in 0..100 {
            if turn >= 6 && enough() {
                break;
            }
            person.say(room, "hello").await;
            written += 1;
            if number % 10 == 9 && turn % 2 == 1 {
                person.leave(room).await;
                person.join(room).await;
                written += 2;
            }
        }
        written
    }))
    .await
    .into_iter()
    .sum();
    over.store(true, Ordering::SeqCst);
    switching.await.unwrap();

    let lines: Vec<(i64, String, OffsetDateTime)> =
        sqlx::query_as("select version, mode, created_at from messages order by version")
            .fetch_all(&app.db)
            .await
            .unwrap();
    assert_eq!(lines.len(), 1 + 49 + written);
    assert!(lines.iter().zip(1..).all(|(line, version)| line.0 == version), "versions are gapless");
    each_line_has_the_mode_of_its_time(&app, &lines).await;

    let direct = lines.iter().filter(|line| ["api", "api_cdc"].contains(&line.1.as_str())).count();
    recorder.until(|recorder| lines_of(recorder.published()).len() >= direct).await;
    let mut announced: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let mut add = |carrier: &str, payload: &Value| {
        if let Some(version) = payload["version"].as_i64() {
            announced
                .entry(version)
                .or_default()
                .push(format!("{carrier} {}", payload["data"]["mode"].as_str().unwrap()));
        }
    };
    for (source, payload) in rows(&app).await {
        add(&source, &payload);
    }
    for message in log.messages().await {
        add("log", &message.content["payload"]);
    }
    for payload in lines_of(recorder.published()) {
        add("published", &payload);
    }
    let mut modes: BTreeMap<&str, usize> = BTreeMap::new();
    for (version, mode, _) in &lines {
        let expected: &[&str] = match mode.as_str() {
            "api" => &["published api"],
            "outbox" => &["outbox outbox"],
            "cdc" => &["cdc cdc"],
            "api_cdc" => &["cdc api_cdc", "published api_cdc"],
            "message" => &["log message"],
            _ => &["cdc wal"],
        };
        assert_eq!(announced.remove(version).unwrap_or_default(), expected, "version {version}");
        *modes.entry(mode).or_default() += 1;
    }
    assert_eq!(announced, BTreeMap::new(), "nothing is announced that was not written");
    assert_eq!(modes.len(), Mode::ALL.len(), "every mode had its share: {modes:?}");
    assert_eq!(app.state.direct_counts().lost, 0);
}

/// The promise of a switch, by the clock of the database: a line between two switches has the mode of the first.
async fn each_line_has_the_mode_of_its_time(app: &App, lines: &[(i64, String, OffsetDateTime)]) {
    let mut switches: Vec<(OffsetDateTime, String)> = Vec::new();
    for command in app.announced().await {
        let Command::Publish(publish) = command else { continue };
        if let ChatEvent::Mode(event) = serde_json::from_str(publish.data.get()).unwrap() {
            switches.push((event.changed_at, event.mode.to_string()));
        }
    }
    assert!(switches.len() >= Mode::ALL.len(), "{} switches", switches.len());
    for (version, mode, at) in lines {
        let current = switches.iter().rfind(|switch| switch.0 < *at).map_or("outbox", |switch| &switch.1);
        assert_eq!(mode, current, "version {version} at {at}");
    }
}

/// Rows of both tables: (outbox or cdc, payload).
async fn rows(app: &App) -> Vec<(String, Value)> {
    sqlx::query_as(
        "select 'outbox', payload from chat_outbox where method = 'publish'
         union all select 'cdc', payload from chat_cdc where method = 'publish'",
    )
    .fetch_all(&app.db)
    .await
    .unwrap()
}

fn lines_of(commands: Vec<Command>) -> Vec<Value> {
    let publish = |command| if let Command::Publish(publish) = command { Some(publish) } else { None };
    let publications = commands.into_iter().filter_map(publish).filter(|publish| publish.version.is_some());
    publications.map(|publish| serde_json::to_value(publish).unwrap()).collect()
}

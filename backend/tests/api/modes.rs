//! Each mode leaves what its carrier needs and nothing else, and nothing of what was rolled back.

use std::{collections::BTreeMap, sync::Arc};

use protocol::{ChatEvent, Command, Mode, Partition, RoomId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    app::{App, Person},
    log::Log,
    recorder::Recorder,
};

/// Everything that announces, by carrier, oldest first: (method, mode, payload).
struct Traces {
    app: App,
    log: Log,
    recorder: Arc<Recorder>,
}

#[derive(Debug, Default, PartialEq)]
struct Trace {
    outbox: Vec<(String, Value)>,
    /// With the mode that the row names.
    cdc: Vec<(String, Value, String)>,
    log: Vec<(String, Value)>,
    published: Vec<(String, Value)>,
}

impl Traces {
    async fn new() -> Self {
        let recorder = Recorder::new();
        let app = App::publishing(recorder.clone()).await;
        let log = Log::open(&app.database_url).await;
        Self { app, log, recorder }
    }

    /// What was left since the last call. `published`: how many commands the backend is to publish itself.
    async fn take(&mut self, published: usize) -> Trace {
        self.recorder.until(|recorder| recorder.published().len() >= published).await;
        let trace = Trace {
            outbox: sqlx::query_as(
                "with gone as (delete from chat_outbox returning id, method, payload)
                                    select method, payload from gone order by id",
            )
            .fetch_all(&self.app.db)
            .await
            .unwrap(),
            cdc: sqlx::query_as(
                "with gone as (delete from chat_cdc returning id, method, payload, mode)
                                 select method, payload, mode from gone order by id",
            )
            .fetch_all(&self.app.db)
            .await
            .unwrap(),
            log: self.log.messages().await.into_iter().map(|message| from_log(&message.content)).collect(),
            published: self.recorder.published().iter().map(as_row).collect(),
        };
        self.recorder.forget();
        trace
    }
}

fn from_log(content: &Value) -> (String, Value) {
    assert_eq!(content["mode"], "message", "{content}");
    (content["method"].as_str().unwrap().to_owned(), content["payload"].clone())
}

fn as_row(command: &Command) -> (String, Value) {
    let command = serde_json::to_value(command).unwrap();
    let (method, payload) = command.as_object().unwrap().iter().next().unwrap();
    (method.clone(), payload.clone())
}

/// What is announced, shorter: `publish text`, `subscribe`.
fn words<'a>(rows: impl IntoIterator<Item = (&'a String, &'a Value)>) -> Vec<String> {
    let word = |(method, payload): (&String, &Value)| {
        let data = &payload["data"];
        let what = data["kind"].as_str().or(data["type"].as_str()).unwrap_or_default();
        format!("{method} {what}").trim().to_owned()
    };
    rows.into_iter().map(word).collect()
}

#[tokio::test]
async fn a_message_leaves_what_its_mode_needs_and_nothing_else() {
    let mut traces = Traces::new().await;
    let alice = traces.app.person("alice").await;
    let room = alice.create("room").await;
    traces.take(0).await;

    for mode in Mode::ALL {
        let said = alice.say_by(mode, room, "hello").await;
        assert_eq!(said["mode"], json!(mode));
        let trace = traces.take(usize::from(mode.is_direct())).await;
        let carriers = [trace.outbox.len(), trace.cdc.len(), trace.log.len(), trace.published.len()];
        let expected = match mode {
            Mode::Api => [0, 0, 0, 1],
            Mode::Outbox => [1, 0, 0, 0],
            Mode::Cdc | Mode::Wal => [0, 1, 0, 0],
            Mode::ApiCdc => [0, 1, 0, 1],
            Mode::Message => [0, 0, 1, 0],
        };
        assert_eq!(carriers, expected, "{mode}: outbox, cdc, log, published");
        assert!(trace.cdc.iter().all(|row| row.2 == mode.as_str()));

        let mut payloads: Vec<Value> = trace.outbox.into_iter().chain(trace.log).map(|(_, payload)| payload).collect();
        payloads.extend(trace.cdc.into_iter().map(|(_, payload, _)| payload));
        payloads.extend(trace.published.into_iter().map(|(_, payload)| payload));
        for payload in &payloads {
            let event: ChatEvent = serde_json::from_value(payload["data"].clone()).unwrap();
            let ChatEvent::Message(line) = event else { panic!("{payload}") };
            assert_eq!(serde_json::to_value(&line).unwrap(), said, "the same event by every way");
            assert_eq!((&payload["version"], line.mode), (&said["version"], mode));
        }
        let keys: Vec<&Value> = payloads.iter().map(|payload| &payload["idempotency_key"]).collect();
        assert!(keys.iter().all(|key| *key == keys[0]), "both ways of api_cdc have one key: {keys:?}");
        assert_eq!(keys[0].is_string(), mode == Mode::ApiCdc, "{mode}");
    }
}

#[tokio::test]
async fn what_was_rolled_back_left_no_row_and_no_logical_message() {
    let mut traces = Traces::new().await;
    let alice = traces.app.person("alice").await;
    let room = alice.create("room").await;
    traces.take(0).await;

    for mode in Mode::ALL {
        let mut tx = traces.app.db.begin().await.unwrap();
        let status: String = sqlx::query_scalar("select status from post_messages($1, $2, $3, $4, $5)")
            .bind(room)
            .bind([alice.id.0])
            .bind(["never said"])
            .bind([Uuid::new_v4()])
            .bind([mode.as_str()])
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        assert_eq!(status, "new");
        tx.rollback().await.unwrap();
    }
    assert_eq!(traces.take(0).await, Trace::default());
    assert_eq!(alice.room(room).await["version"], 1);

    // The contrast: a message that is not transactional is in the log from the moment it was written.
    let mut tx = traces.app.db.begin().await.unwrap();
    let emit = "select pg_logical_emit_message($1, 'roomcast.3', '{\"n\": 1}')";
    for transactional in [true, false] {
        sqlx::query(emit).bind(transactional).execute(&mut *tx).await.unwrap();
    }
    tx.rollback().await.unwrap();
    alice.say_by(Mode::Message, room, "pushes the log to disk").await;
    let seen = traces.log.messages().await;
    assert_eq!(seen.iter().map(|message| message.transactional).collect::<Vec<_>>(), [false, true], "{seen:?}");
    assert_eq!((seen[0].prefix.as_str(), &seen[0].content), ("roomcast.3", &json!({"n": 1})));
}

#[tokio::test]
async fn a_logical_message_names_its_partition_in_its_prefix() {
    let mut traces = Traces::new().await;
    let alice = traces.app.person("alice").await;
    for number in 0..5 {
        let room = alice.create(&format!("room {number}")).await;
        alice.say_by(Mode::Message, room, "hello").await;
        let messages = traces.log.messages().await;
        let partition = Partition::of(RoomId(room));
        assert_eq!(messages.len(), 1);
        assert_eq!((messages[0].prefix.clone(), messages[0].transactional), (format!("roomcast.{partition}"), true));
        assert_eq!(messages[0].content["partition"], json!(partition));
    }
}

#[tokio::test]
async fn joins_leaves_and_reads_follow_the_mode_in_their_order() {
    let mut traces = Traces::new().await;
    let (alice, bob) = (traces.app.person("alice").await, traces.app.person("bob").await);
    let all = [
        "subscribe",
        "publish created",
        "subscribe",
        "publish joined",
        "publish text",
        "publish read",
        "publish left",
        "unsubscribe",
    ];
    for mode in Mode::ALL {
        traces.app.switch(mode).await;
        traces.take(0).await;
        a_short_life(mode, &alice, &bob).await;
        let trace = traces.take(if mode.is_direct() { all.len() } else { 0 }).await;
        let pairs = |rows: &[(String, Value)]| words(rows.iter().map(|(method, payload)| (method, payload)));
        let (outbox, log, published) = (pairs(&trace.outbox), pairs(&trace.log), pairs(&trace.published));
        let cdc = words(trace.cdc.iter().map(|(method, payload, _)| (method, payload)));
        let none: [&str; 0] = [];
        match mode {
            Mode::Api => {
                assert_eq!(published, all);
                // Who hears which room is never lost, whatever the experiment.
                assert_eq!(outbox, ["subscribe", "subscribe", "unsubscribe"]);
                assert_eq!((cdc, log), (vec![], vec![]));
            }
            Mode::Outbox => {
                assert_eq!(outbox, all);
                assert_eq!((cdc, log, published), (vec![], vec![], vec![]));
            }
            Mode::Message => {
                assert_eq!(log, all);
                assert_eq!((outbox, cdc, published), (vec![], vec![], vec![]));
            }
            Mode::Cdc | Mode::ApiCdc | Mode::Wal => {
                assert_eq!((outbox, log), (vec![], vec![]));
                assert_eq!(cdc, all);
                assert_eq!(published, if mode == Mode::ApiCdc { &all[..] } else { &none });
                assert!(trace.cdc.iter().all(|row| row.2 == mode.as_str()));
            }
        }
    }
}

async fn a_short_life(mode: Mode, alice: &Person, bob: &Person) {
    let room = alice.create(&format!("made by {mode}")).await;
    assert_eq!(bob.join(room).await["last_message"]["mode"], json!(mode), "the timeline says it of every line");
    let version = alice.say(room, "hello").await["version"].as_i64().unwrap();
    bob.read(room, version).await;
    bob.leave(room).await;
}

#[tokio::test]
async fn rows_of_the_log_have_what_debezium_routes_by_and_are_written_once() {
    let traces = Traces::new().await;
    let app = &traces.app;
    let alice = app.person("alice").await;
    app.switch(Mode::Cdc).await;
    let room = alice.create("room").await;
    alice.say(room, "hello").await;
    let rows: Vec<(i16, String, String, String, Uuid)> = sqlx::query_as(
        "select partition, aggregate_type, aggregate_id, event_type, event_id from chat_cdc order by id",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    let types: Vec<&str> = rows.iter().map(|row| row.3.as_str()).collect();
    assert_eq!(types, ["member.subscribe", "message.created", "message.text"]);
    for row in &rows {
        assert_eq!((row.0, row.1.as_str(), &row.2), (Partition::of(RoomId(room)).0, "room", &room.to_string()));
    }
    let ids: std::collections::BTreeSet<Uuid> = rows.iter().map(|row| row.4).collect();
    assert_eq!(ids.len(), 3);

    let error = sqlx::query("update chat_cdc set mode = 'wal'").execute(&app.db).await.unwrap_err();
    assert!(error.to_string().contains("written once"), "{error}");
    sqlx::query("delete from chat_cdc").execute(&app.db).await.unwrap();
    let error = sqlx::query("select announce('fax', 1, 'message.text', 'publish', '{}')").execute(&app.db).await;
    assert!(error.is_err(), "an unknown mode is refused, not kept quiet");
}

/// S001: what was said must not change because a table was changed later.
#[tokio::test]
async fn s001_a_join_at_read_time_tells_a_name_that_the_author_did_not_have() {
    let mut traces = Traces::new().await;
    let alice = traces.app.person("alice").await;
    let room = alice.create("White dress").await;
    traces.take(0).await;
    for mode in Mode::ALL {
        alice.say_by(mode, room, "I am Alice").await;
    }
    // Before anything was carried:
    sqlx::query("update users set name = 'Mallory' where username = 'alice'").execute(&traces.app.db).await.unwrap();
    sqlx::query("update rooms set name = 'Blue dress'").execute(&traces.app.db).await.unwrap();

    let joined: Vec<(String, String)> = sqlx::query_as(
        "select u.name, r.name from messages m join users u on u.id = m.author_id join rooms r on r.id = m.room_id
          where m.text = 'I am Alice'",
    )
    .fetch_all(&traces.app.db)
    .await
    .unwrap();
    let wrong = ("Mallory".to_owned(), "Blue dress".to_owned());
    assert_eq!(joined, vec![wrong; Mode::ALL.len()], "the naive reader puts words into the mouth of another");

    let trace = traces.take(2).await;
    let mut told: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let (two, three) = (trace.outbox.into_iter().chain(trace.log).chain(trace.published), trace.cdc.into_iter());
    for payload in two.map(|row| row.1).chain(three.map(|row| row.1)) {
        let data = &payload["data"];
        told.entry(data["mode"].as_str().unwrap().to_owned())
            .or_default()
            .push(json!([data["author"]["name"], data["room_name"]]));
    }
    assert_eq!(told.len(), Mode::ALL.len());
    assert!(told.values().flatten().all(|names| *names == json!(["Alice", "White dress"])), "{told:?}");
    let page = alice.get(&format!("/api/rooms/{room}/messages")).await.expect(200);
    for line in page["messages"].as_array().unwrap() {
        assert_eq!((&line["author"]["name"], &line["room_name"]), (&json!("Alice"), &json!("White dress")));
    }
    assert_eq!(alice.say(room, "now I am not").await["room_name"], "Blue dress");
}

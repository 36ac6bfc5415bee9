//! The schemas in `docs/events` are what SQL and Rust really write, no more and no less, and `docs/asyncapi.yaml` is about
//! them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use jsonschema::{Registry, Validator};
use protocol::{ChatEvent, Mode};
use serde_json::{Value, json};

use crate::{app::App, log::Log, recorder::Recorder};

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Every schema by its name.
fn schemas() -> BTreeMap<String, Value> {
    let files = fs::read_dir(docs().join("events")).unwrap().map(|entry| entry.unwrap().path());
    let schema = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().strip_suffix(".schema.json").unwrap().to_owned();
        (name, serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())
    };
    files.map(schema).collect()
}

/// No property but the described ones: what readers must tolerate, we do not write.
fn strict(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(strict);
            // An object that is described (not a condition about one).
            if fields.get("type") == Some(&json!("object")) && fields.contains_key("properties") {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(strict),
        _ => {}
    }
}

struct Contracts(BTreeMap<String, Validator>);

impl Contracts {
    fn new(change: impl Fn(&mut Value)) -> Self {
        let mut schemas = schemas();
        schemas.values_mut().for_each(change);
        let mut registry = Registry::new();
        for schema in schemas.values() {
            registry = registry.add(schema["$id"].as_str().unwrap(), schema.clone()).unwrap();
        }
        let registry = registry.prepare().unwrap();
        let validator = |schema| {
            let options = jsonschema::options().with_registry(&registry).should_validate_formats(true);
            options.build(schema).unwrap()
        };
        Self(schemas.iter().map(|(name, schema)| (name.clone(), validator(schema))).collect())
    }

    #[track_caller]
    fn hold(&self, name: &str, value: &Value) {
        let errors: Vec<String> =
            self.0[name].iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert_eq!(errors, Vec::<String>::new(), "{name}: {value}");
    }

    fn refuse(&self, name: &str, value: &Value) {
        assert!(!self.0[name].is_valid(value), "{name} holds for {value}");
    }
}

/// Everything there is to say, once by each mode. Returns the logical messages.
async fn everything_is_said(app: &App) -> Vec<Value> {
    let (alice, bob) = (app.person("alice").await, app.person("bob").await);
    let mut log = Log::open(&app.database_url).await;
    for mode in Mode::ALL {
        app.switch(mode).await;
        let room = alice.create(&format!("by {mode}")).await;
        bob.join(room).await;
        let version = alice.say(room, "hello\n😀 \"quoted\"").await["version"].as_i64().unwrap();
        bob.read(room, version).await;
        bob.leave(room).await;
    }
    log.messages().await.into_iter().map(|message| message.content).collect()
}

async fn rows(app: &App, table: &str) -> Vec<Value> {
    let sql = sqlx::AssertSqlSafe(format!("select to_jsonb(r) from {table} r order by r.id"));
    sqlx::query_scalar(sql).fetch_all(&app.db).await.unwrap()
}

#[tokio::test]
async fn what_is_written_is_what_the_schemas_say_and_nothing_besides() {
    let contracts = Contracts::new(strict);
    let recorder = Recorder::new();
    let app = App::publishing(recorder.clone()).await;
    let logical = everything_is_said(&app).await;
    app.state.stop().await;
    let (outbox, cdc) = (rows(&app, "chat_outbox").await, rows(&app, "chat_cdc").await);
    let direct = recorder.published();
    assert_eq!([outbox.len(), cdc.len(), logical.len(), direct.len()], [6 + 8 + 3, 3 * 8, 8, 2 * 8]);

    for row in &outbox {
        contracts.hold("outbox-row", row);
    }
    for content in &logical {
        contracts.hold("logical-message", content);
    }
    for row in &cdc {
        contracts.hold("cdc-row", row);
        let mut as_debezium_writes_it = row.clone();
        as_debezium_writes_it["payload"] = json!(row["payload"].to_string());
        contracts.hold("cdc-row", &as_debezium_writes_it);
    }
    // What Rust writes of the same.
    for command in direct.iter().map(|command| serde_json::to_value(command).unwrap()) {
        let (method, payload) = command.as_object().unwrap().iter().next().unwrap();
        contracts.hold(if method == "publish" { "publish" } else { "membership" }, payload);
    }
    let mut types = BTreeSet::new();
    for row in outbox.iter().chain(&cdc).chain(&logical).filter(|row| row["method"] == "publish") {
        let data = &row["payload"]["data"];
        let name = data["type"].as_str().unwrap();
        contracts.hold(name, data);
        let event: ChatEvent = serde_json::from_value(data.clone()).unwrap();
        contracts.hold(name, &serde_json::to_value(event).unwrap());
        types.insert(name.to_owned());
    }
    assert_eq!(types, BTreeSet::from(["message", "mode", "read"].map(str::to_owned)));
}

#[tokio::test]
async fn readers_tolerate_what_the_schemas_leave_open_and_schemas_refuse_what_readers_cannot_take() {
    let contracts = Contracts::new(|_| ());
    let app = App::publishing(Recorder::new()).await;
    everything_is_said(&app).await;
    let mut seen = BTreeSet::new();
    for row in rows(&app, "chat_outbox").await.iter().filter(|row| row["method"] == "publish") {
        let data = &row["payload"]["data"];
        let name = data["type"].as_str().unwrap();
        if !seen.insert(format!("{name} {}", data["kind"])) {
            continue;
        }
        // A field of next year.
        let mut newer = data.clone();
        newer["colour"] = json!({"of": ["next", "year"]});
        contracts.hold(name, &newer);
        serde_json::from_value::<ChatEvent>(newer).unwrap();
        // A writer of last year, and one who forgot: the schema and the reader agree on each field.
        for field in data.as_object().unwrap().keys() {
            let mut without = data.clone();
            without.as_object_mut().unwrap().remove(field);
            let read = serde_json::from_value::<ChatEvent>(without.clone());
            if contracts.0[name].is_valid(&without) {
                assert!(read.is_ok(), "{name} without {field}: {read:?}");
            }
            if read.is_err() {
                contracts.refuse(name, &without);
            }
        }
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
    contracts.refuse("mode", &json!({"type": "mode", "mode": "fax", "changed_at": "2026-11-22T12:00:00Z"}));
    contracts.refuse("mode", &json!({"type": "mode", "mode": "wal", "changed_at": "yesterday"}));
    contracts.refuse(
        "outbox-row",
        &json!({"id": 1, "method": "publish", "payload": {}, "partition": 1,
        "created_at": "2026-11-22T12:00:00Z"}),
    );
    contracts.refuse(
        "outbox-row",
        &json!({"id": 1, "method": "shout", "payload": {"channel": "a", "data": 1},
        "partition": 1, "created_at": "2026-11-22T12:00:00Z"}),
    );
}

#[test]
fn asyncapi_refers_to_every_schema_and_to_nothing_that_is_not_there() {
    let text = fs::read_to_string(docs().join("asyncapi.yaml")).unwrap();
    let api: Value = serde_yaml_ng::from_str(&text).unwrap();
    assert_eq!(api["asyncapi"], "3.0.0");
    let mut references = Vec::new();
    collect(&api, &mut references);
    let mut named = BTreeSet::new();
    for reference in &references {
        if let Some(pointer) = reference.strip_prefix('#') {
            assert!(api.pointer(pointer).is_some(), "{reference}");
        } else {
            let file = reference.strip_prefix("events/").and_then(|file| file.strip_suffix(".schema.json"));
            named.insert(file.unwrap_or_else(|| panic!("{reference}")).to_owned());
        }
    }
    let schemas = schemas();
    assert_eq!(named, schemas.keys().cloned().collect(), "schemas that the description refers to, and those there are");
    for (name, schema) in &schemas {
        assert_eq!(schema["$id"], format!("https://roomcast.example/events/{name}.schema.json"));
    }
    for message in api["components"]["messages"].as_object().unwrap().keys().filter(|name| *name != "outboxRow") {
        let reference = format!("#/components/messages/{message}");
        assert!(references.contains(&reference), "no channel has {message}");
    }
    for channel in api["channels"].as_object().unwrap().keys() {
        assert!(references.contains(&format!("#/channels/{channel}")), "no operation uses {channel}");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| collect(field, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

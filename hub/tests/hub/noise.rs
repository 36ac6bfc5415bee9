//! Messages and bodies that were damaged on purpose: answered or refused, and nobody else notices.
//!
//! What is sent is made of things that are right, cut, joined, and with bytes of chance in them: so it gets far.

use std::time::Duration;

use proptest::{collection, prelude::*, test_runner::TestRunner};
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::{KEY, TestBus, TestHub, client::Incoming, http, token};

const COMMANDS: [&str; 12] = [
    r#"{"id":2,"subscribe":{"channel":"chat:1","recover":true,"epoch":"e","offset":1,"flag":3,"token":"a.b.c"}}"#,
    r#"{"id":3,"unsubscribe":{"channel":"chat:1"}}"#,
    r#"{"id":4,"publish":{"channel":"chat:1","data":{"a":[1,2,{"b":null}]}}}"#,
    r#"{"id":5,"history":{"channel":"chat:1","limit":-1,"since":{"offset":3,"epoch":"x"},"reverse":true}}"#,
    r#"{"id":6,"presence":{"channel":"chat:1"}}"#,
    r#"{"id":7,"presence_stats":{"channel":"chat:1"}}"#,
    r#"{"id":8,"refresh":{"token":"x"}}"#,
    r#"{"id":9,"sub_refresh":{"channel":"chat:1","token":"x"}}"#,
    r#"{"id":10,"rpc":{"method":"m","data":1}}"#,
    r#"{"send":{"data":{}}}"#,
    r#"{"id":4294967295,"connect":{"subs":{"chat:1":{"recover":true,"offset":18446744073709551615}}}}"#,
    "{}",
];

const BODIES: [(&str, &str); 8] = [
    (
        "publish",
        r#"{"channel":"chat:1","data":1,"tags":{"a":"b"},"version":3,"version_epoch":"e","idempotency_key":"k"}"#,
    ),
    ("broadcast", r#"{"channels":["chat:1","chat:2"],"data":{"x":"\u0000"}}"#),
    ("subscribe", r#"{"user":"7","channel":"chat:1","expire_at":1,"recover_since":{"offset":1,"epoch":"e"}}"#),
    ("disconnect", r#"{"user":"8","disconnect":{"code":4000,"reason":"x"},"whitelist":["a"]}"#),
    ("history", r#"{"channel":"chat:1","limit":9223372036854775807,"since":{"offset":1,"epoch":""}}"#),
    ("presence", r#"{"channel":"chat:1"}"#),
    ("channels", r#"{"pattern":"*a**b*"}"#),
    (
        "batch",
        r#"{"commands":[{"publish":{"channel":"chat:1","data":1}},{"history":{"channel":"chat:1"}}],"parallel":true}"#,
    ),
];

/// What nodes say to each other.
const SAID: [(&str, &str); 8] = [
    (
        "commands",
        r#"{"call":1,"commands":[{"publish":{"channel":"chat:1","data":1}},{"disconnect":{"user":"9"}},{"subscribe":{"user":"9","channel":"chat:1"}}]}"#,
    ),
    ("said", r#"{"call":0,"publish":{"channel":"chat:1","data":2},"by":{"user":"9","client":"c"}}"#),
    ("company", r#"{"channel":"chat:1","changes":[{"join":{"user":"9"}},{"leave":{"user":"9"}}]}"#),
    ("here", r#"{"name":"n","version":"1","num_clients":3,"uptime":18446744073709551615}"#),
    ("bye", "null"),
    ("question", r#"{"call":3,"about":{"presence":"chat:1"}}"#),
    ("question", r#"{"call":3,"about":{"channels":"*a*"}}"#),
    (
        "answer",
        r#"{"to":"00000000-0000-0000-0000-000000000001","call":1,"part":{"presence_stats":{"clients":9,"users":["a"]}},"last":true}"#,
    ),
];

/// How a text is damaged.
#[derive(Clone, Debug)]
enum Damage {
    Cut(prop::sample::Index),
    Byte(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Double(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        place().prop_map(Damage::Cut),
        (place(), any::<u8>()).prop_map(|(place, byte)| Damage::Byte(place, byte)),
        (place(), collection::vec(any::<u8>(), 1..9)).prop_map(|(place, bytes)| Damage::Insert(place, bytes)),
        place().prop_map(Damage::Double),
    ]
}

fn damaged(text: &str, damages: &[Damage]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for damage in damages.iter().filter(|_| !text.is_empty()) {
        let length = bytes.len().max(1);
        match damage {
            Damage::Cut(place) => bytes.truncate(place.index(length)),
            Damage::Byte(place, byte) => bytes.iter_mut().skip(place.index(length)).take(1).for_each(|it| *it = *byte),
            Damage::Insert(place, more) => drop(bytes.splice(place.index(length)..place.index(length), more.clone())),
            Damage::Double(place) => bytes.extend(bytes.clone().drain(place.index(length).min(bytes.len())..)),
        }
    }
    bytes
}

fn run<S: Strategy>(strategy: &S, each: impl AsyncFn(&TestHub, S::Value)) {
    run_on(TestHub::alone(|_| {}), strategy, each);
}

fn run_on<S: Strategy>(hub: impl Future<Output = TestHub>, strategy: &S, each: impl AsyncFn(&TestHub, S::Value)) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let hub = runtime.block_on(hub);
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(strategy, |value| {
        runtime.block_on(async { each(&hub, value).await });
        Ok(())
    });
    result.unwrap();
    runtime.block_on(async {
        assert!(hub.hub.is_ready(), "no shard has ended");
        let (mut client, _) = hub.connect("7").await;
        assert_eq!(client.ask(json!({"id": 2, "rpc": {}})).await["error"]["code"], 108);
    });
}

#[test]
fn damaged_messages_are_answered_or_end_their_connection_alone() {
    let message = collection::vec((prop::sample::select(&COMMANDS[..]), collection::vec(damage(), 0..3)), 1..4);
    run(&(message, any::<bool>()), async |hub, (lines, binary)| {
        let lines: Vec<Vec<u8>> = lines.iter().map(|(line, damages)| damaged(line, damages)).collect();
        let (mut client, _) = hub.connect("7").await;
        let bytes = lines.join(&b'\n');
        let message = match String::from_utf8(bytes) {
            Ok(text) if !binary => Message::text(text),
            Ok(text) => Message::binary(text.into_bytes()),
            Err(garbage) => Message::binary(garbage.into_bytes()),
        };
        futures_util::SinkExt::send(&mut client.socket, message).await.unwrap();
        // Whatever it was: this is answered, or the connection has ended.
        let marker = json!({"id": 77, "rpc": {}}).to_string();
        futures_util::SinkExt::send(&mut client.socket, Message::text(marker)).await.ok();
        let end = async {
            loop {
                match client.incoming().await {
                    Incoming::Object(object) if object["id"] == 77 => return,
                    Incoming::Object(_) => {}
                    Incoming::Closed(..) | Incoming::Cut => return,
                }
            }
        };
        timeout(Duration::from_secs(20), end).await.expect("neither answered nor closed");
    });
}

#[test]
fn damaged_bodies_are_answered_with_200_or_400() {
    let body = (prop::sample::select(&BODIES[..]), collection::vec(damage(), 0..3));
    let client = http();
    run(&body, async |hub, ((method, body), damages)| {
        let request = client.post(format!("http://{}/api/{method}", hub.address)).header("x-api-key", KEY);
        let status = request.body(damaged(body, &damages)).send().await.unwrap().status().as_u16();
        assert!([200, 400].contains(&status), "{status}");
    });
}

#[test]
fn damaged_tokens_open_nothing() {
    let good = token("7");
    run(&collection::vec(damage(), 1..3), async |hub, damages| {
        let Ok(bad) = String::from_utf8(damaged(&good, &damages)) else { return };
        if bad == good || bad.is_empty() {
            return;
        }
        let mut client = hub.open().await;
        client.send(&json!({"id": 1, "connect": {"token": bad}})).await;
        match client.incoming().await {
            Incoming::Closed(code, _) => assert_eq!(code, 3500, "{bad}"),
            other => panic!("{bad}: {other:?}"),
        }
    });
}

#[test]
fn damaged_messages_between_nodes_are_left_out() {
    let node = async { TestHub::among(&TestBus::new(), |config| TestHub::with_chat(config, |_| {})).await.0 };
    let message = (prop::sample::select(&SAID[..]), collection::vec(damage(), 0..3));
    run_on(node, &message, async |node, ((kind, body), damages)| {
        let message = format!(r#"{{"node":"00000000-0000-0000-0000-000000000002","kind":"{kind}","body":{body}}}"#);
        node.hub.hear(&damaged(&message, &damages)).await;
    });
}

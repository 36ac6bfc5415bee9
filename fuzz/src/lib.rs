//! A hub within the process, to which the targets speak as clients and servers do, but for the sockets.
//!
//! It runs on as a real one does, so that what one input has left behind meets the next; and it must be well after each.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, StatusCode, header},
};
use http_body_util::BodyExt;
use hub::{Alone, ChannelOptions, Hub, HubConfig};
use serde_json::{Value, json};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};
use tower::ServiceExt;

/// What tokens are signed with.
pub const SECRET: &str = "a secret for fuzzing";
/// A channel with a history, in which something has been said already.
pub const CHANNEL: &str = "chat:1";
/// How often.
pub const SAID: u64 = 5;

/// Nothing takes so long, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// The id of the last command: its reply says that all others have been answered.
const LAST: u32 = u32::MAX;

/// A running hub.
pub struct Stage {
    runtime: Runtime,
    hub: Hub,
    router: Router,
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage {
    /// Starts a hub in which everybody may do everything.
    #[must_use]
    pub fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let chat = ChannelOptions {
            presence: true,
            join_leave: true,
            history_size: 20,
            history_ttl: Duration::from_secs(300),
            force_positioning: true,
            force_recovery: true,
            ..ChannelOptions::default()
        };
        let config = HubConfig {
            shards: 1,
            insecure: true,
            token: hub::TokenRules::hmac(SECRET),
            api_key: SECRET.to_owned(),
            idle_channel_limit: 100,
            without_namespace: Some(ChannelOptions::default()),
            namespaces: BTreeMap::from([("chat".to_owned(), chat)]),
            ..HubConfig::default()
        };
        let hub = runtime.block_on(async { Hub::start(config, Arc::new(Alone)) }).expect("a hub");
        let stage = Self { router: hub.router(), runtime, hub };
        for number in 0..SAID {
            stage.call("publish", json!({ "channel": CHANNEL, "data": number }).to_string().into());
        }
        stage
    }

    /// Calls a method of the server API. Whatever the body, it is answered.
    pub fn call(&self, method: &str, body: Bytes) -> (StatusCode, Bytes) {
        let request = Request::post(format!("/api/{method}")).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(body)).expect("a request");
        let answer = self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.expect("an answer");
            let status = response.status();
            let body = timeout(PATIENCE, response.into_body().collect()).await.expect("in time").expect("a body");
            (status, body.to_bytes())
        });
        self.check();
        answer
    }

    /// Says what `message` has in its lines as one client, and returns everything that it is told until all of it is
    /// answered or the hub has closed the connection.
    pub fn say(&self, message: &[u8]) -> Vec<Value> {
        let last = json!({ "id": LAST, "rpc": {} }).to_string();
        let message = [message, b"\n", last.as_bytes()].concat();
        let request = Request::post("/connection/http_stream").body(Body::from(message)).expect("a request");
        let told = self.runtime.block_on(async {
            let mut body = self.router.clone().oneshot(request).await.expect("an answer").into_body();
            let mut told = Vec::new();
            while let Some(frame) = timeout(PATIENCE, body.frame()).await.expect("in time") {
                let chunk = frame.expect("a chunk").into_data().expect("data");
                for line in chunk.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                    told.push(serde_json::from_slice::<Value>(line).expect("one JSON object a line"));
                }
                if told.iter().any(|object| object["id"] == LAST) {
                    break;
                }
            }
            told
        });
        self.check();
        told
    }

    /// Like [`Stage::say`], for a client that connects before it says anything else.
    pub fn say_connected(&self, message: &[u8]) -> Vec<Value> {
        self.say(&[br#"{"id":1,"connect":{}}"#.as_slice(), b"\n", message].concat())
    }

    fn check(&self) {
        assert!(self.hub.is_ready(), "a shard has ended");
    }
}

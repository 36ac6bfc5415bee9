//! A person at the HTTP API: signs in, joins rooms, posts, and notes when.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use protocol::Mode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{clock::unix_micros, delivery::Line};

/// When the commit of a message was acknowledged to the backend.
const COMMITTED_AT: &str = "roomcast-committed-at";
/// No request takes this long, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a mode may not be had after a start.
const UNTIL_OFFERED: Duration = Duration::from_mins(1);

/// A pool of keep-alive connections to one backend. It grows when all of them are busy.
#[derive(Clone)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    origin: Arc<str>,
}

/// A signed-in session. People who sign in with one [`Http`] share its connections.
#[derive(Clone)]
pub struct Person {
    http: Http,
    cookie: Arc<str>,
    /// The user's id.
    pub id: i64,
}

/// A message that was written.
#[derive(Clone, Copy, Debug)]
pub struct Posted {
    /// Where it stands.
    pub line: Line,
    /// Before the request was handed to the HTTP client, in Unix microseconds.
    pub sent_at: i64,
    /// When the backend heard that it is committed.
    pub committed_at: i64,
    /// When the reply was read.
    pub answered_at: i64,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

impl Http {
    /// For a backend such as `http://127.0.0.1:8000`.
    pub fn new(origin: &str) -> anyhow::Result<Self> {
        ensure!(origin.starts_with("http://"), "{origin} is not an http:// address");
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, origin: origin.trim_end_matches('/').into() })
    }

    /// Signs one of the seeded people in.
    pub async fn sign_in(&self, username: &str) -> anyhow::Result<Person> {
        let form = json!({ "username": username, "password": "roomcast" });
        let answer = self.send(Method::POST, "/api/login", "", Some(&form)).await;
        let answer = answer.with_context(|| format!("{username} cannot sign in: are the demo's people there?"))?;
        let cookie = answer.headers.get(header::SET_COOKIE).and_then(|cookie| cookie.to_str().ok()?.split(';').next());
        let cookie = cookie.context("no session cookie")?.into();
        let user: Value = serde_json::from_slice(&answer.body)?;
        let id = user["user"]["id"].as_i64().context("no user id")?;
        Ok(Person { http: self.clone(), cookie, id })
    }

    /// What is there, as text.
    pub async fn text(&self, path: &str) -> anyhow::Result<String> {
        Ok(String::from_utf8(self.send(Method::GET, path, "", None).await?.body.into())?)
    }

    async fn send(&self, method: Method, path: &str, cookie: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.origin));
        if !cookie.is_empty() {
            request = request.header(header::COOKIE, cookie);
        }
        let body = match body {
            None => Full::default(),
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Full::from(body.to_string())
            }
        };
        let exchange = async {
            let answer = self.client.request(request.body(body)?).await?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await?.to_bytes();
            if !head.status.is_success() {
                bail!("{path} answered {}: {}", head.status, String::from_utf8_lossy(&body));
            }
            Ok(Answer { headers: head.headers, body })
        };
        let answered = tokio::time::timeout(PATIENCE, exchange).await;
        answered.with_context(|| format!("no answer from {} within {PATIENCE:?}", self.origin))?
    }
}

impl Person {
    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        self.http.send(method, path, &self.cookie, body).await
    }

    /// A fresh connection token.
    pub async fn token(&self) -> anyhow::Result<String> {
        let answer: Value = serde_json::from_slice(&self.send(Method::GET, "/api/token", None).await?.body)?;
        Ok(answer["token"].as_str().context("no token")?.to_owned())
    }

    /// Creates a room and is its first member.
    pub async fn create_room(&self, name: &str) -> anyhow::Result<i64> {
        let answer = self.send(Method::POST, "/api/rooms", Some(&json!({ "name": name }))).await?;
        let room: Value = serde_json::from_slice(&answer.body)?;
        room["id"].as_i64().context("no room id")
    }

    /// Becomes a member.
    pub async fn join(&self, room: i64) -> anyhow::Result<()> {
        self.send(Method::POST, &format!("/api/rooms/{room}/join"), None).await.map(drop)
    }

    /// Switches the broadcast mode, as an administrator. A relay that has just started offers its modes a little later.
    pub async fn switch_to(&self, mode: Mode) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            let switched = self.send(Method::PUT, "/api/settings/broadcast-mode", Some(&json!({ "mode": mode }))).await;
            match switched {
                Err(_) if begin.elapsed() < UNTIL_OFFERED => tokio::time::sleep(Duration::from_millis(100)).await,
                switched => return switched.map(drop),
            }
        }
    }

    /// Posts once.
    pub async fn post(&self, room: i64, text: &str) -> anyhow::Result<Posted> {
        let body = json!({ "text": text, "client_id": Uuid::new_v4() });
        let sent_at = unix_micros();
        let answer = self.send(Method::POST, &format!("/api/rooms/{room}/messages"), Some(&body)).await?;
        let answered_at = unix_micros();
        let committed_at = answer.headers.get(COMMITTED_AT).and_then(|value| value.to_str().ok()?.parse().ok());
        let committed_at =
            committed_at.context("the reply does not say when it was committed (Roomcast-Committed-At)")?;
        let Version { version } = serde_json::from_slice(&answer.body)?;
        Ok(Posted { line: (room, version), sent_at, committed_at, answered_at })
    }
}

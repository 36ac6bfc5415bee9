//! A backend on a port of its own, and people who use it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, request},
};
use backend::{ApiState, BackendConfig, CommitHook, MIGRATOR, Publisher};
use embedded_postgres::testkit::{self, TestDatabase};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use protocol::{Command, Mode, Partition, UserId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

pub(crate) const INTERNAL_KEY: &str = "internal key";
pub(crate) const TOKEN_SECRET: &str = "token secret";

/// A backend that listens.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) db: PgPool,
    pub(crate) state: ApiState,
    pub(crate) wakeups: Arc<Wakeups>,
    pub(crate) address: SocketAddr,
    pub(crate) database_url: String,
    http: Client<HttpConnector, Body>,
}

/// Counts what a relay would have been told.
#[derive(Default)]
pub(crate) struct Wakeups(AtomicUsize);

impl CommitHook for Wakeups {
    fn committed(&self, _: Partition) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakeups {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl App {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(configure: impl FnOnce(&mut BackendConfig)) -> Self {
        Self::on(testkit::database(&MIGRATOR).await, configure).await
    }

    /// A backend with a hub of its own, where requests may name a mode.
    pub(crate) async fn publishing(publisher: Arc<dyn Publisher>) -> Self {
        let database = testkit::database(&MIGRATOR).await;
        Self::build(database, |config| config.allow_request_mode = true, Some(publisher)).await
    }

    /// Another backend on the same database.
    pub(crate) async fn on(database: TestDatabase, configure: impl FnOnce(&mut BackendConfig)) -> Self {
        Self::build(database, configure, None).await
    }

    async fn build(
        database: TestDatabase,
        configure: impl FnOnce(&mut BackendConfig),
        publisher: Option<Arc<dyn Publisher>>,
    ) -> Self {
        let mut config = BackendConfig::new(TOKEN_SECRET, INTERNAL_KEY);
        configure(&mut config);
        let wakeups = Arc::new(Wakeups::default());
        let pool = backend::connect(&database.url, 4).await.unwrap(); // all of them open at once
        let mut state = ApiState::new(pool, config, wakeups.clone());
        if let Some(publisher) = publisher {
            state = state.with_publisher(publisher);
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = backend::router(state.clone()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { db: database.pool, state, wakeups, address, database_url: database.url, http }
    }

    /// Somebody who is signed in, without the wait for a password's hash.
    pub(crate) async fn person(&self, username: &str) -> Person {
        sqlx::query("insert into users (username, name, password_hash) values ($1, initcap($1), '-')")
            .bind(username)
            .execute(&self.db)
            .await
            .unwrap();
        self.signed_in(username).await
    }

    /// A session of somebody who is there.
    pub(crate) async fn signed_in(&self, username: &str) -> Person {
        let id: i64 = sqlx::query_scalar("select id from users where username = $1")
            .bind(username)
            .fetch_one(&self.db)
            .await
            .unwrap();
        sqlx::query(
            "insert into sessions (token_hash, user_id, expires_at) values ($1, $2, now() + interval '30 days')",
        )
        .bind(Sha256::digest(username).to_vec())
        .bind(id)
        .execute(&self.db)
        .await
        .unwrap();
        Person { app: self.clone(), id: UserId(id), cookie: format!("roomcast_session={username}") }
    }

    pub(crate) async fn people(&self, count: usize) -> Vec<Person> {
        let mut people = Vec::with_capacity(count);
        for number in 0..count {
            people.push(self.person(&format!("person_{number}")).await);
        }
        people
    }

    /// Nobody in particular.
    pub(crate) fn stranger(&self) -> Person {
        Person { app: self.clone(), id: UserId(0), cookie: String::new() }
    }

    /// The same person at another backend.
    pub(crate) fn seat(&self, person: &Person) -> Person {
        Person { app: self.clone(), ..person.clone() }
    }

    pub(crate) async fn count(&self, table: &'static str) -> i64 {
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        sqlx::query_scalar(sql).fetch_one(&self.db).await.unwrap()
    }

    /// A relay reports that it carries rows of all sources.
    pub(crate) async fn everything_is_carried(&self) {
        sqlx::query(
            "insert into carriers (source, instance)
             select unnest(array['outbox', 'cdc', 'message', 'wal']), 'the test'
             on conflict (source, instance) do update set seen_at = clock_timestamp()",
        )
        .execute(&self.db)
        .await
        .unwrap();
    }

    /// Switches the mode as an administrator would.
    pub(crate) async fn switch(&self, mode: Mode) {
        self.everything_is_carried().await;
        backend::mode::set(&self.db, mode, true).await.unwrap();
    }

    /// What the outbox announces, oldest first.
    pub(crate) async fn announced(&self) -> Vec<Command> {
        let rows: Vec<(String, String)> = sqlx::query_as("select method, payload::text from chat_outbox order by id")
            .fetch_all(&self.db)
            .await
            .unwrap();
        rows.iter().map(|(method, payload)| Command::parse(method, payload).unwrap()).collect()
    }

    /// Returns when so many connections of this database wait for a lock.
    pub(crate) async fn waiting_for_a_lock(&self, count: i64) {
        loop {
            let waiting: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
            )
            .fetch_one(&self.db)
            .await
            .unwrap();
            if waiting >= count {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Versions without a gap, counters that agree, and an outbox in the order of the versions: in every room.
    pub(crate) async fn assert_timelines_are_whole(&self) {
        let broken: Vec<String> = sqlx::query_scalar(
            "select r.name || ': ' || r.version || ' ' || r.texts || ' ' || count(m) || ' ' || coalesce(max(m.version), 0)
               from room_heads r left join messages m on m.room_id = r.id
              group by r.id, r.name, r.version, r.texts, r.member_count
              having count(m) <> r.version or coalesce(max(m.version), 0) <> r.version
                  or count(m) filter (where m.kind = 0) <> r.texts
                  or r.member_count <> (select count(*) from members where room_id = r.id)",
        )
        .fetch_all(&self.db)
        .await
        .unwrap();
        assert_eq!(broken, Vec::<String>::new(), "rooms whose counters and lines differ");

        let announced: Vec<(String, Vec<i64>)> = sqlx::query_as(
            "select payload->>'channel', array_agg((payload->>'version')::bigint order by id) from chat_outbox
              where method = 'publish' and payload ? 'version' group by 1",
        )
        .fetch_all(&self.db)
        .await
        .unwrap();
        for (channel, versions) in announced {
            let expected: Vec<i64> = (1..=i64::try_from(versions.len()).unwrap()).collect();
            assert_eq!(versions, expected, "order of the rows of {channel}");
        }
    }
}

/// Somebody with a cookie.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) app: App,
    pub(crate) id: UserId,
    pub(crate) cookie: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// A problem, whole and of this code.
    pub(crate) fn expect_problem(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status.as_u16(), &self.body["code"]), (status, &json!(code)), "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], format!("urn:roomcast:{code}"));
        assert!(!self.body["title"].as_str().unwrap().is_empty() && !self.body["detail"].as_str().unwrap().is_empty());
        self.body
    }

    /// The cookies that the answer sets, as they stand in the header.
    pub(crate) fn cookies(&self) -> Vec<&str> {
        self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect()
    }
}

/// A request that is being put together.
pub(crate) struct Call {
    http: Client<HttpConnector, Body>,
    request: request::Builder,
    body: Body,
}

impl Call {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) async fn send(self) -> Reply {
        let response = self.http.request(self.request.body(self.body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(Body::new(body), usize::MAX).await.unwrap();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Reply { status: parts.status, headers: parts.headers, body }
    }
}

impl Person {
    pub(crate) fn request(&self, method: Method, path: &str) -> Call {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.app.address));
        let request = if self.cookie.is_empty() { request } else { request.header("cookie", &self.cookie) };
        Call { http: self.app.http.clone(), request, body: Body::empty() }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.request(Method::GET, path).send().await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.request(Method::POST, path).json(&body).send().await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Reply {
        self.request(Method::PUT, path).json(&body).send().await
    }

    /// Creates a room and returns its id.
    pub(crate) async fn create(&self, name: &str) -> i64 {
        self.post("/api/rooms", json!({ "name": name })).await.expect(201)["id"].as_i64().unwrap()
    }

    pub(crate) async fn join(&self, room: i64) -> Value {
        self.post(&format!("/api/rooms/{room}/join"), Value::Null).await.expect(200)
    }

    pub(crate) async fn leave(&self, room: i64) {
        self.post(&format!("/api/rooms/{room}/leave"), Value::Null).await.expect(204);
    }

    pub(crate) async fn say_as(&self, room: i64, text: &str, client_id: Uuid) -> Reply {
        self.post(&format!("/api/rooms/{room}/messages"), json!({ "text": text, "client_id": client_id })).await
    }

    /// Posts a message that must be new.
    pub(crate) async fn say(&self, room: i64, text: &str) -> Value {
        self.say_as(room, text, Uuid::new_v4()).await.expect(201)
    }

    pub(crate) async fn read(&self, room: i64, version: i64) -> Value {
        self.put(&format!("/api/rooms/{room}/read"), json!({ "version": version })).await.expect(200)
    }

    /// Posts a message by a mode of its own; it must be new.
    pub(crate) async fn say_by(&self, mode: Mode, room: i64, text: &str) -> Value {
        let message = json!({ "text": text, "client_id": Uuid::new_v4(), "mode": mode });
        self.post(&format!("/api/rooms/{room}/messages"), message).await.expect(201)
    }

    pub(crate) async fn room(&self, room: i64) -> Value {
        self.get(&format!("/api/rooms/{room}")).await.expect(200)
    }
}

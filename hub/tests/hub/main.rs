//! A real hub on a free port, real WebSocket clients, and the truth in memory on the trait's other side.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a test counts to a few thousand")]
#![expect(clippy::needless_pass_by_value, reason = "JSON literals read better without a reference")]

mod admission;
mod api;
mod bus;
mod channels;
mod client;
mod commands;
mod connecting;
mod deflate;
mod emulation;
mod framing;
mod gathering;
mod keys;
mod model;
mod nodes;
mod noise;
mod ordering;
mod personal;
mod recovering;
mod slow;
mod subscribing;
mod tokens;
mod truth;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hub::{Accepted, ChannelOptions, Hub, HubConfig, Rejection, TokenRules};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use protocol::Command;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) use self::{
    bus::{Line, TestBus},
    client::Client,
    truth::Truth,
};

pub(crate) const SECRET: &str = "secret";
pub(crate) const KEY: &str = "key";
/// Far enough in the future.
pub(crate) const LATER: u64 = 4_000_000_000;

/// An HTTP client. reqwest is built with TLS in this workspace, but without a choice of cryptography.
pub(crate) fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// A running hub and its truth.
pub(crate) struct TestHub {
    pub(crate) hub: Hub,
    pub(crate) truth: Arc<Truth>,
    pub(crate) address: SocketAddr,
}

impl TestHub {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut HubConfig)) -> Self {
        Self::start_on(Arc::new(Truth::default()), change).await
    }

    /// Another hub beside, or after, the first: the truth stays.
    pub(crate) async fn start_on(truth: Arc<Truth>, change: impl FnOnce(&mut HubConfig)) -> Self {
        let hub = Hub::start(Self::config(change), Arc::clone(&truth) as _).unwrap();
        Self::serve(hub, truth).await
    }

    /// A node of the hub that is on this bus.
    pub(crate) async fn among(bus: &Arc<TestBus>, change: impl FnOnce(&mut HubConfig)) -> (Self, Arc<Line>) {
        Self::among_on(bus, Arc::default(), change).await
    }

    /// Nodes of one hub share the truth.
    pub(crate) async fn among_on(
        bus: &Arc<TestBus>,
        truth: Arc<Truth>,
        change: impl FnOnce(&mut HubConfig),
    ) -> (Self, Arc<Line>) {
        let (line, ear) = bus.line();
        let hub = Hub::start_among(Self::config(change), Arc::clone(&truth) as _, Arc::clone(&line) as _).unwrap();
        tokio::spawn(ear.listen(hub.clone()));
        (Self::serve(hub, truth).await, line)
    }

    fn config(change: impl FnOnce(&mut HubConfig)) -> HubConfig {
        let mut config = HubConfig {
            shards: 2,
            token: TokenRules::hmac(SECRET),
            api_key: KEY.into(),
            hold: Duration::from_millis(20),
            ..HubConfig::default()
        };
        change(&mut config);
        config
    }

    async fn serve(hub: Hub, truth: Arc<Truth>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = hub.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { hub, truth, address }
    }

    /// A hub that knows no backend, with a namespace `chat` in which much is allowed.
    pub(crate) async fn alone(change: impl FnOnce(&mut ChannelOptions)) -> Self {
        Self::start_with(|config| Self::with_chat(config, change)).await
    }

    /// A namespace `chat` in which much is allowed.
    pub(crate) fn with_chat(config: &mut HubConfig, change: impl FnOnce(&mut ChannelOptions)) {
        let mut chat = ChannelOptions {
            history_size: 10,
            history_ttl: Duration::from_mins(5),
            allow_recovery: true,
            presence: true,
            join_leave: true,
            allow_subscribe_for_client: true,
            allow_publish_for_subscriber: true,
            allow_history_for_subscriber: true,
            allow_presence_for_subscriber: true,
            ..ChannelOptions::default()
        };
        change(&mut chat);
        config.namespaces.insert("chat".into(), chat);
        config.expired_sub_close_delay = Duration::ZERO;
    }

    /// A socket on which nothing has been said.
    pub(crate) async fn open(&self) -> Client {
        Client::open(self.address).await
    }

    /// A connected client of a user, with the connect reply.
    pub(crate) async fn connect(&self, user: &str) -> (Client, Value) {
        self.connect_from(user, json!({})).await
    }

    /// A client that comes back with its positions.
    pub(crate) async fn connect_from(&self, user: &str, subs: Value) -> (Client, Value) {
        let mut client = self.open().await;
        client.send(&json!({"id": 1, "connect": {"token": token(user), "subs": subs}})).await;
        let reply = client.next().await;
        assert_eq!(reply["id"], 1, "{reply}");
        (client, reply["connect"].clone())
    }

    /// Carries out one command that must pass.
    pub(crate) async fn execute(&self, command: Command) -> Accepted {
        self.attempt(command).await.unwrap()
    }

    pub(crate) async fn attempt(&self, command: Command) -> Result<Accepted, Rejection> {
        self.hub.execute(vec![command]).await.pop().unwrap()
    }

    /// Writes `count` lines to a room and publishes them.
    pub(crate) async fn say(&self, room: i64, count: usize) {
        let commands = (0..count).map(|_| self.truth.append(room)).collect();
        assert!(self.hub.execute(commands).await.iter().all(Result::is_ok));
    }
}

/// A good token.
pub(crate) fn token(user: &str) -> String {
    sign(SECRET, &json!({"sub": user, "exp": LATER}))
}

/// Seconds since 1970, so many from now.
pub(crate) fn in_seconds(seconds: u64) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_secs() + seconds
}

pub(crate) fn sign(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

pub(crate) fn command(method: &str, payload: Value) -> Command {
    Command::parse(method, &payload.to_string()).unwrap()
}

/// Waits until `look` sees what it waits for.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came: {what}");
}

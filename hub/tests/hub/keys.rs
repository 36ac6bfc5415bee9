//! Tokens that somebody else signs: with RSA and ECDSA keys of the configuration, and with those of a JSON Web Key Set.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, routing::get};
use hub::{Expected, HubConfig, TokenRules};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{LATER, SECRET, TestHub, client::Incoming, sign};

const RSA: (&str, &str) = (include_str!("keys/rsa.private.pem"), include_str!("keys/rsa.pem"));
const P256: (&str, &str) = (include_str!("keys/p256.private.pem"), include_str!("keys/p256.pem"));
const P384: (&str, &str) = (include_str!("keys/p384.private.pem"), include_str!("keys/p384.pem"));
const P521: &str = include_str!("keys/p521.pem");
const OTHER_RSA: &str = include_str!("keys/other.private.pem");

fn private(pem: &str) -> EncodingKey {
    EncodingKey::from_rsa_pem(pem.as_bytes()).or_else(|_| EncodingKey::from_ec_pem(pem.as_bytes())).unwrap()
}

fn signed_by(pem: &str, algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, &private(pem)).unwrap()
}

fn of_user_7(pem: &str, algorithm: Algorithm, kid: Option<&str>) -> String {
    signed_by(pem, algorithm, kid, &json!({"sub": "7", "exp": LATER}))
}

async fn hub_with(rules: TokenRules) -> TestHub {
    TestHub::start_with(|config| config.token = rules).await
}

/// 0 if the token opens a connection, else the error or the close code.
async fn verdict(hub: &TestHub, token: &str) -> u64 {
    let mut client = hub.open().await;
    client.send(&json!({"id": 1, "connect": {"token": token}})).await;
    match client.incoming().await {
        Incoming::Object(reply) => reply["error"]["code"].as_u64().unwrap_or(0),
        Incoming::Closed(code, _) => code.into(),
        Incoming::Cut => panic!("cut"),
    }
}

#[tokio::test]
async fn public_keys_of_the_configuration_open_connections() {
    let rules = TokenRules { rsa_public_key: RSA.1.into(), ecdsa_public_key: P256.1.into(), ..TokenRules::default() };
    let hub = hub_with(rules).await;
    for algorithm in [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS512] {
        assert_eq!(verdict(&hub, &of_user_7(RSA.0, algorithm, None)).await, 0, "{algorithm:?}");
    }
    assert_eq!(verdict(&hub, &of_user_7(P256.0, Algorithm::ES256, None)).await, 0);
    assert_eq!(verdict(&hub, &of_user_7(OTHER_RSA, Algorithm::RS256, None)).await, 3500, "another's key");
    assert_eq!(verdict(&hub, &of_user_7(P384.0, Algorithm::ES384, None)).await, 3500, "another curve");
    let expired = signed_by(RSA.0, Algorithm::RS256, None, &json!({"sub": "7", "exp": 1}));
    assert_eq!(verdict(&hub, &expired).await, 109);
    let hub = hub_with(TokenRules { ecdsa_public_key: P384.1.into(), ..TokenRules::default() }).await;
    assert_eq!(verdict(&hub, &of_user_7(P384.0, Algorithm::ES384, None)).await, 0);
}

#[tokio::test]
async fn a_public_key_is_no_secret_for_hmac_and_a_secret_is_none_beside_it_unless_it_is_configured() {
    let public = TokenRules { rsa_public_key: RSA.1.into(), ..TokenRules::default() };
    let claims = json!({"sub": "7", "exp": LATER});
    let hub = hub_with(public.clone()).await;
    assert_eq!(verdict(&hub, &sign(RSA.1, &claims)).await, 3500, "what everybody knows signs nothing");
    assert_eq!(verdict(&hub, &sign("", &claims)).await, 3500);
    let both = hub_with(TokenRules { hmac_secret: SECRET.into(), ..public }).await;
    assert_eq!(verdict(&both, &sign(SECRET, &claims)).await, 0);
    assert_eq!(verdict(&both, &of_user_7(RSA.0, Algorithm::RS256, None)).await, 0);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_at_the_start_by_its_place() {
    for (rules, place) in [
        (TokenRules { rsa_public_key: "nonsense".into(), ..TokenRules::default() }, "client.token.rsa_public_key"),
        (TokenRules { rsa_public_key: P256.1.into(), ..TokenRules::default() }, "client.token.rsa_public_key"),
        (TokenRules { ecdsa_public_key: P521.into(), ..TokenRules::default() }, "P-256 or P-384"),
        (TokenRules { jwks_public_endpoint: "/certs".into(), ..TokenRules::default() }, "jwks_public_endpoint"),
    ] {
        let config = HubConfig { token: rules, api_key: "key".into(), ..HubConfig::default() };
        let why = hub::Hub::start(config, Arc::new(hub::Alone)).map(|_| ()).unwrap_err().to_string();
        assert!(why.contains(place), "{why}");
    }
}

#[tokio::test]
async fn subscription_tokens_can_have_rules_of_their_own() {
    let hub = TestHub::start_with(|config| {
        TestHub::with_chat(config, |options| options.allow_subscribe_for_client = false);
        config.token.audience = Some(Expected::Exactly("hub".into()));
        config.subscription_token = Some(TokenRules { rsa_public_key: RSA.1.into(), ..TokenRules::default() });
    })
    .await;
    assert_eq!(verdict(&hub, &sign(SECRET, &json!({"sub": "7"}))).await, 3500, "for nobody in particular");
    let mut client = hub.open().await;
    let token = sign(SECRET, &json!({"sub": "7", "aud": ["hub"]}));
    assert!(client.ask(json!({"id": 1, "connect": {"token": token}})).await["connect"].is_object());
    let claims = json!({"sub": "7", "channel": "chat:1", "aud": "hub"});
    let subscribe = |id: u32, token: String| json!({"id": id, "subscribe": {"channel": "chat:1", "token": token}});
    assert_eq!(client.ask(subscribe(2, sign(SECRET, &claims))).await["error"]["code"], 103);
    let ticket = signed_by(RSA.0, Algorithm::RS256, None, &claims);
    assert!(client.ask(subscribe(3, ticket)).await["subscribe"].is_object());
}

/// Publishes keys, as long as it is told to, and counts who asks.
struct Publisher {
    endpoint: String,
    set: Arc<Mutex<Option<Value>>>,
    asked: Arc<AtomicUsize>,
}

impl Publisher {
    async fn start() -> Self {
        let (set, asked) = (Arc::new(Mutex::new(None::<Value>)), Arc::new(AtomicUsize::new(0)));
        let (shown, counted) = (Arc::clone(&set), Arc::clone(&asked));
        let answer = async move || {
            counted.fetch_add(1, Ordering::SeqCst);
            shown.lock().unwrap().clone().map(axum::Json).ok_or(axum::http::StatusCode::BAD_GATEWAY)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/certs", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/certs", get(answer))).await });
        Self { endpoint, set, asked }
    }

    fn publish(&self, keys: &[(&str, &str, Algorithm)]) {
        let keys: Vec<Value> = keys
            .iter()
            .map(|(kid, pem, algorithm)| {
                let mut key = Jwk::from_encoding_key(&private(pem), *algorithm).unwrap();
                key.common.key_id = Some((*kid).to_owned());
                serde_json::to_value(key).unwrap()
            })
            .collect();
        *self.set.lock().unwrap() = Some(json!({"keys": keys}));
    }

    async fn hub(&self) -> TestHub {
        hub_with(TokenRules { jwks_public_endpoint: self.endpoint.clone(), ..TokenRules::hmac(SECRET) }).await
    }
}

#[tokio::test]
async fn published_keys_open_connections_by_their_name() {
    let publisher = Publisher::start().await;
    publisher.publish(&[("a", RSA.0, Algorithm::RS256), ("b", P256.0, Algorithm::ES256)]);
    let hub = publisher.hub().await;
    let tokens = [of_user_7(RSA.0, Algorithm::RS256, Some("a")), of_user_7(P256.0, Algorithm::ES256, Some("b"))];
    for token in tokens.iter().cycle().take(20) {
        assert_eq!(verdict(&hub, token).await, 0);
    }
    assert_eq!(publisher.asked.load(Ordering::SeqCst), 1, "the set is kept");
    for (wrong, why) in [
        (of_user_7(RSA.0, Algorithm::RS256, Some("b")), "the key of another name, and of another kind"),
        (of_user_7(OTHER_RSA, Algorithm::RS256, Some("a")), "another's key"),
        (of_user_7(RSA.0, Algorithm::RS512, Some("a")), "the set says for which algorithm the key is"),
        (of_user_7(RSA.0, Algorithm::RS256, None), "no name"),
    ] {
        assert_eq!(verdict(&hub, &wrong).await, 3500, "{why}");
    }
    // Any name can be made up: it costs a fetch at most every few seconds.
    for made_up in 0..20 {
        assert_eq!(verdict(&hub, &of_user_7(RSA.0, Algorithm::RS256, Some(&format!("{made_up}")))).await, 3500);
    }
    assert!(publisher.asked.load(Ordering::SeqCst) <= 2, "{}", publisher.asked.load(Ordering::SeqCst));
}

#[tokio::test]
async fn while_keys_cannot_be_fetched_clients_are_told_to_come_back() {
    let publisher = Publisher::start().await;
    let hub = publisher.hub().await;
    let token = of_user_7(RSA.0, Algorithm::RS256, Some("a"));
    assert_eq!(verdict(&hub, &token).await, 100);
    publisher.publish(&[("a", RSA.0, Algorithm::RS256)]);
    let good =
        crate::eventually("the keys are fetched again", async || (verdict(&hub, &token).await == 0).then_some(()));
    good.await;
}

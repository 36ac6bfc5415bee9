//! Public keys that somebody else publishes (a JSON Web Key Set), by their `kid`.
//!
//! The set is fetched when a key is asked for, kept for an hour, and fetched again sooner for a `kid` that is not in it:
//! somebody has changed keys. But a token may name any `kid`, so there is one fetch at a time and at most one in
//! [`PAUSE`]. While the endpoint is away, what was fetched counts for another hour; a key that cannot be looked up is a
//! trouble that passes, and no verdict about the token.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, jwk::Jwk};
use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::Value;
use tokio::{runtime, sync::Mutex};
use tracing::{info, warn};

/// After so long the set is fetched again.
const FRESH: Duration = Duration::from_hours(1);
/// For so long it counts while it cannot be fetched.
const USABLE: Duration = Duration::from_hours(2);
/// Between two fetches.
const PAUSE: Duration = Duration::from_secs(5);
/// A fetch takes no longer.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 256 << 10;
const MOST_KEYS: usize = 100;

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// The set has none that fits.
    Unknown,
    /// Nobody can say at present.
    Unavailable,
}

pub(crate) struct KeySet {
    endpoint: String,
    client: reqwest::Client,
    /// The hub's own; connections are served by the shards'.
    runtime: runtime::Handle,
    known: RwLock<Known>,
    fetching: Mutex<()>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, Key>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
    /// The last fetch went well, so what is not there does not exist.
    current: bool,
}

#[derive(Clone)]
struct Key {
    key: DecodingKey,
    /// The only algorithm that it is for, where the set says so.
    algorithm: Option<Algorithm>,
}

/// What a set has of a key besides the key.
#[derive(Deserialize)]
struct Label {
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
}

impl KeySet {
    pub(crate) fn new(endpoint: &str, runtime: runtime::Handle) -> reqwest::Result<Self> {
        // reqwest is built with TLS but without a choice of cryptography. Somebody may have chosen before: that is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        Ok(Self {
            endpoint: endpoint.to_owned(),
            client,
            runtime,
            known: RwLock::default(),
            fetching: Mutex::default(),
        })
    }

    /// The key that signs with `algorithm` under this name.
    pub(crate) async fn find(&self, kid: &str, algorithm: Algorithm) -> Result<DecodingKey, NoKey> {
        let known = self.known.read().find(kid, FRESH);
        let found = match known {
            Some(found) => found,
            None => self.look_up(kid).await?,
        };
        let fits = found.key.family() == algorithm.family() && found.algorithm.is_none_or(|only| only == algorithm);
        if fits { Ok(found.key) } else { Err(NoKey::Unknown) }
    }

    async fn look_up(&self, kid: &str) -> Result<Key, NoKey> {
        let _alone = self.fetching.lock().await;
        // Whoever was before may have fetched it.
        if let Some(found) = self.known.read().find(kid, FRESH) {
            return Ok(found);
        }
        if self.known.read().tried.is_none_or(|tried| tried.elapsed() >= PAUSE) {
            self.fetch().await;
        }
        let known = self.known.read();
        match known.find(kid, USABLE) {
            Some(found) => Ok(found),
            None if known.current => Err(NoKey::Unknown),
            None => Err(NoKey::Unavailable),
        }
    }

    async fn fetch(&self) {
        let request = self.client.get(&self.endpoint);
        let fetched = self.runtime.spawn(async move { keys(&body(request).await?) }).await;
        let fetched = fetched.unwrap_or_else(|panicked| Err(panicked.to_string()));
        let mut known = self.known.write();
        known.tried = Some(Instant::now());
        known.current = fetched.is_ok();
        match fetched {
            Ok(keys) => {
                info!(keys = keys.len(), "{} has {} public keys for tokens", self.endpoint, keys.len());
                known.keys = keys;
                known.fetched = known.tried;
            }
            Err(why) => warn!("the public keys for tokens could not be fetched from {}: {why}", self.endpoint),
        }
    }
}

impl Known {
    fn find(&self, kid: &str, within: Duration) -> Option<Key> {
        self.fetched.filter(|fetched| fetched.elapsed() < within)?;
        self.keys.get(kid).cloned()
    }
}

async fn body(request: reqwest::RequestBuilder) -> Result<Vec<u8>, String> {
    let wrong = |error: reqwest::Error| error.without_url().to_string();
    let response = request.send().await.and_then(reqwest::Response::error_for_status).map_err(wrong)?;
    let (mut chunks, mut body) = (response.bytes_stream(), Vec::new());
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk.map_err(wrong)?);
        if body.len() > MOST_BYTES {
            return Err(format!("the answer has more than {MOST_BYTES} bytes"));
        }
    }
    Ok(body)
}

/// The keys that sign. One that cannot be used is nobody's loss but its own.
fn keys(body: &[u8]) -> Result<HashMap<String, Key>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(body).map_err(|error| format!("this is no set of keys: {error}"))?;
    if set.keys.len() > MOST_KEYS {
        return Err(format!("the set has more than {MOST_KEYS} keys"));
    }
    Ok(set.keys.into_iter().filter_map(usable).collect())
}

fn usable(key: Value) -> Option<(String, Key)> {
    let label = Label::deserialize(&key).ok()?;
    if label.purpose.is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let algorithm = label.alg.map(|name| name.parse().ok()).map_or(Some(None), |known| known.map(Some))?;
    let key = DecodingKey::from_jwk(&Jwk::deserialize(key).ok()?).ok()?;
    // A shared secret that is published is none.
    (key.family() != AlgorithmFamily::Hmac).then_some((label.kid?, Key { key, algorithm }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_sign_are_taken_from_a_set() {
        let ec = r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;
        let set = format!(
            r#"{{"keys":[
                {{"kid":"a",{ec}}}, {{"kid":"b","use":"sig","alg":"ES256",{ec}}},
                {{"kid":"c","use":"enc",{ec}}}, {{"kid":"d","alg":"ECDH-ES",{ec}}}, {{{ec}}},
                {{"kid":"e","kty":"oct","k":"c2VjcmV0"}}, {{"kid":"f","kty":"EC","crv":"secp256k1","x":"a","y":"b"}}, 7
            ]}}"#
        );
        let found = keys(set.as_bytes()).unwrap();
        let mut names: Vec<_> = found.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "b"]);
        assert_eq!((found["a"].algorithm, found["b"].algorithm), (None, Some(Algorithm::ES256)));
        assert!(keys(b"<html>").is_err() && keys(format!(r#"{{"keys":[{}7]}}"#, "7,".repeat(100)).as_bytes()).is_err());
    }
}

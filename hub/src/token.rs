//! Believes a token or refuses it. HMAC alone is accepted (HS256, HS384, HS512), always with the configured secret:
//! a token never chooses how it is checked.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use protocol::Overrides;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{frame::one_line, terms::Grant};

/// Why a token is refused. Each has its own answer in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is none.
    Missing,
    /// Not signed with our secret, or not a token of the wanted kind at all.
    Invalid,
    /// It was good once; the client fetches a new one.
    Expired,
}

/// What a connection token says.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    /// The user; empty for an anonymous one.
    pub(crate) user: String,
    /// Seconds since 1970 after which the connection must have been refreshed.
    pub(crate) expires: Option<u64>,
    /// JSON that others see of the connection.
    pub(crate) info: Option<Arc<str>>,
    /// Channels that the server subscribes the connection to.
    pub(crate) channels: BTreeMap<String, Grant>,
}

/// What a subscription token says.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) user: String,
    pub(crate) channel: String,
    /// The only connection that may use it, if it says so.
    pub(crate) client: Option<String>,
    pub(crate) grant: Grant,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConnectionClaims {
    sub: String,
    exp: Option<u64>,
    expire_at: Option<u64>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    channels: Vec<String>,
    subs: BTreeMap<String, GrantClaims>,
    /// A subscription token has a channel; it must not open a connection.
    channel: Option<serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SubscriptionClaims {
    sub: String,
    channel: String,
    client: String,
    exp: Option<u64>,
    expire_at: Option<u64>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    #[serde(rename = "override")]
    overrides: Overrides,
}

/// What a connection token says of one of its channels.
#[derive(Default, Deserialize)]
#[serde(default)]
struct GrantClaims {
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    #[serde(rename = "override")]
    overrides: Overrides,
}

pub(crate) struct TokenVerifier {
    key: DecodingKey,
    validation: Validation,
    /// A hub for development may have no secret: then it believes no token.
    has_secret: bool,
}

impl TokenVerifier {
    pub(crate) fn new(secret: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.algorithms = vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.validate_aud = false;
        validation.required_spec_claims.clear(); // a token without `exp` never expires
        Self { key: DecodingKey::from_secret(secret.as_bytes()), validation, has_secret: !secret.is_empty() }
    }

    /// A connection token.
    pub(crate) fn pass(&self, token: &str) -> Result<Pass, Refusal> {
        let claims: ConnectionClaims = self.claims(token)?;
        if claims.channel.is_some() {
            return Err(Refusal::Invalid);
        }
        let mut channels = BTreeMap::new();
        for (channel, claims) in claims.subs {
            let (info, data) =
                (json(claims.info.as_deref(), claims.b64info)?, json(claims.data.as_deref(), claims.b64data)?);
            channels.insert(channel, Grant { info, data, overrides: claims.overrides, ..Grant::default() });
        }
        if channels.is_empty() {
            channels.extend(claims.channels.into_iter().map(|channel| (channel, Grant::default())));
        }
        let expires = expiry(claims.exp, claims.expire_at);
        Ok(Pass { user: claims.sub, expires, info: json(claims.info.as_deref(), claims.b64info)?, channels })
    }

    /// A subscription token.
    pub(crate) fn ticket(&self, token: &str) -> Result<Ticket, Refusal> {
        let claims: SubscriptionClaims = self.claims(token)?;
        if claims.channel.is_empty() {
            return Err(Refusal::Invalid);
        }
        let grant = Grant {
            known: None,
            info: json(claims.info.as_deref(), claims.b64info)?,
            data: json(claims.data.as_deref(), claims.b64data)?,
            expires: expiry(claims.exp, claims.expire_at),
            overrides: claims.overrides,
        };
        let client = Some(claims.client).filter(|client| !client.is_empty());
        Ok(Ticket { user: claims.sub, channel: claims.channel, client, grant })
    }

    fn claims<T: DeserializeOwned>(&self, token: &str) -> Result<T, Refusal> {
        if token.is_empty() {
            return Err(Refusal::Missing);
        }
        if !self.has_secret {
            return Err(Refusal::Invalid);
        }
        let decoded = jsonwebtoken::decode::<Box<RawValue>>(token, &self.key, &self.validation).map_err(|error| {
            if matches!(error.kind(), ErrorKind::ExpiredSignature) { Refusal::Expired } else { Refusal::Invalid }
        })?;
        serde_json::from_str(decoded.claims.get()).map_err(|_| Refusal::Invalid)
    }
}

/// When what the token allows ends: with the token, unless it says otherwise; `expire_at` 0 is never.
fn expiry(exp: Option<u64>, expire_at: Option<u64>) -> Option<u64> {
    expire_at.or(exp).filter(|&at| at > 0)
}

/// JSON as it stands in the token, or in Base64.
fn json(plain: Option<&RawValue>, base64: Option<String>) -> Result<Option<Arc<str>>, Refusal> {
    let Some(base64) = base64 else { return Ok(plain.map(one_line)) };
    let bytes = STANDARD.decode(base64).map_err(|_| Refusal::Invalid)?;
    let json: Box<RawValue> = serde_json::from_slice(&bytes).map_err(|_| Refusal::Invalid)?;
    Ok(Some(one_line(&json)))
}

/// Time left until `exp`; zero when it has passed.
pub(crate) fn time_left(exp: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(exp).saturating_sub(now)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::{Value, json};

    use super::*;

    const LATER: u64 = 4_000_000_000;

    fn sign(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
    }

    fn signed(claims: &Value) -> String {
        sign(Algorithm::HS256, "secret", claims)
    }

    fn verdict(token: &str) -> Result<String, Refusal> {
        TokenVerifier::new("secret").pass(token).map(|pass| pass.user)
    }

    #[test]
    fn a_token_of_ours_names_its_user() {
        let claims = json!({"sub": "7", "exp": LATER});
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            assert_eq!(verdict(&sign(algorithm, "secret", &claims)), Ok("7".to_owned()));
        }
        assert_eq!(verdict(&signed(&json!({"sub": "7"}))), Ok("7".to_owned()));
        assert_eq!(verdict(&signed(&json!({"exp": LATER}))), Ok(String::new()), "nobody in particular");
    }

    #[test]
    fn forged_and_malformed_tokens_are_invalid() {
        let claims = json!({"sub": "7", "exp": LATER});
        assert_eq!(verdict(&sign(Algorithm::HS256, "other", &claims)), Err(Refusal::Invalid));
        assert_eq!(verdict("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiI3In0."), Err(Refusal::Invalid));
        assert_eq!(verdict("garbage"), Err(Refusal::Invalid));
        assert_eq!(verdict(&signed(&json!({"sub": "7", "channel": "room:1"}))), Err(Refusal::Invalid));
        assert_eq!(verdict(&signed(&json!({"sub": "7", "b64info": "%"}))), Err(Refusal::Invalid));
        let without_secret = TokenVerifier::new("");
        assert_eq!(without_secret.pass(&sign(Algorithm::HS256, "", &claims)).unwrap_err(), Refusal::Invalid);
    }

    #[test]
    fn expired_and_missing_tokens_have_answers_of_their_own() {
        assert_eq!(verdict(&signed(&json!({"sub": "7", "exp": 1}))), Err(Refusal::Expired));
        assert_eq!(verdict(&sign(Algorithm::HS256, "other", &json!({"sub": "7", "exp": 1}))), Err(Refusal::Invalid));
        assert_eq!(verdict(&signed(&json!({"sub": "7", "nbf": LATER}))), Err(Refusal::Invalid));
        assert_eq!(verdict(""), Err(Refusal::Missing));
    }

    #[test]
    fn a_pass_tells_info_channels_and_when_it_ends() {
        let pass = |claims: Value| TokenVerifier::new("secret").pass(&signed(&claims)).unwrap();
        let told = pass(json!({"sub": "7", "exp": LATER, "info": {"a": 1}, "channels": ["news"]}));
        assert_eq!((told.expires, told.info.as_deref()), (Some(LATER), Some(r#"{"a":1}"#)));
        assert!(told.channels.contains_key("news"));
        let told = pass(
            json!({"expire_at": 0, "exp": LATER, "b64info": "WzFd", "channels": ["a"], "subs": {"b": {"data": 2}}}),
        );
        assert_eq!((told.expires, told.info.as_deref()), (None, Some("[1]")));
        assert_eq!(told.channels.keys().collect::<Vec<_>>(), ["b"], "subs count where both are there");
        assert_eq!(told.channels["b"].data.as_deref(), Some("2"));
    }

    #[test]
    fn a_ticket_is_for_a_channel() {
        let ticket = |claims: Value| TokenVerifier::new("secret").ticket(&signed(&claims));
        let told = ticket(json!({"sub": "7", "channel": "a", "client": "", "expire_at": 9, "exp": LATER})).unwrap();
        assert_eq!((told.user.as_str(), told.channel.as_str(), told.client), ("7", "a", None));
        assert_eq!(told.grant.expires, Some(9));
        assert_eq!(ticket(json!({"sub": "7"})).unwrap_err(), Refusal::Invalid);
    }
}

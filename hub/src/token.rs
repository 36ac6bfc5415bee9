//! Believes a token or refuses it. Its algorithm decides which of the configured keys has to have signed it, and each key
//! is for one family of algorithms: a token never chooses how it is checked.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{AlgorithmFamily, DecodingKey, Header, Validation, errors::ErrorKind};
use protocol::Overrides;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::runtime;

use crate::{
    HubError,
    config::{HubConfig, TokenRules},
    frame::one_line,
    jwks::{KeySet, NoKey},
    terms::Grant,
};

/// Why a token is refused. Each has its own answer in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is none.
    Missing,
    /// Not signed with our secret, or not a token of the wanted kind at all.
    Invalid,
    /// It was good once; the client fetches a new one.
    Expired,
    /// The public keys cannot be had at present, so nobody knows.
    Unknown,
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

/// For whom and by whom a token is.
#[derive(Deserialize)]
struct Parties {
    #[serde(default)]
    aud: Audience,
    #[serde(default)]
    iss: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

/// Connection and subscription tokens, each by its own rules where there are two.
pub(crate) struct Tokens {
    connection: TokenVerifier,
    subscription: Option<TokenVerifier>,
}

impl Tokens {
    pub(crate) fn new(config: &HubConfig, runtime: &runtime::Handle) -> Result<Self, HubError> {
        let verifier = |rules| TokenVerifier::new(rules, runtime);
        let subscription = config.subscription_token.as_ref().map(verifier).transpose()?;
        Ok(Self { connection: verifier(&config.token)?, subscription })
    }

    /// A connection token.
    pub(crate) async fn pass(&self, token: &str) -> Result<Pass, Refusal> {
        self.connection.pass(token).await
    }

    /// A subscription token.
    pub(crate) async fn ticket(&self, token: &str) -> Result<Ticket, Refusal> {
        self.subscription.as_ref().unwrap_or(&self.connection).ticket(token).await
    }
}

struct TokenVerifier {
    rules: TokenRules,
    hmac: Option<DecodingKey>,
    previous_hmac: Option<DecodingKey>,
    rsa: Option<DecodingKey>,
    ecdsa: Option<DecodingKey>,
    published: Option<KeySet>,
}

impl TokenVerifier {
    fn new(rules: &TokenRules, runtime: &runtime::Handle) -> Result<Self, HubError> {
        let secret = |text: &str| (!text.is_empty()).then(|| DecodingKey::from_secret(text.as_bytes()));
        let endpoint = &rules.jwks_public_endpoint;
        let published = (!endpoint.is_empty()).then(|| KeySet::new(endpoint, runtime.clone())).transpose();
        Ok(Self {
            hmac: secret(&rules.hmac_secret),
            previous_hmac: secret(&rules.previous_hmac_secret),
            rsa: rules.rsa_key().map_err(HubError::Config)?,
            ecdsa: rules.ecdsa_key().map_err(HubError::Config)?,
            published: published.map_err(|error| HubError::Config(format!("no HTTP client for keys: {error}")))?,
            rules: rules.clone(),
        })
    }

    async fn pass(&self, token: &str) -> Result<Pass, Refusal> {
        let claims: ConnectionClaims = self.claims(token).await?;
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

    async fn ticket(&self, token: &str) -> Result<Ticket, Refusal> {
        let claims: SubscriptionClaims = self.claims(token).await?;
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

    async fn claims<T: DeserializeOwned>(&self, token: &str) -> Result<T, Refusal> {
        if token.is_empty() {
            return Err(Refusal::Missing);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Invalid)?;
        let claims = match header.alg.family() {
            AlgorithmFamily::Hmac => self.signed_with_a_secret(token, &header)?,
            family => {
                let key = match (&self.published, family) {
                    (Some(published), _) => Some(published_key(published, &header).await?),
                    (None, AlgorithmFamily::Rsa) => self.rsa.clone(),
                    (None, AlgorithmFamily::Ec) => self.ecdsa.clone(),
                    (None, _) => None,
                };
                signed_with(&key.ok_or(Refusal::Invalid)?, token, &header)?
            }
        };
        self.check_parties(&claims)?;
        serde_json::from_str(claims.get()).map_err(|_| Refusal::Invalid)
    }

    /// The present secret, or the one before it for as long as that counts.
    fn signed_with_a_secret(&self, token: &str, header: &Header) -> Result<Box<RawValue>, Refusal> {
        let verdict = signed_with(self.hmac.as_ref().ok_or(Refusal::Invalid)?, token, header);
        match &self.previous_hmac {
            Some(previous) if matches!(verdict, Err(Refusal::Invalid)) && self.previous_counts() => {
                signed_with(previous, token, header)
            }
            _ => verdict,
        }
    }

    fn previous_counts(&self) -> bool {
        let until = self.rules.previous_hmac_secret_until;
        until == 0 || !time_left(until).is_zero()
    }

    fn check_parties(&self, claims: &RawValue) -> Result<(), Refusal> {
        let TokenRules { audience, issuer, .. } = &self.rules;
        if audience.is_none() && issuer.is_none() {
            return Ok(());
        }
        let parties: Parties = serde_json::from_str(claims.get()).map_err(|_| Refusal::Invalid)?;
        let audiences = match parties.aud {
            Audience::One(audience) => vec![audience],
            Audience::Several(audiences) => audiences,
        };
        let for_us = audience.as_ref().is_none_or(|wanted| audiences.iter().any(|audience| wanted.fits(audience)));
        let by_them = issuer.as_ref().is_none_or(|wanted| wanted.fits(&parties.iss));
        if for_us && by_them { Ok(()) } else { Err(Refusal::Invalid) }
    }
}

async fn published_key(published: &KeySet, header: &Header) -> Result<DecodingKey, Refusal> {
    let kid = header.kid.as_deref().ok_or(Refusal::Invalid)?;
    published.find(kid, header.alg).await.map_err(|why| match why {
        NoKey::Unknown => Refusal::Invalid,
        NoKey::Unavailable => Refusal::Unknown,
    })
}

/// The claims of a token that this key has signed and that counts now.
fn signed_with(key: &DecodingKey, token: &str, header: &Header) -> Result<Box<RawValue>, Refusal> {
    let mut validation = Validation::new(header.alg);
    validation.leeway = 0;
    validation.validate_nbf = true;
    validation.validate_aud = false; // by our own rules
    validation.required_spec_claims.clear(); // a token without `exp` never expires
    let decoded = jsonwebtoken::decode::<Box<RawValue>>(token, key, &validation).map_err(|error| {
        if matches!(error.kind(), ErrorKind::ExpiredSignature) { Refusal::Expired } else { Refusal::Invalid }
    })?;
    Ok(decoded.claims)
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
    use futures_util::FutureExt;
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Expected;

    const LATER: u64 = 4_000_000_000;

    fn sign(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
    }

    fn signed(claims: &Value) -> String {
        sign(Algorithm::HS256, "secret", claims)
    }

    /// Nothing has to be fetched, so no verdict is waited for.
    fn by(rules: &TokenRules, token: &str) -> Result<Pass, Refusal> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        TokenVerifier::new(rules, runtime.handle()).unwrap().pass(token).now_or_never().unwrap()
    }

    fn verdict(token: &str) -> Result<String, Refusal> {
        by(&TokenRules::hmac("secret"), token).map(|pass| pass.user)
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
        let unsigned = sign(Algorithm::HS256, "", &claims);
        assert_eq!(by(&TokenRules::default(), &unsigned).unwrap_err(), Refusal::Invalid, "no secret is no key");
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
        let pass = |claims: Value| by(&TokenRules::hmac("secret"), &signed(&claims)).unwrap();
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
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let verifier = TokenVerifier::new(&TokenRules::hmac("secret"), runtime.handle()).unwrap();
        let ticket = |claims: Value| verifier.ticket(&signed(&claims)).now_or_never().unwrap();
        let told = ticket(json!({"sub": "7", "channel": "a", "client": "", "expire_at": 9, "exp": LATER})).unwrap();
        assert_eq!((told.user.as_str(), told.channel.as_str(), told.client), ("7", "a", None));
        assert_eq!(told.grant.expires, Some(9));
        assert_eq!(ticket(json!({"sub": "7"})).unwrap_err(), Refusal::Invalid);
    }

    #[test]
    fn a_secret_can_be_changed_while_tokens_of_the_one_before_are_about() {
        let rules = |until| TokenRules {
            previous_hmac_secret: "before".into(),
            previous_hmac_secret_until: until,
            ..TokenRules::hmac("secret")
        };
        let old = sign(Algorithm::HS256, "before", &json!({"sub": "7"}));
        assert_eq!(by(&rules(0), &old).map(|pass| pass.user), Ok("7".to_owned()));
        assert_eq!(by(&rules(LATER), &old).map(|pass| pass.user), Ok("7".to_owned()));
        assert_eq!(by(&rules(1), &old).unwrap_err(), Refusal::Invalid, "its time is over");
        let expired = sign(Algorithm::HS256, "before", &json!({"sub": "7", "exp": 1}));
        assert_eq!(by(&rules(0), &expired).unwrap_err(), Refusal::Expired);
        assert_eq!(by(&rules(0), &signed(&json!({"sub": "7"}))).map(|pass| pass.user), Ok("7".to_owned()));
    }

    #[test]
    fn a_token_is_for_us_and_by_whom_we_expect() {
        let matching = |pattern: &str| Some(Expected::Matching(regex::Regex::new(pattern).unwrap()));
        let rules = |audience, issuer| TokenRules { audience, issuer, ..TokenRules::hmac("secret") };
        let passes = |rules: &TokenRules, claims: Value| by(rules, &signed(&claims)).is_ok();
        let exact = rules(Some(Expected::Exactly("us".into())), Some(Expected::Exactly("sso".into())));
        assert!(
            passes(&exact, json!({"aud": "us", "iss": "sso"}))
                && passes(&exact, json!({"aud": ["b", "us"], "iss": "sso"}))
        );
        for claims in [
            json!({"aud": "us"}),
            json!({"iss": "sso"}),
            json!({"aud": "usa", "iss": "sso"}),
            json!({"aud": [], "iss": "sso"}),
            json!({"aud": 7, "iss": "sso"}),
            json!({"aud": "us", "iss": "sso2"}),
        ] {
            assert!(!passes(&exact, claims.clone()), "{claims}");
        }
        let pattern = rules(matching("^us-"), matching("sso$"));
        assert!(passes(&pattern, json!({"aud": "us-east", "iss": "the sso"})));
        assert!(!passes(&pattern, json!({"aud": "not us-east", "iss": "the sso"})));
        assert!(!passes(&pattern, json!({"aud": "us-east", "iss": "sso of another"})));
    }
}

//! Believes a connection token or refuses it. HS256 alone is accepted: a token never chooses how it is checked.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use protocol::token::Claims;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Why a token is refused. Each has its own answer in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No token, or one without a user: anonymous connections are not allowed.
    Missing,
    /// Not signed with our secret, or not a connection token at all.
    Invalid,
    /// It was good once; the client fetches a new one.
    Expired,
}

/// A subscription token has a channel; it must not open a connection.
#[derive(Deserialize)]
struct ForbiddenClaims {
    channel: Option<serde::de::IgnoredAny>,
}

pub(crate) struct TokenVerifier {
    key: DecodingKey,
    validation: Validation,
}

impl TokenVerifier {
    pub(crate) fn new(secret: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.validate_aud = false;
        validation.required_spec_claims.clear(); // a token without `exp` never expires
        Self { key: DecodingKey::from_secret(secret.as_bytes()), validation }
    }

    pub(crate) fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        if token.is_empty() {
            return Err(Refusal::Missing);
        }
        let decoded = jsonwebtoken::decode::<Box<RawValue>>(token, &self.key, &self.validation).map_err(|error| {
            if matches!(error.kind(), ErrorKind::ExpiredSignature) { Refusal::Expired } else { Refusal::Invalid }
        })?;
        let text = decoded.claims.get();
        let claims: Claims = serde_json::from_str(text).map_err(|_| Refusal::Invalid)?;
        let forbidden: ForbiddenClaims = serde_json::from_str(text).map_err(|_| Refusal::Invalid)?;
        match forbidden.channel {
            Some(_) => Err(Refusal::Invalid),
            None if claims.sub.is_empty() => Err(Refusal::Missing),
            None => Ok(claims),
        }
    }
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

    fn sign(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
    }

    fn verdict(token: &str) -> Result<String, Refusal> {
        TokenVerifier::new("secret").verify(token).map(|claims| claims.sub)
    }

    #[test]
    fn a_token_of_ours_names_its_user() {
        let token = sign(Algorithm::HS256, "secret", &json!({"sub": "7", "exp": 4_000_000_000_u64}));
        assert_eq!(verdict(&token), Ok("7".to_owned()));
        assert_eq!(verdict(&sign(Algorithm::HS256, "secret", &json!({"sub": "7"}))), Ok("7".to_owned()));
    }

    #[test]
    fn forged_and_malformed_tokens_are_invalid() {
        let claims = json!({"sub": "7", "exp": 4_000_000_000_u64});
        assert_eq!(verdict(&sign(Algorithm::HS256, "other", &claims)), Err(Refusal::Invalid));
        assert_eq!(verdict(&sign(Algorithm::HS512, "secret", &claims)), Err(Refusal::Invalid));
        assert_eq!(verdict("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiI3In0."), Err(Refusal::Invalid));
        assert_eq!(verdict("garbage"), Err(Refusal::Invalid));
        let subscription = json!({"sub": "7", "channel": "room:1"});
        assert_eq!(verdict(&sign(Algorithm::HS256, "secret", &subscription)), Err(Refusal::Invalid));
    }

    #[test]
    fn expired_and_missing_tokens_have_answers_of_their_own() {
        assert_eq!(verdict(&sign(Algorithm::HS256, "secret", &json!({"sub": "7", "exp": 1}))), Err(Refusal::Expired));
        assert_eq!(verdict(&sign(Algorithm::HS256, "other", &json!({"sub": "7", "exp": 1}))), Err(Refusal::Invalid));
        assert_eq!(verdict(""), Err(Refusal::Missing));
        assert_eq!(
            verdict(&sign(Algorithm::HS256, "secret", &json!({"exp": 4_000_000_000_u64}))),
            Err(Refusal::Missing)
        );
    }
}

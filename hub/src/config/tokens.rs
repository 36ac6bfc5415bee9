//! What a token has to be to be believed: signed by which key, for whom, by whom.

use jsonwebtoken::DecodingKey;
use regex::Regex;

/// By which keys tokens may be signed, and what they have to say of themselves.
///
/// Which key counts is decided by the family of the token's algorithm, and each key belongs to one family: a token never
/// chooses how it is checked.
#[derive(Clone, Debug, Default)]
pub struct TokenRules {
    /// The shared secret of HS256, HS384 and HS512. Empty: no such token is believed.
    pub hmac_secret: String,
    /// The secret before the present one: tokens that were signed with it are still believed. Empty: there is none.
    pub previous_hmac_secret: String,
    /// Seconds since 1970 up to which the previous secret counts. 0: for ever.
    pub previous_hmac_secret_until: u64,
    /// The public key, in PEM, of RS256, RS384, RS512, PS256, PS384 and PS512. Empty: no such token is believed.
    pub rsa_public_key: String,
    /// The public key, in PEM, of ES256 (P-256) or ES384 (P-384). Empty: no such token is believed.
    pub ecdsa_public_key: String,
    /// Where the public keys are (a JSON Web Key Set), in place of the two above. Empty: nowhere.
    pub jwks_public_endpoint: String,
    /// One of the token's `aud` has to be this.
    pub audience: Option<Expected>,
    /// The token's `iss` has to be this.
    pub issuer: Option<Expected>,
}

/// What a claim has to be.
#[derive(Clone, Debug)]
pub enum Expected {
    /// This text.
    Exactly(String),
    /// A text in which this is found. Whoever wants the whole text matched says `^…$`.
    Matching(Regex),
}

impl Expected {
    pub(crate) fn fits(&self, claim: &str) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == claim,
            Self::Matching(pattern) => pattern.is_match(claim),
        }
    }
}

impl TokenRules {
    /// Rules with a shared secret and nothing else.
    pub fn hmac(secret: impl Into<String>) -> Self {
        Self { hmac_secret: secret.into(), ..Self::default() }
    }

    /// True if some token could be believed.
    pub(crate) fn has_key(&self) -> bool {
        [&self.hmac_secret, &self.rsa_public_key, &self.ecdsa_public_key, &self.jwks_public_endpoint]
            .iter()
            .any(|key| !key.is_empty())
    }

    /// What could never work: the name of the option, and why.
    pub(crate) fn contradictions(&self) -> impl Iterator<Item = (&'static str, String)> {
        let rsa = self.rsa_key().err().map(|why| ("rsa_public_key", why));
        let ecdsa = self.ecdsa_key().err().map(|why| ("ecdsa_public_key", why));
        let endpoint = endpoint_trouble(&self.jwks_public_endpoint).map(|why| ("jwks_public_endpoint", why.to_owned()));
        [rsa, ecdsa, endpoint].into_iter().flatten()
    }

    pub(crate) fn rsa_key(&self) -> Result<Option<DecodingKey>, String> {
        if self.rsa_public_key.is_empty() {
            return Ok(None);
        }
        let key = DecodingKey::from_rsa_pem(self.rsa_public_key.as_bytes());
        key.map(Some).map_err(|_| "this is no RSA public key in PEM (-----BEGIN PUBLIC KEY-----)".to_owned())
    }

    pub(crate) fn ecdsa_key(&self) -> Result<Option<DecodingKey>, String> {
        if self.ecdsa_public_key.is_empty() {
            return Ok(None);
        }
        let key = DecodingKey::from_ec_pem(self.ecdsa_public_key.as_bytes())
            .map_err(|_| "this is no ECDSA public key in PEM (-----BEGIN PUBLIC KEY-----)")?;
        // An uncompressed point: its first byte, and two coordinates.
        match key.try_get_as_bytes().map(<[u8]>::len) {
            Ok(65 | 97) => Ok(Some(key)),
            _ => Err("the curve must be P-256 or P-384; ES512 (P-521) is not there".to_owned()),
        }
    }
}

fn endpoint_trouble(endpoint: &str) -> Option<&'static str> {
    if endpoint.is_empty() {
        None
    } else if endpoint.contains("{{") {
        Some("addresses with {{…}}, made of a token's own claims, are not there: name one endpoint")
    } else if reqwest::Url::parse(endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
    {
        None
    } else {
        Some("this is no address such as https://sso.example.org/certs")
    }
}

//! The configuration file in the structure and words of Centrifugo 6, as far as this hub knows them.
//!
//! What it does not know is refused, with its place: an option that does nothing would be worse than none. Nothing that is
//! wrong hides the rest: [`ConfigFile::examine`] finds all of it at once.

use std::{collections::BTreeSet, path::Path, time::Duration};

use regex::Regex;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::{Segment, Track};

use super::{ChannelOptions, Expected, HubConfig, PersonalChannel, TokenRules, document, time};
use crate::HubError;

/// What a file says. What it leaves out stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConfigFile {
    client: Client,
    channel: Channels,
    http_api: Api,
    websocket: WebSocket,
    http_stream: Switch,
    sse: Switch,
    prometheus: Served,
    health: Served,
    node: Node,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Client {
    token: Token,
    subscription_token: Token,
    subscribe_to_user_personal_channel: Personal,
    insecure: Option<bool>,
    allow_anonymous_connect_without_token: Option<bool>,
    allowed_origins: Option<Vec<String>>,
    #[serde(deserialize_with = "time::deserialize_some")]
    ping_interval: Option<Duration>,
    #[serde(deserialize_with = "time::deserialize_some")]
    pong_timeout: Option<Duration>,
    #[serde(deserialize_with = "time::deserialize_some")]
    stale_close_delay: Option<Duration>,
    #[serde(deserialize_with = "time::deserialize_some")]
    expired_close_delay: Option<Duration>,
    #[serde(deserialize_with = "time::deserialize_some")]
    expired_sub_close_delay: Option<Duration>,
    channel_limit: Option<usize>,
    queue_max_size: Option<usize>,
    connection_limit: Option<usize>,
    connection_rate_limit: Option<u32>,
    user_connection_limit: Option<usize>,
    history_max_publication_limit: Option<usize>,
    recovery_max_publication_limit: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Token {
    /// For subscription tokens alone: without it they are believed as connection tokens are.
    enabled: Option<bool>,
    hmac_secret_key: Option<String>,
    hmac_previous_secret_key: Option<String>,
    hmac_previous_secret_key_valid_until: Option<u64>,
    rsa_public_key: Option<String>,
    ecdsa_public_key: Option<String>,
    jwks_public_endpoint: Option<String>,
    audience: Option<String>,
    #[serde(deserialize_with = "pattern")]
    audience_regex: Option<Regex>,
    issuer: Option<String>,
    #[serde(deserialize_with = "pattern")]
    issuer_regex: Option<Regex>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Personal {
    enabled: bool,
    #[serde(rename = "personal_channel_namespace")]
    namespace: String,
    single_connection: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Api {
    key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WebSocket {
    message_size_limit: Option<usize>,
    compression: Option<bool>,
    compression_min_size: Option<usize>,
    compression_level: Option<u8>,
}

/// Something that is there unless it is switched off.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Switch {
    enabled: Option<bool>,
}

/// Something that is always there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Served {
    #[serde(rename = "enabled", deserialize_with = "always")]
    _enabled: (),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Node {
    name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Channels {
    max_length: Option<usize>,
    without_namespace: Option<ChannelOptions>,
    /// Read one by one: the options of a namespace stand beside its name.
    namespaces: Vec<serde_json::Map<String, Value>>,
    #[serde(skip)]
    named: Vec<(String, ChannelOptions)>,
}

/// A place of a document that the hub cannot do anything with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Such as `client.token.hmac_secret_key` or `channel.namespaces[0].history_ttl`.
    pub(super) place: String,
    /// What is wrong with the value; nothing if the option is unknown.
    pub(super) why: Option<String>,
}

impl ConfigFile {
    /// Reads a file: JSON, YAML or TOML by its name.
    pub fn read(path: &Path) -> Result<Self, HubError> {
        let refused = |why: String| HubError::Config(format!("{}: {why}", path.display()));
        let (file, troubles) = Self::examine(document::read(path).map_err(refused)?);
        let Some(first) = troubles.first() else { return Ok(file) };
        let why = first.why.as_deref().unwrap_or("this hub has no such option");
        let more = if troubles.len() > 1 { format!(" (and {} more)", troubles.len() - 1) } else { String::new() };
        Err(refused(format!("{}: {why}{more}; `roomcast hub check {}` says all", first.place, path.display())))
    }

    /// What a document says, and every place that it has to be without to be read.
    pub(super) fn examine(document: Value) -> (Self, Vec<Trouble>) {
        let mut troubles = Vec::new();
        let mut file: Self = read_leniently(document, "", &mut troubles);
        if file.client.token.enabled.is_some() {
            troubles.push(Trouble { place: "client.token.enabled".to_owned(), why: None });
        }
        for (number, mut fields) in std::mem::take(&mut file.channel.namespaces).into_iter().enumerate() {
            let place = format!("channel.namespaces[{number}]");
            let name = fields.remove("name").and_then(|name| name.as_str().map(str::to_owned));
            let options = read_leniently(Value::Object(fields), &place, &mut troubles);
            match name {
                Some(name) => file.channel.named.push((name, options)),
                None => troubles.push(Trouble { place, why: Some("the namespace has no name".to_owned()) }),
            }
        }
        let named: Vec<_> = file.channel.named.iter().map(|(name, _)| name.clone()).collect();
        let mut seen = BTreeSet::new();
        for name in named.iter().filter(|name| !seen.insert(*name)) {
            let why = Some(format!("the namespace \"{name}\" is there twice"));
            troubles.push(Trouble { place: "channel.namespaces".to_owned(), why });
        }
        (file, troubles)
    }

    /// Changes what the file says something about. Whether the whole makes sense is checked at the start of the hub.
    pub fn apply(self, config: &mut HubConfig) {
        let Self { client, channel, http_api, websocket, http_stream, sse, node, .. } = self;
        set(&mut config.node_name, node.name);
        client.token.apply(&mut config.token);
        config.subscription_token = client.subscription_token.rules();
        set(&mut config.api_key, http_api.key);
        set(&mut config.insecure, client.insecure);
        set(&mut config.anonymous, client.allow_anonymous_connect_without_token);
        set(&mut config.allowed_origins, client.allowed_origins);
        set(&mut config.ping_interval, client.ping_interval);
        set(&mut config.pong_timeout, client.pong_timeout);
        set(&mut config.stale_after, client.stale_close_delay);
        set(&mut config.expired_close_delay, client.expired_close_delay);
        set(&mut config.expired_sub_close_delay, client.expired_sub_close_delay);
        set(&mut config.channel_limit, client.channel_limit);
        set(&mut config.queue_limit_bytes, client.queue_max_size);
        set(&mut config.connection_limit, client.connection_limit);
        set(&mut config.connection_rate_limit, client.connection_rate_limit);
        set(&mut config.user_connection_limit, client.user_connection_limit);
        set(&mut config.history_limit, client.history_max_publication_limit);
        set(&mut config.recovery_limit, client.recovery_max_publication_limit);
        set(&mut config.max_frame_bytes, websocket.message_size_limit);
        set(&mut config.compression, websocket.compression);
        set(&mut config.compression_min_size, websocket.compression_min_size);
        set(&mut config.compression_level, websocket.compression_level);
        set(&mut config.http_stream, http_stream.enabled);
        set(&mut config.sse, sse.enabled);
        set(&mut config.channel_max_length, channel.max_length);
        if let Some(options) = channel.without_namespace {
            config.without_namespace = Some(options);
        }
        config.namespaces.extend(channel.named);
        config.personal_channel = client.subscribe_to_user_personal_channel.channel();
        if config.personal_channel.as_ref().is_some_and(|personal| personal.namespace.is_empty()) {
            // Centrifugo always has such channels, with nothing allowed in them.
            config.without_namespace.get_or_insert_default();
        }
    }
}

impl Token {
    fn apply(self, rules: &mut TokenRules) {
        let signed_otherwise = [&self.rsa_public_key, &self.ecdsa_public_key, &self.jwks_public_endpoint]
            .into_iter()
            .any(|key| key.as_ref().is_some_and(|key| !key.is_empty()));
        let published = self.jwks_public_endpoint.as_ref().is_some_and(|endpoint| !endpoint.is_empty());
        if published || signed_otherwise && self.hmac_secret_key.is_none() {
            // Who names other keys does not want tokens signed with a secret that stands nowhere in the file; and beside
            // an endpoint no other key counts, as in Centrifugo.
            rules.hmac_secret.clear();
        }
        if !published {
            set(&mut rules.hmac_secret, self.hmac_secret_key);
            set(&mut rules.previous_hmac_secret, self.hmac_previous_secret_key);
            set(&mut rules.previous_hmac_secret_until, self.hmac_previous_secret_key_valid_until);
            set(&mut rules.rsa_public_key, self.rsa_public_key);
            set(&mut rules.ecdsa_public_key, self.ecdsa_public_key);
        }
        set(&mut rules.jwks_public_endpoint, self.jwks_public_endpoint);
        rules.audience = expected(self.audience, self.audience_regex).or(rules.audience.take());
        rules.issuer = expected(self.issuer, self.issuer_regex).or(rules.issuer.take());
    }

    /// Rules of their own, if they are switched on.
    fn rules(self) -> Option<TokenRules> {
        let mut rules = TokenRules::default();
        let enabled = self.enabled == Some(true);
        self.apply(&mut rules);
        enabled.then_some(rules)
    }
}

impl Personal {
    fn channel(self) -> Option<PersonalChannel> {
        let channel = PersonalChannel { namespace: self.namespace, single_connection: self.single_connection };
        self.enabled.then_some(channel)
    }
}

/// Centrifugo refuses both together. The text alone is at least as strict.
fn expected(exactly: Option<String>, matching: Option<Regex>) -> Option<Expected> {
    exactly.filter(|text| !text.is_empty()).map(Expected::Exactly).or(matching.map(Expected::Matching))
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Regex>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    Regex::new(&text).map(Some).map_err(serde::de::Error::custom)
}

fn always<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    if bool::deserialize(deserializer)? {
        return Ok(());
    }
    Err(serde::de::Error::custom("it is always there: keep it from others in front of the hub, and leave this out"))
}

/// Reads a part of a document. What is wrong is taken out and noted until the rest can be read.
fn read_leniently<T: DeserializeOwned + Default>(mut part: Value, prefix: &str, troubles: &mut Vec<Trouble>) -> T {
    loop {
        let (mut track, mut unknown) = (Track::new(), Vec::new());
        let tracked = serde_path_to_error::Deserializer::new(part.clone(), &mut track);
        let error = match serde_ignored::deserialize(tracked, |path| unknown.push(path.to_string())) {
            Ok(read) => {
                troubles.extend(unknown.into_iter().map(|path| Trouble { place: place(prefix, &path), why: None }));
                return read;
            }
            Err::<T, _>(error) => error,
        };
        let path = track.path();
        let keys: Vec<Key> = path.iter().filter_map(Key::of).collect();
        let inside: String = keys.iter().map(Key::written).collect();
        troubles.push(Trouble { place: place(prefix, inside.trim_start_matches('.')), why: Some(error.to_string()) });
        if !remove(&mut part, &keys) {
            return T::default();
        }
    }
}

/// A step into a document.
enum Key {
    Field(String),
    Element(usize),
}

impl Key {
    fn of(segment: &Segment) -> Option<Self> {
        match segment {
            Segment::Map { key } => Some(Self::Field(key.clone())),
            Segment::Seq { index } => Some(Self::Element(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Field(name) => format!(".{name}"),
            Self::Element(number) => format!("[{number}]"),
        }
    }
}

/// Takes a value out of a document; false if there is no such place.
fn remove(document: &mut Value, keys: &[Key]) -> bool {
    let Some((last, way)) = keys.split_last() else { return false };
    let holder = way.iter().try_fold(document, |value, key| match key {
        Key::Field(name) => value.get_mut(name),
        Key::Element(number) => value.get_mut(number),
    });
    match (holder, last) {
        (Some(Value::Object(fields)), Key::Field(name)) => fields.remove(name).is_some(),
        (Some(Value::Array(elements)), Key::Element(number)) if *number < elements.len() => {
            elements.remove(*number);
            true
        }
        _ => false,
    }
}

/// A path as `serde_ignored` writes it (`a.?.b` where something may be absent), in our words.
fn place(prefix: &str, path: &str) -> String {
    let inside = path.split('.').filter(|step| *step != "?" && !step.is_empty()).collect::<Vec<_>>().join(".");
    match (prefix, inside.as_str()) {
        ("", "") => "the whole file".to_owned(),
        ("", inside) => inside.to_owned(),
        (prefix, "") => prefix.to_owned(),
        (prefix, inside) => format!("{prefix}.{inside}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn troubles(document: Value) -> Vec<String> {
        let (_, troubles) = ConfigFile::examine(document);
        troubles.into_iter().map(|trouble| format!("{}: {}", trouble.place, trouble.why.unwrap_or_default())).collect()
    }

    fn config(document: Value) -> Result<HubConfig, String> {
        let mut config = HubConfig { token: TokenRules::hmac("t"), api_key: "k".into(), ..HubConfig::default() };
        let (file, troubles) = ConfigFile::examine(document);
        assert_eq!(troubles, [], "of the file itself");
        file.apply(&mut config);
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn a_file_of_centrifugos_shape_is_understood() {
        let config = config(json!({
            "client": {
                "token": {"hmac_secret_key": "s"}, "allowed_origins": ["https://example.org"], "ping_interval": "10s",
                "subscribe_to_user_personal_channel": {"enabled": true, "personal_channel_namespace": "chat"}
            },
            "http_api": {"key": "a"},
            "websocket": {"compression": true, "compression_min_size": 256, "compression_level": 6},
            "http_stream": {"enabled": true}, "sse": {"enabled": false},
            "prometheus": {"enabled": true}, "health": {"enabled": true},
            "channel": {
                "without_namespace": {"allow_subscribe_for_client": true},
                "namespaces": [
                    {"name": "chat", "presence": true, "history_size": 300, "history_ttl": "10m", "force_recovery": true}
                ]
            }
        }))
        .unwrap();
        assert_eq!((config.token.hmac_secret.as_str(), config.api_key.as_str()), ("s", "a"));
        assert_eq!(config.ping_interval, Duration::from_secs(10));
        assert_eq!((config.compression, config.compression_min_size, config.compression_level), (true, 256, 6));
        assert_eq!((config.http_stream, config.sse), (true, false));
        assert_eq!(config.personal_channel.unwrap().namespace, "chat");
        assert!(config.without_namespace.unwrap().allow_subscribe_for_client);
        assert!(config.namespaces["chat"].presence && config.namespaces.contains_key("room"));
        assert_eq!(config.namespaces["chat"].history_ttl, Duration::from_mins(10));
    }

    #[test]
    fn everything_that_is_unknown_or_wrong_is_found_at_once_with_its_place() {
        let found = troubles(json!({
            "client": {"pingg": 1, "ping_interval": "soon", "channel_limit": -1, "token": {"audience_regex": "("}},
            "channel": {
                "without_namespace": {"histori": 1, "history_ttl": 5},
                "namespaces": [{"name": "ab", "history_size": "x", "nope": {"a": 1}}, {"presence": true}, {"name": "ab"}]
            },
            "prometheus": {"enabled": false}, "admin": {"enabled": true}
        }));
        let places: BTreeSet<&str> = found.iter().filter_map(|line| line.split(": ").next()).collect();
        let wanted = [
            "client.pingg",
            "client.ping_interval",
            "client.channel_limit",
            "client.token.audience_regex",
            "channel.without_namespace.histori",
            "channel.without_namespace.history_ttl",
            "channel.namespaces[0].history_size",
            "channel.namespaces[0].nope",
            "channel.namespaces[1]",
            "channel.namespaces",
            "prometheus.enabled",
            "admin",
        ];
        assert_eq!(places, BTreeSet::from(wanted), "{found:#?}");
        assert_eq!(found.len(), wanted.len(), "{found:#?}");
        assert_eq!(troubles(json!("x")).len(), 1, "the whole file");
    }

    #[test]
    fn what_cannot_work_together_is_refused_at_the_start() {
        for (document, place) in [
            (json!({"channel": {"namespaces": [{"name": "ab", "history_size": 1}]}}), "history_ttl"),
            (json!({"channel": {"namespaces": [{"name": "a:b"}]}}), "a:b"),
            (json!({"client": {"token": {"hmac_secret_key": ""}}}), "client.token"),
            (json!({"client": {"token": {"rsa_public_key": "x"}}}), "client.token.rsa_public_key"),
            (json!({"client": {"token": {"jwks_public_endpoint": "https://{{tenant}}/"}}}), "jwks_public_endpoint"),
            (json!({"client": {"subscription_token": {"enabled": true}}}), "client.subscription_token"),
            (
                json!({"client": {"subscribe_to_user_personal_channel": {"enabled": true, "personal_channel_namespace": "x"}}}),
                "personal_channel_namespace",
            ),
            (
                json!({"client": {"subscribe_to_user_personal_channel": {"enabled": true, "single_connection": true}}}),
                "presence",
            ),
            (json!({"websocket": {"compression_level": 0}}), "compression_level"),
        ] {
            let why = config(document).map(|_| ()).unwrap_err();
            assert!(why.contains(place), "{why}");
        }
    }

    #[test]
    fn keys_of_the_file_take_the_place_of_a_secret_that_is_not_in_it() {
        let rules = |token: Value| {
            let mut config = HubConfig { token: TokenRules::hmac("not of the file"), ..HubConfig::default() };
            ConfigFile::examine(json!({"client": {"token": token}})).0.apply(&mut config);
            config.token
        };
        assert_eq!(rules(json!({"audience": "us"})).hmac_secret, "not of the file");
        assert_eq!(rules(json!({"rsa_public_key": "k"})).hmac_secret, "");
        assert_eq!(rules(json!({"rsa_public_key": "k", "hmac_secret_key": "s"})).hmac_secret, "s");
        let published =
            rules(json!({"jwks_public_endpoint": "http://k", "hmac_secret_key": "s", "rsa_public_key": "k"}));
        assert_eq!((published.hmac_secret.as_str(), published.rsa_public_key.as_str()), ("", ""));
    }
}

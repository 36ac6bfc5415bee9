//! The configuration file: JSON in the structure and words of Centrifugo 6, as far as this hub knows them.
//!
//! What it does not know is refused, with its place: an option that does nothing would be worse than none.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use serde::Deserialize;

use super::{ChannelOptions, HubConfig, time};
use crate::HubError;

/// What a file says. What it leaves out stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigFile {
    client: Client,
    channel: Channels,
    http_api: Api,
    websocket: WebSocket,
    node: Node,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Client {
    token: Token,
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
#[serde(default, deny_unknown_fields)]
struct Token {
    hmac_secret_key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Api {
    key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WebSocket {
    message_size_limit: Option<usize>,
    compression: Option<bool>,
    compression_min_size: Option<usize>,
    compression_level: Option<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Node {
    name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Channels {
    max_length: Option<usize>,
    without_namespace: Option<ChannelOptions>,
    namespaces: Vec<Named>,
}

/// The options of a namespace stand beside its name.
#[derive(Debug)]
struct Named {
    name: String,
    options: ChannelOptions,
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let mut fields = serde_json::Map::deserialize(deserializer)?;
        let name = fields.remove("name").and_then(|name| name.as_str().map(str::to_owned));
        let name = name.ok_or_else(|| D::Error::missing_field("name"))?;
        let options = ChannelOptions::deserialize(serde_json::Value::Object(fields))
            .map_err(|error| D::Error::custom(format_args!("namespace \"{name}\": {error}")))?;
        Ok(Self { name, options })
    }
}

impl ConfigFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, HubError> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string());
        text.and_then(|text| Self::parse(&text)).map_err(|why| HubError::Config(format!("{}: {why}", path.display())))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut json = serde_json::Deserializer::from_str(text);
        let file =
            serde_path_to_error::deserialize(&mut json).map_err(|error| match error.path().to_string().as_str() {
                "." => error.inner().to_string(),
                path => format!("{path}: {}", error.inner()),
            })?;
        json.end().map_err(|error| error.to_string())?;
        Ok(file)
    }

    /// Changes what the file says something about. Whether the whole makes sense is checked at the start of the hub.
    pub fn apply(self, config: &mut HubConfig) -> Result<(), HubError> {
        let Self { client, channel, http_api, websocket, node } = self;
        set(&mut config.node_name, node.name);
        set(&mut config.token_secret, client.token.hmac_secret_key);
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
        set(&mut config.channel_max_length, channel.max_length);
        if let Some(options) = channel.without_namespace {
            config.without_namespace = Some(options);
        }
        let mut named = BTreeSet::new();
        for Named { name, options } in channel.namespaces {
            if !named.insert(name.clone()) {
                return Err(HubError::Config(format!("the namespace \"{name}\" is there twice")));
            }
            config.namespaces.insert(name, options);
        }
        Ok(())
    }
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<HubConfig, String> {
        let mut config = HubConfig { token_secret: "t".into(), api_key: "k".into(), ..HubConfig::default() };
        ConfigFile::parse(text)?.apply(&mut config).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn a_file_of_centrifugos_shape_is_understood() {
        let config = config(
            r#"{
                "client": {"token": {"hmac_secret_key": "s"}, "allowed_origins": ["https://example.org"], "ping_interval": "10s"},
                "http_api": {"key": "a"},
                "websocket": {"compression": true, "compression_min_size": 256, "compression_level": 6},
                "channel": {
                    "without_namespace": {"allow_subscribe_for_client": true},
                    "namespaces": [
                        {"name": "chat", "presence": true, "history_size": 300, "history_ttl": "10m", "force_recovery": true}
                    ]
                }
            }"#,
        )
        .unwrap();
        assert_eq!((config.token_secret.as_str(), config.api_key.as_str()), ("s", "a"));
        assert_eq!(config.ping_interval, Duration::from_secs(10));
        assert_eq!((config.compression, config.compression_min_size, config.compression_level), (true, 256, 6));
        assert!(config.without_namespace.unwrap().allow_subscribe_for_client);
        assert!(config.namespaces["chat"].presence && config.namespaces.contains_key("room"));
        assert_eq!(config.namespaces["chat"].history_ttl, Duration::from_mins(10));
    }

    #[test]
    fn what_is_unknown_or_wrong_is_refused_with_its_place() {
        for (text, place) in [
            (r#"{"client": {"pingg": 1}}"#, "client.pingg"),
            (r#"{"client": {"ping_interval": "soon"}}"#, "client.ping_interval"),
            (r#"{"channel": {"namespaces": [{"name": "a", "histori": 1}]}}"#, "channel.namespaces[0]"),
            (r#"{"channel": {"namespaces": [{"name": "ab", "history_size": 1}]}}"#, "history_ttl"),
            (r#"{"channel": {"namespaces": [{"name": "ab"}, {"name": "ab"}]}}"#, "twice"),
            (r#"{"channel": {"namespaces": [{"name": "a:b"}]}}"#, "a:b"),
            (r#"{"client": {"token": {"hmac_secret_key": ""}}}"#, "secret"),
            (r#"{"websocket": {"compression_level": 0}}"#, "compression level"),
            (r#"{"client": {}} x"#, "trailing"),
        ] {
            let why = config(text).map(|_| ()).unwrap_err();
            assert!(why.contains(place), "{why}");
        }
    }
}

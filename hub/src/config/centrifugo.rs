//! The options of Centrifugo 6 that this hub has not, and what it means to be without each.

use serde_json::Value;

/// What it means that an option is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Here {
    /// Nobody will miss it.
    Harmless(&'static str),
    /// Something will be different.
    Missing(&'static str),
}

/// When is an option harmless to leave out?
#[derive(Clone, Copy)]
enum When {
    Always(&'static str),
    Never(&'static str),
    /// With this value, given as text; else the second sentence is true.
    Is(&'static str, &'static str, &'static str),
    /// Unless it is switched on with `enabled`.
    Off(&'static str),
}
use When::{Always, Is, Never, Off};

const OUTSIDE: &str = "say --listen (or ROOMCAST_LISTEN)";
const NO_PROXY: &str =
    "the hub asks nobody but its own backend (--backend): use tokens, or the options of the channels";
const ONE_WAY: &str =
    "there are no unidirectional transports: clients use a Centrifuge SDK, over WebSocket, HTTP-streaming or SSE";
const NO_REDIS: &str =
    "several hubs are joined by Kafka (--engine kafka://…); Redis, NATS and PostgreSQL cannot join them";
const MEMORY: &str = "history and presence are in the memory of the hub anyway";
const ONE_LIMIT: &str = "websocket.message_size_limit is the limit of all transports";
const STREAMS: &str = "only streams of publications are there: no map and no shared-poll subscriptions";
const LEFT_TO_KERNEL: &str =
    "there are no such buffers: the hub writes to the socket at once, and queue_max_size bounds the rest";

/// By the option's name; `namespace.` stands for each namespace and for `without_namespace`. The longest name counts.
const OPTIONS: &[(&str, When)] = &[
    ("http_server.address", Never(OUTSIDE)),
    ("http_server.port", Never(OUTSIDE)),
    (
        "http_server.internal_address",
        Never("everything is on one address: keep /api, /metrics and /readyz from others in front of the hub"),
    ),
    (
        "http_server.internal_port",
        Never("everything is on one port: keep /api, /metrics and /readyz from others in front of the hub"),
    ),
    ("http_server", Never("the address is set with --listen, and TLS is done in front of the hub, such as by nginx")),
    ("log", Never("say --log, --log-format (or ROOMCAST_LOG…); the log goes to standard error")),
    ("engine", Is("memory", MEMORY, NO_REDIS)),
    ("broker", Is("memory", MEMORY, NO_REDIS)),
    ("presence_manager", Is("memory", MEMORY, NO_REDIS)),
    ("map_broker", Is("memory", "there are no map subscriptions", STREAMS)),
    ("controller", Never(NO_REDIS)),
    ("shared_poll", Never(STREAMS)),
    ("client.proxy", Off(NO_PROXY)),
    (
        "client.token.user_id_claim",
        Is("sub", "it is sub anyway", "the user is always `sub`: have the tokens say it there"),
    ),
    ("client.token.insecure_skip_jwks_endpoint_safety_check", Always("an endpoint is never made of what a token says")),
    (
        "client.subscription_token.user_id_claim",
        Is("sub", "it is sub anyway", "the user is always `sub`: have the tokens say it there"),
    ),
    (
        "client.subscription_token.insecure_skip_jwks_endpoint_safety_check",
        Always("an endpoint is never made of what a token says"),
    ),
    (
        "client.disallow_anonymous_connection_tokens",
        Is(
            "true",
            "a token without `sub` opens no connection, unless allow_anonymous_connect_without_token lets everybody in",
            "a token without `sub` opens no connection, unless allow_anonymous_connect_without_token lets everybody in",
        ),
    ),
    ("client.presence_update_interval", Always("presence needs no refreshing: it follows the connections")),
    (
        "client.concurrency",
        Always(
            "the commands of a connection are carried out one after the other, and no channel waits for another's backend",
        ),
    ),
    ("client.channel_position_check_delay", Always("a hole is seen with the next publication, not by a check")),
    ("client.channel_position_max_time_lag", Always("a hole is seen with the next publication, not by a check")),
    (
        "client.connect_include_server_time",
        Is("false", "it is not told anyway", "the reply to connect does not tell the server's time"),
    ),
    (
        "client.insecure_skip_token_signature_verify",
        Is(
            "false",
            "signatures are always checked",
            "signatures are always checked; for development there is client.insecure",
        ),
    ),
    ("client.user_id_http_header", Never("the user comes from a token, never from a header")),
    ("client.connect_code_to_unidirectional_disconnect", Always("there are no unidirectional transports")),
    ("channel.proxy", Never(NO_PROXY)),
    (
        "channel.history_meta_ttl",
        Always(
            "positions are kept for as long as the hub knows the channel; a client that comes later is told recovered: false",
        ),
    ),
    ("channel.publication_data_format", Is("json", "publications are JSON anyway", "publications are JSON, whichever")),
    ("channel.private_prefix", Is("$", "it is $ anyway", "it is always $")),
    ("channel.namespace_boundary", Is(":", "it is : anyway", "it is always :")),
    ("channel.user_boundary", Is("#", "it is # anyway", "it is always #")),
    ("channel.user_separator", Is(",", "it is , anyway", "it is always ,")),
    (
        "namespace.history_meta_ttl",
        Always(
            "positions are kept for as long as the hub knows the channel; a client that comes later is told recovered: false",
        ),
    ),
    (
        "namespace.force_recovery_mode",
        Is("stream", "it is stream anyway", "clients recover all that they missed, not only the newest publication"),
    ),
    (
        "namespace.auto_cache_recover",
        Is("false", "it is off anyway", "who subscribes is not given the newest publication: read the history"),
    ),
    ("namespace.allowed_delta_types", Always("publications are sent whole, which SDKs take as well")),
    ("namespace.delta_publish", Always("publications are sent whole, which SDKs take as well")),
    (
        "namespace.allow_tags_filter",
        Is("false", "it is off anyway", "a subscription with a filter by tags is refused (107)"),
    ),
    (
        "namespace.publication_data_format",
        Is("json", "publications are JSON anyway", "publications are JSON, whichever"),
    ),
    (
        "namespace.channel_regex",
        Never("every name is a channel: what may be subscribed to is not narrowed down by a pattern"),
    ),
    ("namespace.channel_shutdown_delay", Always("a channel that nobody hears is forgotten some minutes later")),
    ("namespace.subscribe_proxy_name", Always("the only one who is asked is the backend (--backend)")),
    ("namespace.subscribe_stream_proxy_enabled", Is("false", "it is off anyway", NO_PROXY)),
    ("namespace.subscribe_stream_proxy_bidirectional", Is("false", "it is off anyway", NO_PROXY)),
    ("namespace.subscribe_stream_proxy_name", Never(NO_PROXY)),
    (
        "namespace.publish_proxy_enabled",
        Is(
            "false",
            "it is off anyway",
            "publications of clients are not shown to a backend: clients post to the backend, and that publishes",
        ),
    ),
    (
        "namespace.publish_proxy_name",
        Never("publications of clients are not shown to a backend: clients post to the backend, and that publishes"),
    ),
    (
        "namespace.sub_refresh_proxy_enabled",
        Is("false", "it is off anyway", "subscriptions are refreshed with a token, by the client"),
    ),
    ("namespace.sub_refresh_proxy_name", Never("subscriptions are refreshed with a token, by the client")),
    ("namespace.subscription_type", Is("stream", "it is stream anyway", STREAMS)),
    ("namespace.map", Never(STREAMS)),
    ("namespace.map_clients_presence_channel_prefix", Never(STREAMS)),
    ("namespace.map_users_presence_channel_prefix", Never(STREAMS)),
    ("namespace.shared_poll", Never(STREAMS)),
    ("namespace.allow_remove_for_client", Never(STREAMS)),
    ("namespace.allow_remove_for_subscriber", Never(STREAMS)),
    ("namespace.allow_remove_for_anonymous", Never(STREAMS)),
    ("rpc", Never("rpc is answered with 108: clients call the backend over HTTP")),
    ("proxies", Never(NO_PROXY)),
    (
        "http_api.disabled",
        Is("false", "it is there anyway", "the server API is always there: keep /api from others in front of the hub"),
    ),
    ("http_api.handler_prefix", Is("/api", "it is /api anyway", "the server API is at /api")),
    (
        "http_api.error_mode",
        Is(
            "",
            "it is in the body anyway",
            "who wants errors as HTTP statuses asks with X-Centrifugo-Error-Mode: transport",
        ),
    ),
    ("http_api.external", Always("there is one port: the server API is on it, behind its key")),
    (
        "http_api.insecure",
        Is(
            "false",
            "the key is always asked for",
            "the key is always asked for; for development there is client.insecure",
        ),
    ),
    ("grpc_api", Off("the server API speaks HTTP alone")),
    (
        "consumers",
        Never(
            "the hub consumes nothing itself: `roomcast relay` reads the outbox, PostgreSQL's log and Debezium's topics, and publishes to it",
        ),
    ),
    ("websocket.disabled", Is("false", "it is there anyway", "WebSocket is always there")),
    (
        "websocket.handler_prefix",
        Is(
            "/connection/websocket",
            "it is there anyway",
            "it is always at /connection/websocket: rewrite the path in front of the hub",
        ),
    ),
    ("websocket.read_buffer_size", Always(LEFT_TO_KERNEL)),
    ("websocket.write_buffer_size", Always(LEFT_TO_KERNEL)),
    ("websocket.use_write_buffer_pool", Always(LEFT_TO_KERNEL)),
    (
        "websocket.write_timeout",
        Always("a client that does not read is closed by client.queue_max_size and by the missing pong"),
    ),
    ("websocket.decompressed_message_size_limit", Always("message_size_limit holds for what was compressed as well")),
    (
        "http_stream.handler_prefix",
        Is(
            "/connection/http_stream",
            "it is there anyway",
            "it is always at /connection/http_stream: rewrite the path in front of the hub",
        ),
    ),
    ("http_stream.max_request_body_size", Is("65536", ONE_LIMIT, ONE_LIMIT)),
    (
        "sse.handler_prefix",
        Is(
            "/connection/sse",
            "it is there anyway",
            "it is always at /connection/sse: rewrite the path in front of the hub",
        ),
    ),
    ("sse.max_request_body_size", Is("65536", ONE_LIMIT, ONE_LIMIT)),
    (
        "emulation.handler_prefix",
        Is("/emulation", "it is there anyway", "it is always at /emulation: rewrite the path in front of the hub"),
    ),
    ("emulation", Never("it is always at /emulation, with websocket.message_size_limit as its limit")),
    ("webtransport", Off("there is no WebTransport: SDKs fall back to WebSocket where they are told its address")),
    ("uni_websocket", Off(ONE_WAY)),
    ("uni_http_stream", Off(ONE_WAY)),
    ("uni_sse", Off(ONE_WAY)),
    ("uni_grpc", Off(ONE_WAY)),
    ("init", Off("there is no address that says how to connect: SDKs are told the hub's")),
    (
        "admin",
        Off("there are no pages for administrators: POST /api/info, /api/channels and /metrics tell what they show"),
    ),
    ("prometheus.handler_prefix", Is("/metrics", "it is there anyway", "it is always at /metrics")),
    ("prometheus", Always("the metrics are the hub's own, under other names (hub_…, roomcast_…)")),
    ("health.handler_prefix", Is("/health", "it is there anyway", "it is always at /health; /readyz says more")),
    ("swagger", Off("the server API has no page that describes it: it is Centrifugo's")),
    ("debug", Off("there are no profiles to fetch: perf works on the release build")),
    ("opentelemetry", Off("nothing is traced to OpenTelemetry")),
    ("graphite", Off("metrics are fetched from /metrics, not sent")),
    ("usage_stats", Always("nobody is told how the hub is used")),
    ("node.info_metrics_aggregate_interval", Always("info has no metrics: /metrics has them")),
    ("shutdown", Always("clients are closed with 3001 at once, and come back elsewhere")),
    ("pid_file", Never("there is none: ask the supervisor (systemd, Docker) for the process")),
    ("enable_unreleased_features", Always("there are none")),
];

const UNKNOWN: &str = "neither this hub nor the open Centrifugo 6 knows it: is it misspelt, or of Centrifugo PRO?";
const OLDER: &str = "the open Centrifugo 6 does not know it either: is it misspelt, or of Centrifugo PRO, or of version 5 or \
    older? For that Centrifugo's documentation has a converter (\"Migrating to v6\")";

/// What it means that this option is not here.
pub(super) fn option(place: &str, value: &Value) -> Here {
    let name = named(place);
    let mut known = name.as_str();
    loop {
        if let Some((_, when)) = OPTIONS.iter().find(|(option, _)| *option == known) {
            return when.with(value);
        }
        match known.rsplit_once('.') {
            Some((above, _)) => known = above,
            None if place.contains('.') => return Here::Missing(UNKNOWN),
            None => return Here::Missing(OLDER),
        }
    }
}

/// `channel.namespaces[3].presence` and `channel.without_namespace.presence` are `namespace.presence`.
fn named(place: &str) -> String {
    let of_one = place.strip_prefix("channel.namespaces[").and_then(|rest| rest.split_once("].")).map(|(_, name)| name);
    match of_one.or_else(|| place.strip_prefix("channel.without_namespace.")) {
        Some(option) => format!("namespace.{option}"),
        None => place.to_owned(),
    }
}

impl When {
    fn with(self, value: &Value) -> Here {
        match self {
            Always(why) => Here::Harmless(why),
            Is(usual, harmless, _) if is(value, usual) => Here::Harmless(harmless),
            Off(_) if !is_switched_on(value) => Here::Harmless("it is not switched on"),
            Never(why) | Is(_, _, why) | Off(why) => Here::Missing(why),
        }
    }
}

/// `engine` and its like are sections with a type, which need not be named.
fn is(value: &Value, usual: &str) -> bool {
    match value {
        Value::Object(section) => section.get("type").is_none_or(|named| is(named, usual)),
        Value::String(text) => text == usual,
        other => format!("{other}") == usual,
    }
}

/// Something in it is enabled.
fn is_switched_on(section: &Value) -> bool {
    let enabled = section.get("enabled") == Some(&Value::Bool(true));
    enabled || section.as_object().is_some_and(|fields| fields.values().any(is_switched_on))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn missing(place: &str, value: &Value) -> bool {
        matches!(option(place, value), Here::Missing(_))
    }

    #[test]
    fn the_value_decides_whether_an_option_can_be_left_out() {
        assert!(!missing("engine", &json!({"type": "memory"})) && missing("engine", &json!({"type": "redis"})));
        assert!(!missing("uni_sse", &json!({"enabled": false})) && missing("uni_sse", &json!({"enabled": true})));
        assert!(!missing("channel.namespaces[2].force_recovery_mode", &json!("stream")));
        assert!(missing("channel.without_namespace.force_recovery_mode", &json!("cache")));
        assert!(missing("client.proxy", &json!({"connect": {"enabled": true}})));
        assert!(!missing("client.proxy", &json!({"connect": {"endpoint": "http://x"}})));
        assert!(!missing("engine", &json!({})) && missing("http_server.tls.cert_pem", &json!("x")));
        assert_eq!(option("client.pingg", &json!(1)), Here::Missing(UNKNOWN));
        assert_eq!(option("channel.namespaces[0].histori", &json!(1)), Here::Missing(UNKNOWN));
        assert_eq!(option("token_hmac_secret_key", &json!("x")), Here::Missing(OLDER));
    }
}

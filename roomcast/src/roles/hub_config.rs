//! A hub's configuration: the chat's own channels, then the flags, then the file, then the secrets that were given.

use std::path::Path;

use anyhow::{Context, bail};
use hub::{ChannelOptions, ConfigFile, HubConfig};

use crate::config::{Hub, Secret, Secrets, Sockets, check_secrets};

/// Rooms of one person: all of them are heard over one socket. Centrifugo's default of 128 is for chosen channels.
const ROOMS_PER_CONNECTION: usize = 5_000;

/// The hub of the chat, whose channels the file can add to.
pub(super) fn of_the_chat(sockets: &Sockets, secrets: &Secrets) -> anyhow::Result<HubConfig> {
    Ok(of_the_chat_with(read(sockets)?, sockets, secrets))
}

/// A hub that knows no backend: its channels are those of the file, and no others.
pub(super) fn alone(sockets: &Sockets, secrets: &Secrets) -> anyhow::Result<HubConfig> {
    let config = alone_with(read(sockets)?, sockets, secrets);
    if channels_that_ask(&config).next().is_some() {
        bail!("{NEEDS_BACKEND}: name it with --backend");
    }
    Ok(config)
}

/// What [`channels_that_ask`] need.
pub(super) const NEEDS_BACKEND: &str =
    "ask_authority (subscribe_proxy_enabled) and counted_by_truth need a backend that is asked";

/// The namespaces of channels about which somebody has to be asked; the empty name is that of channels without one.
pub(super) fn channels_that_ask(config: &HubConfig) -> impl Iterator<Item = &str> {
    let asks = |options: &ChannelOptions| options.ask_authority || options.counted_by_truth;
    let without = config.without_namespace.iter().map(|options| ("", options));
    let named = config.namespaces.iter().map(|(name, options)| (name.as_str(), options));
    without.chain(named).filter(move |(_, options)| asks(options)).map(|(name, _)| name)
}

/// See [`of_the_chat`].
pub(super) fn of_the_chat_with(file: ConfigFile, sockets: &Sockets, secrets: &Secrets) -> HubConfig {
    let mut config = with_flags(HubConfig { channel_limit: ROOMS_PER_CONNECTION, ..HubConfig::default() }, sockets);
    for options in config.namespaces.values_mut().filter(|options| options.history_size > 0) {
        options.history_size = sockets.history_size;
    }
    let mut config = with_file_and_secrets(config, file, secrets);
    if config.token.hmac_secret.is_empty() {
        // The backend signs the tokens of its pages with it, whoever else signs tokens.
        secrets.token_secret.expose().clone_into(&mut config.token.hmac_secret);
    }
    config
}

/// See [`alone`].
pub(super) fn alone_with(file: ConfigFile, sockets: &Sockets, secrets: &Secrets) -> HubConfig {
    let mut config = with_flags(HubConfig::default(), sockets);
    config.namespaces.clear();
    with_file_and_secrets(config, file, secrets)
}

/// Refuses to be reachable from elsewhere with what everyone knows, or with no protection at all.
pub(super) fn check(config: &HubConfig, settings: &Hub) -> anyhow::Result<()> {
    let listen = settings.listen;
    if !config.insecure {
        let file = settings.sockets.hub_config.as_deref();
        let named = secrets_of(config, &settings.secrets).map(|(place, secret)| (named_in(place, file), secret));
        let named: Vec<_> = named.collect();
        return check_secrets(listen, &named.iter().map(|(name, secret)| (name.as_str(), *secret)).collect::<Vec<_>>());
    }
    if !listen.ip().is_loopback() {
        bail!("an insecure hub lets everybody do everything: it listens on a loopback address only, not on {listen}");
    }
    Ok(())
}

/// Where each secret of a hub comes from, and the secret.
pub(super) fn secrets_of<'a>(config: &'a HubConfig, given: &'a Secrets) -> impl Iterator<Item = (Place, &'a str)> {
    let or = |given: &Secret, secret: &str, flag, place| {
        if given.expose() == secret { Place::Given(flag) } else { Place::File(place) }
    };
    let (token, key) = (&*config.token.hmac_secret, &*config.api_key);
    let own = config.subscription_token.as_ref();
    let of_file = [
        ("client.token.hmac_previous_secret_key", Some(&*config.token.previous_hmac_secret)),
        ("client.subscription_token.hmac_secret_key", own.map(|rules| &*rules.hmac_secret)),
        ("client.subscription_token.hmac_previous_secret_key", own.map(|rules| &*rules.previous_hmac_secret)),
    ];
    let of_file = of_file.into_iter().filter_map(|(place, secret)| Some((Place::File(place), secret?)));
    let first = [
        (or(&given.token_secret, token, "ROOMCAST_TOKEN_SECRET", "client.token.hmac_secret_key"), token),
        (or(&given.api_key, key, "ROOMCAST_API_KEY", "http_api.key"), key),
    ];
    // An empty one is no secret but none at all: whether the hub can do without is the hub's own question.
    first.into_iter().chain(of_file).filter(|(_, secret)| !secret.is_empty())
}

/// Where a secret stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a flag or variable, or nowhere: then it is the demo's.
    Given(&'static str),
    /// In the configuration file.
    File(&'static str),
}

fn named_in(place: Place, file: Option<&Path>) -> String {
    match place {
        Place::Given(name) => name.to_owned(),
        Place::File(name) => format!("{name} in {}", file.unwrap_or(Path::new("the file")).display()),
    }
}

fn read(sockets: &Sockets) -> anyhow::Result<ConfigFile> {
    let Some(path) = &sockets.hub_config else { return Ok(ConfigFile::default()) };
    ConfigFile::read(path).context("reading the hub's configuration")
}

fn with_flags(mut config: HubConfig, sockets: &Sockets) -> HubConfig {
    config.ping_interval = sockets.ping_interval;
    config.queue_limit_bytes = sockets.queue_limit;
    config.allowed_origins.clone_from(&sockets.allowed_origins);
    if let Some(shards) = sockets.hub_shards {
        config.shards = usize::from(shards);
    }
    config
}

fn with_file_and_secrets(mut config: HubConfig, file: ConfigFile, secrets: &Secrets) -> HubConfig {
    secrets.token_secret.expose().clone_into(&mut config.token.hmac_secret);
    secrets.api_key.expose().clone_into(&mut config.api_key);
    file.apply(&mut config);
    give(&mut config.token.hmac_secret, &secrets.token_secret);
    give(&mut config.api_key, &secrets.api_key);
    config
}

/// What was said by flag or variable counts more than what the file says.
fn give(value: &mut String, secret: &Secret) {
    if !secret.is_the_demos() {
        secret.expose().clone_into(value);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::Parser;

    use super::*;
    use crate::config::{Cli, Role};

    fn settings(args: &[&str]) -> Hub {
        match Cli::try_parse_from([&["roomcast", "hub"], args].concat()).unwrap().role() {
            Role::Hub(hub) => hub,
            other => panic!("not the hub: {other:?}"),
        }
    }

    fn alone_by(file: &str, args: &[&str]) -> anyhow::Result<HubConfig> {
        let mut path = tempfile::NamedTempFile::new().unwrap();
        path.write_all(file.as_bytes()).unwrap();
        let file = Path::to_str(path.path()).unwrap();
        let settings = settings(&[&["--hub-config", file], args].concat());
        alone(&settings.sockets, &settings.secrets)
    }

    fn alone_with_text(file: &str) -> HubConfig {
        alone_by(file, &[]).unwrap()
    }

    fn settings_without_file(settings: &Hub) -> Hub {
        let mut settings = settings.clone();
        settings.sockets.hub_config = None;
        settings
    }

    #[test]
    fn a_hub_alone_has_the_channels_of_its_file_and_the_chats_hub_has_both() {
        let file = r#"{"channel": {"namespaces": [{"name": "news"}]}}"#;
        assert_eq!(alone_by(file, &[]).unwrap().namespaces.into_keys().collect::<Vec<_>>(), ["news"]);
        let chat = settings(&["--backend", "http://127.0.0.1:8000"]);
        let chat = of_the_chat(&chat.sockets, &chat.secrets).unwrap();
        assert!(chat.namespaces["room"].counted_by_truth && chat.namespaces["room"].history_size == 300);
    }

    #[test]
    fn what_needs_a_backend_is_refused_without_one() {
        let file = r#"{"channel": {"without_namespace": {"ask_authority": true}}}"#;
        let why = alone_by(file, &[]).unwrap_err().to_string();
        assert!(why.contains("--backend"), "{why}");
        let why = format!("{:#}", alone_by("{", &[]).unwrap_err());
        assert!(why.contains("hub's configuration") && why.contains("EOF"), "{why}");
    }

    #[test]
    fn a_secret_that_was_given_counts_more_than_the_files() {
        let file = r#"{"client": {"token": {"hmac_secret_key": "of the file's own"}}, "http_api": {"key": "also of the file"}}"#;
        let config = alone_by(file, &["--api-key", "given by the flag"]).unwrap();
        assert_eq!((&*config.token.hmac_secret, &*config.api_key), ("of the file's own", "given by the flag"));
    }

    #[test]
    fn others_reach_no_hub_without_protection() {
        let (here, everywhere) = (settings(&[]), settings(&["--listen", "0.0.0.0:1"]));
        let mut config = alone_by("{}", &[]).unwrap();
        assert!(check(&config, &here).is_ok() && check(&config, &everywhere).is_err(), "everyone knows its secrets");
        config.insecure = true;
        assert!(check(&config, &here).is_ok() && check(&config, &everywhere).is_err());
    }

    #[test]
    fn a_secret_that_is_too_short_is_named_by_where_it_stands() {
        let short = r#"{"client": {"token": {"hmac_secret_key": "short"}}}"#;
        let mut settings = settings(&[]);
        settings.sockets.hub_config = Some("hub.json".into());
        let why = check(&alone_with_text(short), &settings).unwrap_err().to_string();
        assert!(why.contains("client.token.hmac_secret_key in hub.json has 5 characters"), "{why}");
        let file = r#"{"client": {"subscription_token": {"enabled": true, "hmac_secret_key": "also short"}}}"#;
        let why = check(&alone_with_text(file), &settings).unwrap_err().to_string();
        assert!(why.contains("client.subscription_token.hmac_secret_key"), "{why}");
        settings.secrets.token_secret = "given".parse().unwrap();
        let config = alone(&settings_without_file(&settings).sockets, &settings.secrets).unwrap();
        let why = check(&config, &settings).unwrap_err().to_string();
        assert!(why.contains("ROOMCAST_TOKEN_SECRET has 5 characters"), "{why}");
    }

    #[test]
    fn a_hub_alone_believes_no_demo_secret_beside_a_public_key_and_the_chats_hub_believes_its_backends() {
        let file = r#"{"client": {"token": {"jwks_public_endpoint": "http://127.0.0.1:1/certs"}}}"#;
        assert_eq!(alone_by(file, &[]).unwrap().token.hmac_secret, "");
        assert_eq!(
            alone_by(file, &["--token-secret", "given by the flag"]).unwrap().token.hmac_secret,
            "given by the flag"
        );
        let (settings, file) = (settings(&[]), serde_json::from_str(file).unwrap());
        assert!(!of_the_chat_with(file, &settings.sockets, &settings.secrets).token.hmac_secret.is_empty());
    }
}

//! A hub's configuration: the chat's own channels, then the flags, then the file, then the secrets that were given.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use hub::{ConfigFile, HubConfig};

use crate::config::{Secret, Secrets, Sockets, check_secrets};

/// Rooms of one person: all of them are heard over one socket. Centrifugo's default of 128 is for chosen channels.
const ROOMS_PER_CONNECTION: usize = 5_000;

/// The hub of the chat, whose channels the file can add to.
pub(super) fn of_the_chat(sockets: &Sockets, secrets: &Secrets) -> anyhow::Result<HubConfig> {
    let mut config = with_flags(HubConfig { channel_limit: ROOMS_PER_CONNECTION, ..HubConfig::default() }, sockets);
    for options in config.namespaces.values_mut().filter(|options| options.history_size > 0) {
        options.history_size = sockets.history_size;
    }
    with_file_and_secrets(config, sockets, secrets)
}

/// A hub that knows no backend: its channels are those of the file, and no others.
pub(super) fn alone(sockets: &Sockets, secrets: &Secrets) -> anyhow::Result<HubConfig> {
    let mut config = with_flags(HubConfig::default(), sockets);
    config.namespaces.clear();
    let config = with_file_and_secrets(config, sockets, secrets)?;
    let asking = config.without_namespace.iter().chain(config.namespaces.values());
    if asking.into_iter().any(|options| options.ask_authority || options.counted_by_truth) {
        bail!("ask_authority and counted_by_truth need a backend: name it with --backend");
    }
    Ok(config)
}

/// Refuses to be reachable from elsewhere with what everyone knows, or with no protection at all.
pub(super) fn check(config: &HubConfig, listen: SocketAddr) -> anyhow::Result<()> {
    if !config.insecure {
        let secrets = [("ROOMCAST_TOKEN_SECRET", &*config.token_secret), ("ROOMCAST_API_KEY", &*config.api_key)];
        return check_secrets(listen, &secrets);
    }
    if !listen.ip().is_loopback() {
        bail!("an insecure hub lets everybody do everything: it listens on a loopback address only, not on {listen}");
    }
    Ok(())
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

fn with_file_and_secrets(mut config: HubConfig, sockets: &Sockets, secrets: &Secrets) -> anyhow::Result<HubConfig> {
    secrets.token_secret.expose().clone_into(&mut config.token_secret);
    secrets.api_key.expose().clone_into(&mut config.api_key);
    if let Some(path) = &sockets.hub_config {
        ConfigFile::read(path).and_then(|file| file.apply(&mut config)).context("reading the hub's configuration")?;
    }
    give(&mut config.token_secret, &secrets.token_secret);
    give(&mut config.api_key, &secrets.api_key);
    Ok(config)
}

/// What was said by flag or variable counts more than what the file says.
fn give(value: &mut String, secret: &Secret) {
    if !secret.is_the_demos() {
        secret.expose().clone_into(value);
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, path::Path};

    use clap::Parser;

    use super::*;
    use crate::config::{Cli, Hub, Role};

    fn settings(args: &[&str]) -> Hub {
        match Cli::try_parse_from([&["roomcast", "hub"], args].concat()).unwrap().role() {
            Role::Hub(hub) => hub,
            other => panic!("not the hub: {other:?}"),
        }
    }

    fn alone_with(file: &str, args: &[&str]) -> anyhow::Result<HubConfig> {
        let mut path = tempfile::NamedTempFile::new().unwrap();
        path.write_all(file.as_bytes()).unwrap();
        let file = Path::to_str(path.path()).unwrap();
        let settings = settings(&[&["--hub-config", file], args].concat());
        alone(&settings.sockets, &settings.secrets)
    }

    #[test]
    fn a_hub_alone_has_the_channels_of_its_file_and_the_chats_hub_has_both() {
        let file = r#"{"channel": {"namespaces": [{"name": "news"}]}}"#;
        assert_eq!(alone_with(file, &[]).unwrap().namespaces.into_keys().collect::<Vec<_>>(), ["news"]);
        let chat = settings(&["--backend", "http://127.0.0.1:8000"]);
        let chat = of_the_chat(&chat.sockets, &chat.secrets).unwrap();
        assert!(chat.namespaces["room"].counted_by_truth && chat.namespaces["room"].history_size == 300);
    }

    #[test]
    fn what_needs_a_backend_is_refused_without_one() {
        let file = r#"{"channel": {"without_namespace": {"ask_authority": true}}}"#;
        let why = alone_with(file, &[]).unwrap_err().to_string();
        assert!(why.contains("--backend"), "{why}");
        let why = format!("{:#}", alone_with("{", &[]).unwrap_err());
        assert!(why.contains("hub's configuration") && why.contains("EOF"), "{why}");
    }

    #[test]
    fn a_secret_that_was_given_counts_more_than_the_files() {
        let file = r#"{"client": {"token": {"hmac_secret_key": "of the file's own"}}, "http_api": {"key": "also of the file"}}"#;
        let config = alone_with(file, &["--api-key", "given by the flag"]).unwrap();
        assert_eq!((&*config.token_secret, &*config.api_key), ("of the file's own", "given by the flag"));
    }

    #[test]
    fn others_reach_no_hub_without_protection() {
        let (here, everywhere) = ("127.0.0.1:1".parse().unwrap(), "0.0.0.0:1".parse().unwrap());
        let mut config = alone_with("{}", &[]).unwrap();
        assert!(check(&config, here).is_ok() && check(&config, everywhere).is_err(), "everyone knows its secrets");
        config.insecure = true;
        assert!(check(&config, here).is_ok() && check(&config, everywhere).is_err());
    }
}

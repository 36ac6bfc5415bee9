//! `roomcast hub check FILE`: what becomes of a configuration of Centrifugo here, all of it at once.

use std::{ffi::OsString, fmt::Write, path::Path};

use anyhow::bail;
use hub::{ConfigFile, Finding, HubConfig, Verdict};

use super::hub_config::{self, NEEDS_BACKEND, Place};
use crate::{config, console};

/// Shorter ones are refused at the start.
const SHORTEST_SECRET: usize = 16;

/// Prints all findings. Fails if the hub would not start with the file as it is.
pub(super) fn run(path: &Path, settings: &config::Hub) -> anyhow::Result<()> {
    let findings = findings(path, settings)?;
    console::say(report(path, &findings));
    if let Some(warning) = warning_about_variables(std::env::vars_os()) {
        console::say(format_args!("Beside the file:\n  {warning}\n"));
    }
    let bad = findings.iter().filter(|finding| !finding.verdict.is_good()).count();
    if bad == 0 {
        console::say(format_args!("The hub starts with it: roomcast hub --hub-config {}", path.display()));
        return Ok(());
    }
    let only_harmless =
        findings.iter().all(|finding| matches!(finding.verdict, Verdict::Understood | Verdict::Harmless(_)));
    let advice =
        if only_harmless { "take out what is harmless to leave out" } else { "take out or change what is said above" };
    bail!("the hub does not start with {}, for {bad} reasons: {advice}", path.display());
}

/// Variables by which Centrifugo is configured as well, and this hub is not.
pub(super) fn warning_about_variables(variables: impl Iterator<Item = (OsString, OsString)>) -> Option<String> {
    let texts = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let ours = texts.filter(|(name, value)| name.starts_with("CENTRIFUGO_") && !is_of_kubernetes(name, value));
    let mut names: Vec<_> = ours.map(|(name, _)| name).collect();
    names.sort_unstable();
    (!names.is_empty()).then(|| {
        format!(
            "{} {} nothing here: what they set has to stand in the file, or in flags and ROOMCAST_… variables",
            names.join(", "),
            if names.len() == 1 { "does" } else { "do" }
        )
    })
}

/// `CENTRIFUGO_SERVICE_HOST`, `CENTRIFUGO_PORT=tcp://…`: Kubernetes says these of a service of that name.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    name.contains("_SERVICE_") || name.contains("_PORT_") || name.ends_with("_PORT") && value.contains("://")
}

fn findings(path: &Path, settings: &config::Hub) -> anyhow::Result<Vec<Finding>> {
    let hub::Findings { mut all, file } = ConfigFile::check(path)?;
    let wrong = |place: &str, why: String| Finding { place: place.to_owned(), verdict: Verdict::Wrong(why) };
    let config = configured(file, settings);
    all.extend(config.findings());
    if settings.backend.is_none() {
        let asking = hub_config::channels_that_ask(&config).map(|name| match name {
            "" => "channel.without_namespace".to_owned(),
            name => format!("channel.namespaces (\"{name}\")"),
        });
        let why = format!("{NEEDS_BACKEND}: name it (--backend), or have clients bring subscription tokens");
        all.extend(asking.map(|place| wrong(&place, why.clone())));
    }
    if !config.insecure && !settings.insecure {
        let short =
            hub_config::secrets_of(&config, &settings.secrets).filter(|(_, secret)| secret.len() < SHORTEST_SECRET);
        all.extend(short.map(|(Place::Given(place) | Place::File(place), secret)| {
            wrong(place, format!("it has {} characters, at least {SHORTEST_SECRET} are needed", secret.len()))
        }));
    }
    let contradicted: Vec<String> =
        all.iter().filter(|finding| !finding.verdict.is_good()).map(|finding| finding.place.clone()).collect();
    all.retain(|finding| !finding.verdict.is_good() || !contradicted.contains(&finding.place));
    Ok(all)
}

/// The hub that would be started with what is understood.
fn configured(file: ConfigFile, settings: &config::Hub) -> HubConfig {
    let mut config = match settings.backend {
        Some(_) => hub_config::of_the_chat_with(file, &settings.sockets, &settings.secrets),
        None => hub_config::alone_with(file, &settings.sockets, &settings.secrets),
    };
    config.insecure |= settings.insecure;
    config
}

/// Is a verdict one of a section?
type Belongs = fn(&Verdict) -> bool;

fn report(path: &Path, findings: &[Finding]) -> String {
    let mut report = format!("{}\n", path.display());
    let sections: [(&str, Belongs); 4] = [
        ("Understood", |verdict| matches!(verdict, Verdict::Understood)),
        ("Harmless to leave out", |verdict| matches!(verdict, Verdict::Harmless(_))),
        ("Not there", |verdict| matches!(verdict, Verdict::Missing(_))),
        ("Wrong", |verdict| matches!(verdict, Verdict::Wrong(_))),
    ];
    for (title, belongs) in sections {
        let lines: Vec<_> = findings.iter().filter(|finding| belongs(&finding.verdict)).collect();
        if !lines.is_empty() {
            let _ = writeln!(report, "\n{title} ({}):", lines.len());
        }
        for line in lines {
            let _ = writeln!(report, "  {line}");
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::{Cli, Role};

    fn checked(name: &str, text: &str, args: &[&str]) -> (Vec<Finding>, bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let args = [&["roomcast", "hub"], args, &["check", path.to_str().unwrap()]].concat();
        let Role::Hub(settings) = Cli::try_parse_from(args).unwrap().role() else { panic!("not the hub") };
        (findings(&path, &settings).unwrap(), run(&path, &settings).is_ok())
    }

    fn places(findings: &[Finding], wanted: fn(&Verdict) -> bool) -> Vec<&str> {
        findings.iter().filter(|finding| wanted(&finding.verdict)).map(|finding| finding.place.as_str()).collect()
    }

    /// What a chat with Centrifugo, its pages and its backend may have.
    const OF_A_CHAT: &str = r#"{
        "client": {
            "allowed_origins": ["https://chat.example.org"], "concurrency": 8,
            "token": {"hmac_secret_key": "short"},
            "subscribe_to_user_personal_channel": {"enabled": true, "personal_channel_namespace": "personal"},
            "proxy": {"connect": {"enabled": true, "endpoint": "http://backend/connect"}}
        },
        "channel": {"namespaces": [
            {"name": "personal", "history_size": 300, "history_ttl": "600s", "force_recovery": true, "allowed_delta_types": ["fossil"]},
            {"name": "rooms", "presence": true, "subscribe_proxy_enabled": true, "publish_proxy_enabled": true}
        ]},
        "http_api": {"key": "also short"}, "http_server": {"port": 8000},
        "engine": {"type": "redis"}, "admin": {"enabled": false},
        "http_stream": {"enabled": true}, "sse": {"enabled": true}, "prometheus": {"enabled": true}, "health": {"enabled": true},
        "consumers": [{"enabled": true, "name": "outbox", "type": "postgresql"}]
    }"#;

    #[test]
    fn all_is_said_at_once() {
        let (found, starts) = checked("config.json", OF_A_CHAT, &[]);
        assert!(!starts);
        let harmless = places(&found, |verdict| matches!(verdict, Verdict::Harmless(_)));
        assert_eq!(harmless, ["admin", "channel.namespaces[0].allowed_delta_types", "client.concurrency"]);
        let missing = places(&found, |verdict| matches!(verdict, Verdict::Missing(_)));
        let wanted =
            ["channel.namespaces[1].publish_proxy_enabled", "client.proxy", "consumers", "engine", "http_server"];
        assert_eq!(missing, wanted);
        let wrong = places(&found, |verdict| matches!(verdict, Verdict::Wrong(_)));
        assert_eq!(wrong, [r#"channel.namespaces ("rooms")"#, "client.token.hmac_secret_key", "http_api.key"]);
        let understood = places(&found, Verdict::is_good);
        for place in [
            "http_stream.enabled",
            "sse.enabled",
            "prometheus.enabled",
            "health.enabled",
            "client.subscribe_to_user_personal_channel.enabled",
            "channel.namespaces[0].history_ttl",
        ] {
            assert!(understood.contains(&place), "{understood:?}");
        }
    }

    #[test]
    fn a_file_that_is_understood_is_one_with_which_the_hub_starts() {
        let yaml = "client:\n  token:\n    hmac_secret_key: at least sixteen bytes\n  allowed_origins: ['*']\n\
            http_api:\n  key: at least sixteen bytes\nsse: {enabled: true}\n\
            channel:\n  namespaces:\n    - {name: news, allow_subscribe_for_client: true}\n";
        let toml = "[client.token]\nhmac_secret_key = 'at least sixteen bytes'\n[http_api]\nkey = 'at least sixteen bytes'\n\
            [[channel.namespaces]]\nname = 'news'\npresence = true\n";
        for (name, text) in [("config.yaml", yaml), ("config.toml", toml), ("config.json", "{}")] {
            let (found, starts) = checked(name, text, &[]);
            assert!(starts && found.iter().all(|finding| finding.verdict.is_good()), "{name}: {found:?}");
        }
        let asks = r#"{"channel": {"without_namespace": {"subscribe_proxy_enabled": true}}}"#;
        assert!(!checked("config.json", asks, &[]).1);
        assert!(checked("config.json", asks, &["--backend", "http://127.0.0.1:8000"]).1);
    }

    #[test]
    fn variables_of_centrifugo_are_named_and_those_of_kubernetes_are_not() {
        let set = |names: &[&str]| {
            let variables: Vec<(OsString, OsString)> =
                names.iter().map(|name| (name.into(), "tcp://x:1".into())).collect();
            warning_about_variables(variables.into_iter())
        };
        let told = set(&["PATH", "CENTRIFUGO_HTTP_API_KEY", "CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY"]).unwrap();
        assert!(
            told.starts_with("CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY, CENTRIFUGO_HTTP_API_KEY do nothing"),
            "{told}"
        );
        let port = (OsString::from("CENTRIFUGO_HTTP_SERVER_PORT"), OsString::from("8000"));
        assert!(warning_about_variables([port].into_iter()).is_some());
        assert_eq!(set(&["CENTRIFUGO_SERVICE_HOST", "CENTRIFUGO_PORT_8000_TCP", "CENTRIFUGO_PORT", "HOME"]), None);
    }
}

//! Secrets: never printed, and never the demo's where others can reach them.

use std::{fmt, fs, net::SocketAddr};

use anyhow::{Context, bail};
use clap::Args;

/// Who may talk to whom. The defaults are known to everyone and work on loopback only.
#[derive(Args, Debug, Clone)]
pub struct Secrets {
    /// Signs the browsers' connection tokens (HS256)
    #[arg(long, env = "ROOMCAST_TOKEN_SECRET", hide_env_values = true, default_value = DEMO_SECRET)]
    pub token_secret: Secret,
    /// The key of the hub's server API
    #[arg(long, env = "ROOMCAST_API_KEY", hide_env_values = true, default_value = DEMO_SECRET)]
    pub api_key: Secret,
    /// The key by which hubs ask the backend who may hear what
    #[arg(long, env = "ROOMCAST_INTERNAL_KEY", hide_env_values = true, default_value = DEMO_SECRET)]
    pub internal_key: Secret,
}

/// What everyone knows, so it protects nothing.
pub(super) const DEMO_SECRET: &str = "roomcast-demo-secret-for-loopback-only";

impl Secrets {
    /// Refuses to be reachable from elsewhere with secrets that everyone knows.
    pub fn check(&self, listen: SocketAddr) -> anyhow::Result<()> {
        check_secrets(
            listen,
            &[
                ("ROOMCAST_TOKEN_SECRET", self.token_secret.expose()),
                ("ROOMCAST_API_KEY", self.api_key.expose()),
                ("ROOMCAST_INTERNAL_KEY", self.internal_key.expose()),
            ],
        )
    }
}

impl Secrets {
    /// The same for the key between hub and backend alone.
    pub fn check_internal_key(&self, listen: SocketAddr) -> anyhow::Result<()> {
        check_secrets(listen, &[("ROOMCAST_INTERNAL_KEY", self.internal_key.expose())])
    }
}

/// Refuses secrets that are short, and those that everyone knows where others can reach them.
pub fn check_secrets(listen: SocketAddr, secrets: &[(&str, &str)]) -> anyhow::Result<()> {
    for (name, secret) in secrets {
        if secret.len() < 16 {
            bail!("{name} has {} characters, at least 16 are needed", secret.len());
        }
    }
    if listen.ip().is_loopback() {
        return Ok(());
    }
    let known: Vec<&str> = secrets.iter().filter(|(_, secret)| *secret == DEMO_SECRET).map(|(name, _)| *name).collect();
    if !known.is_empty() {
        bail!(
            "{listen} is reachable from other machines, but {} still has the demo's value, which everyone knows: \
             set it (openssl rand -hex 32), or listen on 127.0.0.1",
            known.join(", ")
        );
    }
    Ok(())
}

/// A text that is never printed. `file:/path` means what that file holds, for secrets that are mounted.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// True for the value that stands where nobody has given another.
    pub fn is_the_demos(&self) -> bool {
        self.0 == DEMO_SECRET
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl std::str::FromStr for Secret {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let Some(path) = text.strip_prefix("file:") else { return Ok(Self(text.to_owned())) };
        let held = fs::read_to_string(path).with_context(|| format!("{path} cannot be read"))?;
        Ok(Self(held.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

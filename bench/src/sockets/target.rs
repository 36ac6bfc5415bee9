//! What is measured: a server that speaks the Centrifuge protocol, ours or another.

use clap::Args;

use crate::token;

/// A running server.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// Its WebSocket
    #[arg(long, default_value = "ws://127.0.0.1:8001/connection/websocket")]
    pub websocket: String,
    /// Its server API
    #[arg(long, default_value = "http://127.0.0.1:8001/api")]
    pub api: String,
    /// The key of the server API
    #[arg(long, env = "ROOMCAST_API_KEY", hide_env_values = true, default_value = "")]
    pub api_key: String,
    /// The secret that connection tokens are signed with (HS256); none: connect without a token
    #[arg(long, env = "ROOMCAST_TOKEN_SECRET", hide_env_values = true)]
    pub token_secret: Option<String>,
    /// Channels begin with this: a namespace with history, recovery and presence, where clients may subscribe
    #[arg(long, default_value = "bench:")]
    pub channel_prefix: String,
    /// The server's process, to count its CPU time and memory
    #[arg(long = "server-pid")]
    pub server_pid: Option<u32>,
}

impl Target {
    /// A token of the client with this number, each a user of its own.
    pub(super) fn token(&self, number: usize) -> anyhow::Result<Option<String>> {
        let Some(secret) = &self.token_secret else { return Ok(None) };
        token::sign(&format!("bench-{number}"), secret).map(Some)
    }

    /// A channel of this name.
    pub(super) fn channel(&self, name: &str) -> String {
        format!("{}{name}", self.channel_prefix)
    }

    /// `host:port`, and the path of the WebSocket.
    pub(super) fn socket_address(&self) -> anyhow::Result<(String, String)> {
        let rest = self.websocket.strip_prefix("ws://");
        let rest = rest.ok_or_else(|| anyhow::anyhow!("{} is not a ws:// address", self.websocket))?;
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok((address.to_owned(), format!("/{path}")))
    }
}

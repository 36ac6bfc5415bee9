//! The HTTP client by which other processes are reached.

use std::time::Duration;

use anyhow::Context;
use protocol::silence::{self, Keepalive};

/// A client that gives up on an answer after `patience`, or at the bound on silence if that comes first. What it gave up on is
/// closed, and no connection is used again that was idle for half of the bound: with one, others probably died.
pub(crate) fn client(patience: Duration) -> anyhow::Result<reqwest::Client> {
    // reqwest is built with TLS but without a choice of cryptography. Somebody may have chosen before: that is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bound = silence::bound();
    let keepalive = Keepalive::within(bound);
    let client = reqwest::Client::builder()
        .timeout(patience.min(bound))
        .connect_timeout(silence::half())
        .pool_idle_timeout(silence::half())
        .tcp_keepalive(keepalive.idle)
        .tcp_keepalive_interval(keepalive.interval)
        .tcp_keepalive_retries(keepalive.tries)
        .tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let client = client.tcp_user_timeout(bound);
    client.build().context("preparing an HTTP client")
}

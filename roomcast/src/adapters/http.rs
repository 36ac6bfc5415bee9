//! The HTTP client by which other processes are reached.

use std::time::Duration;

use anyhow::Context;

/// A client that gives up on an answer after `patience`.
pub(crate) fn client(patience: Duration) -> anyhow::Result<reqwest::Client> {
    // reqwest is built with TLS but without a choice of cryptography. Somebody may have chosen before: that is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(patience).tcp_nodelay(true).build().context("preparing an HTTP client")
}

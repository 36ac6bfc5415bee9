//! What a process tells of itself: its metrics and its readiness.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

/// The sum of all series of a metric whose labels contain this text; 0 when there is none yet.
pub async fn metric(address: &str, name: &str, labels: &str) -> anyhow::Result<f64> {
    let text = client()?.get(format!("http://{address}/metrics")).send().await?.error_for_status()?.text().await?;
    let values = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let of_this_name = series == name || series.strip_prefix(name)?.starts_with('{');
        (of_this_name && series.contains(labels)).then(|| value.parse::<f64>().ok())?
    });
    Ok(values.sum())
}

/// What `/readyz` says, ready or not.
pub async fn readiness(address: &str) -> anyhow::Result<Value> {
    Ok(client()?.get(format!("http://{address}/readyz")).send().await?.json().await?)
}

/// Asks until the answer is yes. An error counts as no, and is told when the patience ends.
pub async fn eventually(
    what: &str,
    patience: Duration,
    mut holds: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let answer = holds().await;
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            answer.with_context(|| format!("waited {patience:?} in vain: {what}"))?;
            bail!("waited {patience:?} in vain: {what}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn client() -> reqwest::Result<reqwest::Client> {
    // reqwest is built with TLS but without a choice of cryptography.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(Duration::from_secs(10)).build()
}

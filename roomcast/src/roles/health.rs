//! `roomcast health`: asks a running process whether it is ready. For containers, which have no curl.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, bail};

use crate::{adapters::http, config, console};

/// More than `/readyz` takes for its slowest part.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn run(settings: &config::Health) -> anyhow::Result<()> {
    let url = settings.url.clone().unwrap_or_else(|| ready_url(settings));
    let answer = http::client(PATIENCE)?.get(&url).send().await.context("nobody answers")?;
    let status = answer.status();
    let report = answer.text().await.unwrap_or_default();
    if !status.is_success() {
        bail!("not ready ({status}): {report}");
    }
    console::say(report);
    Ok(())
}

/// A process that listens everywhere is asked on this machine.
fn ready_url(settings: &config::Health) -> String {
    let mut address = settings.listen;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{address}/readyz")
}

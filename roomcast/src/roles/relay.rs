//! `roomcast relay`: from the outbox to hubs in other processes, directly or by way of Kafka.

use std::sync::Arc;

use anyhow::bail;
use relay::{Destination, KafkaConfig, Relay, RelayConfig, RelayHandle, Wakeup, WalConfig, engine::Publications};

use crate::{
    adapters::RemoteHubs,
    config, console,
    health::{self, Health},
    lifecycle::Lifecycle,
    server, supervisor, telemetry,
};

pub(super) async fn run(settings: config::Relay, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let metrics = telemetry::metrics()?;
    let url = settings.relay_database_url.as_ref().unwrap_or(&settings.database.url);
    let (destination, whereto) = destination(&settings)?;
    let relay = start(
        url.expose(),
        &settings.sources,
        settings.sources.wal.unwrap_or(false),
        destination,
        Wakeup::default(),
        lifecycle,
    )?;

    let listener = server::bind(settings.listen)?;
    let address = listener.local_addr()?;
    let mut parts = health_of(Health::default(), relay);
    if let Some(connect_url) = &settings.supervision.connect_url {
        let watched = supervisor::start(connect_url, &settings.supervision.connectors, lifecycle);
        parts = supervisor::health_of(parts, watched);
    }
    let app = health::router(parts, metrics);
    lifecycle.run("the HTTP server", server::serve(listener, app, lifecycle.stopping()));
    console::say(format_args!("Roomcast relay is ready at http://{address}, delivering to {whereto}"));
    lifecycle.finished().await
}

/// Where to deliver, and how to call it.
fn destination(settings: &config::Relay) -> anyhow::Result<(Arc<dyn Destination>, String)> {
    if let Some(engine) = settings.engine.kafka() {
        let whereto = format!("Kafka at {}", engine.brokers);
        return Ok((Arc::new(Publications::new(engine)), whereto));
    }
    if settings.hubs.is_empty() {
        bail!(
            "a relay needs to know where to deliver: name hubs with --hub (ROOMCAST_HUB_URLS), or Kafka with --engine"
        );
    }
    let hubs = RemoteHubs::new(&settings.hubs, settings.api_key.expose().to_owned())?;
    Ok((Arc::new(hubs), settings.hubs.join(", ")))
}

/// Starts the carrier and hands it to the lifecycle.
pub(super) fn start(
    url: &str,
    sources: &config::Sources,
    wal: bool,
    destination: Arc<dyn Destination>,
    wakeup: Wakeup,
    lifecycle: &Lifecycle,
) -> anyhow::Result<RelayHandle> {
    let config = RelayConfig {
        workers: usize::from(sources.relay_workers),
        batch_size: sources.batch_size,
        poll_interval: sources.poll_interval,
        partitions: sources.partitions,
        listen: sources.relay_listen_notify,
        wal: wal.then(|| WalConfig { slot: sources.wal_slot.clone(), ..WalConfig::default() }),
        kafka: sources.kafka_brokers.as_ref().map(KafkaConfig::new),
        ..RelayConfig::new(url)
    };
    config.check()?;
    let relay = Relay::new(config, destination, wakeup);
    let handle = relay.handle();
    let stopping = lifecycle.stopping();
    lifecycle.run("the relay", async move { Ok(relay.run(stopping).await?) });
    Ok(handle)
}

pub(super) fn health_of(health: Health, relay: RelayHandle) -> Health {
    let noticing = relay.clone();
    let health = health.with_notices(move || noticing.status().notices);
    health.with("relay", move || {
        let status = relay.status();
        async move {
            let details = serde_json::to_value(&status).map_err(|error| error.to_string())?;
            if status.is_ready() { Ok(details) } else { Err(details.to_string()) }
        }
    })
}

//! `roomcast hub`: the sockets, asking a backend elsewhere who may hear what.

use std::{future::ready, sync::Arc, time::Instant};

use axum::{
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use hub::{Hub, HubConfig};
use serde_json::Value;

use crate::{
    adapters::RemoteAuthority,
    config, console,
    health::{self, Health},
    lifecycle::Lifecycle,
    server, telemetry,
};

pub(super) async fn run(settings: config::Hub, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    settings.secrets.check(settings.listen)?;
    let metrics = telemetry::metrics()?;
    let authority = RemoteAuthority::new(settings.backend.clone(), settings.secrets.internal_key.expose().to_owned())?;
    let hub = Hub::start(config_of(&settings.sockets, &settings.secrets), Arc::new(authority))?;

    let listener = server::bind(settings.listen).await?;
    let address = listener.local_addr()?;
    let opening = Opening(settings.sockets_after.map(|after| Instant::now() + after));
    let sockets = hub.router().layer(from_fn(move |request, next| opening.pass(request, next)));
    let parts = opening.health_of(health_of(Health::default(), &hub));
    let app = sockets.merge(health::router(parts, metrics));
    lifecycle.run("the HTTP server", server::serve(listener, app, lifecycle.stopping()));
    console::say(format_args!("Roomcast hub is ready at ws://{address}{SOCKET}"));

    lifecycle.stopping().cancelled().await;
    hub.stop().await;
    lifecycle.finished().await
}

const SOCKET: &str = "/connection/websocket";
const NOT_OPEN: &str = "This hub has just started: relays have to find it before browsers do.";

/// From when on sockets are taken. A relay is heard before.
#[derive(Clone, Copy)]
struct Opening(Option<Instant>);

impl Opening {
    fn is_open(self) -> bool {
        self.0.is_none_or(|opening| opening <= Instant::now())
    }

    async fn pass(self, request: Request, next: Next) -> Response {
        if request.uri().path() != SOCKET || self.is_open() {
            return next.run(request).await;
        }
        (StatusCode::SERVICE_UNAVAILABLE, NOT_OPEN).into_response()
    }

    fn health_of(self, health: Health) -> Health {
        health.with("sockets", move || ready(if self.is_open() { Ok(Value::Null) } else { Err(NOT_OPEN.to_owned()) }))
    }
}

/// Rooms of one person: all of them are heard over one socket. Centrifugo's default of 128 is for chosen channels.
const ROOMS_PER_CONNECTION: usize = 5_000;

pub(super) fn config_of(sockets: &config::Sockets, secrets: &config::Secrets) -> HubConfig {
    let mut config = HubConfig {
        token_secret: secrets.token_secret.expose().to_owned(),
        api_key: secrets.api_key.expose().to_owned(),
        ping_interval: sockets.ping_interval,
        queue_limit_bytes: sockets.queue_limit,
        channel_limit: ROOMS_PER_CONNECTION,
        ..HubConfig::default()
    };
    if let Some(shards) = sockets.hub_shards {
        config.shards = usize::from(shards);
    }
    for namespace in config.namespaces.values_mut().filter(|namespace| namespace.history_size > 0) {
        namespace.history_size = sockets.history_size;
    }
    config
}

pub(super) fn health_of(health: Health, hub: &Hub) -> Health {
    let hub = hub.clone();
    health.with("hub", move || {
        let ready = hub.is_ready();
        async move { if ready { Ok(Value::Null) } else { Err("a shard has ended: restart this process".to_owned()) } }
    })
}

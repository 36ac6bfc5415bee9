//! `roomcast hub`: the sockets, asking a backend elsewhere who may hear what, or by their configuration alone.

use std::{future::ready, sync::Arc, time::Instant};

use axum::{
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use hub::{Alone, Authority, Hub, HubConfig};
use serde_json::Value;

use super::hub_config;
use crate::{
    adapters::{Remote, Together},
    config, console,
    health::{self, Health},
    lifecycle::Lifecycle,
    server, telemetry,
};

pub(super) async fn run(settings: config::Hub, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let (mut config, authority) = plan(&settings)?;
    config.insecure |= settings.insecure;
    hub_config::check(&config, settings.listen)?;
    let metrics = telemetry::metrics()?;
    let hub = Hub::start(config, authority)?;

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

/// The chat's hub, which asks its backend, or one that knows nothing but its configuration.
fn plan(settings: &config::Hub) -> anyhow::Result<(HubConfig, Arc<dyn Authority>)> {
    let Some(backend) = settings.backend.clone() else {
        return Ok((hub_config::alone(&settings.sockets, &settings.secrets)?, Arc::new(Alone)));
    };
    settings.secrets.check_internal_key(settings.listen)?;
    let authority = Together::new(Remote::new(backend, settings.secrets.internal_key.expose().to_owned())?);
    Ok((hub_config::of_the_chat(&settings.sockets, &settings.secrets)?, Arc::new(authority)))
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
        if !request.uri().path().starts_with("/connection/") || self.is_open() {
            return next.run(request).await;
        }
        (StatusCode::SERVICE_UNAVAILABLE, NOT_OPEN).into_response()
    }

    fn health_of(self, health: Health) -> Health {
        health.with("sockets", move || ready(if self.is_open() { Ok(Value::Null) } else { Err(NOT_OPEN.to_owned()) }))
    }
}

pub(super) fn health_of(health: Health, hub: &Hub) -> Health {
    let hub = hub.clone();
    health.with("hub", move || {
        let ready = hub.is_ready();
        async move { if ready { Ok(Value::Null) } else { Err("a shard has ended: restart this process".to_owned()) } }
    })
}

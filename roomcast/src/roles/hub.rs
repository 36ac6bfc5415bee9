//! `roomcast hub`: the sockets, asking a backend elsewhere who may hear what, or by their configuration alone.

use std::{
    future::ready,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use hub::{Alone, Authority, Hub, HubConfig};
use relay::engine::{EngineConfig, Tail, TailHandle};
use serde_json::Value;
use tracing::warn;

use super::{hub_check, hub_config};
use crate::{
    adapters::{KafkaBus, Node, Remote, Together},
    config, console,
    health::{self, Health},
    lifecycle::Lifecycle,
    server, telemetry,
};

pub(super) async fn run(settings: config::Hub, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    if let Some(config::HubAction::Check { file }) = &settings.action {
        return hub_check::run(file, &settings);
    }
    if settings.sockets.hub_config.is_some()
        && let Some(warning) = hub_check::warning_about_variables(std::env::vars_os())
    {
        warn!("{warning}");
    }
    let (mut config, authority) = plan(&settings)?;
    config.insecure |= settings.insecure;
    hub_config::check(&config, &settings)?;
    let metrics = telemetry::metrics()?;
    let (hub, tail) = match settings.engine.kafka() {
        None => (Hub::start(config, authority)?, None),
        Some(engine) => {
            let hub = Hub::start_among(config, authority, Arc::new(KafkaBus::new(engine.clone())))?;
            let tail = start_tail(engine, &hub, lifecycle);
            (hub, Some(tail))
        }
    };

    let listener = server::bind(settings.listen)?;
    let address = listener.local_addr()?;
    let opening = Opening { from: settings.sockets_after.map(|after| Instant::now() + after), tail: tail.clone() };
    let door = opening.clone();
    let sockets = hub.router().layer(from_fn(move |request, next| door.clone().pass(request, next)));
    let mut parts = opening.health_of(health_of(Health::default(), &hub));
    if let Some(tail) = &tail {
        parts = nodes_health_of(engine_health_of(parts, tail.clone()), &hub);
    }
    let app = sockets.merge(health::router(parts, metrics));
    lifecycle.run("the HTTP server", server::serve(listener, app, lifecycle.stopping()));
    let placed = async {
        if let Some(tail) = &tail {
            tail.placed().await;
        }
    };
    if lifecycle.stopping().run_until_cancelled(placed).await.is_some() {
        console::say(format_args!("Roomcast hub is ready at ws://{address}{SOCKET}"));
    }

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
const NOT_FOUND_YET: &str = "This hub has just started: relays have to find it before browsers do.";
/// Several heartbeats of a node: what it says does not come back.
const UNHEARD: Duration = Duration::from_secs(10);
const NOT_PLACED: &str = "This hub does not read from Kafka yet: what it missed now would be missed for good.";

/// From when on sockets are taken. A relay is heard before.
#[derive(Clone)]
struct Opening {
    from: Option<Instant>,
    /// A client that is told where a room stands shall hear everything from there on.
    tail: Option<TailHandle>,
}

impl Opening {
    fn check(&self) -> Result<(), &'static str> {
        match () {
            () if self.tail.as_ref().is_some_and(|tail| !tail.is_placed()) => Err(NOT_PLACED),
            () if self.from.is_some_and(|from| from > Instant::now()) => Err(NOT_FOUND_YET),
            () => Ok(()),
        }
    }

    async fn pass(self, request: Request, next: Next) -> Response {
        match self.check() {
            Err(why) if request.uri().path().starts_with("/connection/") => {
                (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
            }
            _ => next.run(request).await,
        }
    }

    fn health_of(self, health: Health) -> Health {
        health.with("sockets", move || ready(self.check().map(|()| Value::Null).map_err(str::to_owned)))
    }
}

/// Reads what is published and what other hubs say, for as long as this process lives.
fn start_tail(engine: EngineConfig, hub: &Hub, lifecycle: &Lifecycle) -> TailHandle {
    let tail = Tail::new(engine, Arc::new(Node(hub.clone())));
    let (handle, stopping) = (tail.handle(), lifecycle.stopping());
    lifecycle.run("the engine's tail", async move { Ok(tail.run(stopping).await?) });
    handle
}

fn engine_health_of(health: Health, tail: TailHandle) -> Health {
    health.with("engine", move || {
        let status = tail.status();
        ready(match status.reason.clone() {
            Some(reason) => Err(reason),
            None => serde_json::to_value(status).map_err(|error| error.to_string()),
        })
    })
}

/// A node may read what others say, and not be able to say anything itself.
fn nodes_health_of(health: Health, hub: &Hub) -> Health {
    let hub = hub.clone();
    health.with("nodes", move || ready(hub.silence().map_or(Ok(Value::Null), hears_itself)))
}

fn hears_itself(silence: Duration) -> Result<Value, String> {
    if silence < UNHEARD {
        return Ok(Value::Null);
    }
    let seconds = silence.as_secs();
    Err(format!("this node has not heard itself for {seconds} s: what concerns all nodes fails, or waits"))
}

pub(super) fn health_of(health: Health, hub: &Hub) -> Health {
    let hub = hub.clone();
    health.with("hub", move || {
        let ready = hub.is_ready();
        async move { if ready { Ok(Value::Null) } else { Err("a shard has ended: restart this process".to_owned()) } }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_does_not_hear_itself_is_not_ready() {
        assert!(hears_itself(Duration::from_secs(3)).is_ok());
        assert!(hears_itself(Duration::from_secs(11)).unwrap_err().contains("11 s"));
    }
}

//! `roomcast backend`: pages and API. Wakes relays in other processes by NOTIFY.

use std::{sync::Arc, time::Duration};

use axum::middleware::from_fn;
use backend::{ApiState, BackendConfig};
use relay::{
    Notifier,
    engine::{EngineConfig, Publications},
};
use serde_json::Value;

use crate::{
    adapters::{Direct, Notify, RemoteHubs},
    config, console,
    health::{self, Health},
    lifecycle::Lifecycle,
    server, telemetry,
};

/// Enough to keep PostgreSQL busy on a small machine; more only wait for each other's locks.
pub(super) const DATABASE_CONNECTIONS: u32 = 16;

pub(super) async fn run(settings: config::Backend, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let address = settings.listen.address;
    settings.secrets.check(address)?;
    let metrics = telemetry::metrics()?;
    if settings.migrate {
        backend::migrate(settings.database.url.expose()).await?;
    }
    let db = backend::connect(settings.database.url.expose(), DATABASE_CONNECTIONS).await?;
    backend::check_schema(&db).await?;
    let demo_users = settings.users.wanted(address, false);
    if demo_users {
        backend::seed::demo(&db).await?;
    }

    let (notifier, notifying) = Notifier::new(settings.database.url.expose());
    let stopping = lifecycle.stopping();
    lifecycle.run("the notifier", async move {
        notifying.run(stopping).await;
        Ok(())
    });
    let config = BackendConfig {
        demo: demo_users,
        allow_request_mode: settings.listen.allows_request_mode(false),
        ..config_of(&settings.secrets, &settings.listen)
    };
    let api = ApiState::new(db, config, Arc::new(Notify(notifier)));
    let api = match settings.engine.kafka() {
        Some(engine) => api.with_publisher(Arc::new(Direct(Publications::new(hurried(engine))))),
        None if settings.hubs.is_empty() => api,
        None => {
            let hubs = RemoteHubs::new(&settings.hubs, settings.secrets.api_key.expose().to_owned())?;
            api.with_publisher(Arc::new(Direct(hubs)))
        }
    };
    let listener = server::bind(address)?;
    let address = listener.local_addr()?;
    let app = pages_and_api(&api, settings.hub_public_url).merge(health::router(health_of(&api), metrics));
    let app = server::behind_proxy(app, settings.listen.behind_proxy);
    lifecycle.run("the HTTP server", server::serve(listener, app, lifecycle.stopping()));
    console::say(format_args!("Roomcast backend is ready at http://{address}"));

    let played = lifecycle.finished().await;
    api.stop().await;
    played
}

/// A backend gives up on a publication soon: what it has given up shall not arrive much later.
fn hurried(engine: EngineConfig) -> EngineConfig {
    EngineConfig { patience: Duration::from_secs(2), ..engine }
}

/// What both shapes have in common.
pub(super) fn config_of(secrets: &config::Secrets, listen: &config::Listen) -> BackendConfig {
    BackendConfig {
        secure_cookies: listen.secure_cookies,
        ..BackendConfig::new(secrets.token_secret.expose(), secrets.internal_key.expose())
    }
}

pub(super) fn pages_and_api(api: &ApiState, hub_url: Option<String>) -> axum::Router {
    let demo = api.config.demo;
    let pages = web::router(web::WebState { api: api.clone(), hub_url, demo });
    backend::router(api.clone()).merge(pages).layer(from_fn(backend::in_time))
}

pub(super) fn health_of(api: &ApiState) -> Health {
    let api = api.clone();
    Health::default().with("database", move || {
        let api = api.clone();
        async move { backend::ready(&api).await.map(|()| Value::Null).map_err(|error| error.to_string()) }
    })
}

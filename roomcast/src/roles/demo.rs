//! `roomcast demo`: everything in one process, on a private PostgreSQL unless `DATABASE_URL` names another.

use std::sync::Arc;

use ::backend::{ApiState, BackendConfig};
use anyhow::Context;
use hub::Hub;
use relay::Wakeup;

use super::{backend as backend_role, hub as hub_role, relay as relay_role};
use crate::{
    adapters::{Direct, LocalAuthority, LocalHub, Wake},
    config, console, health,
    lifecycle::Lifecycle,
    server, telemetry,
};

mod cdc;
mod postgres;

pub(super) use postgres::running as running_database;

pub(super) async fn run(settings: config::Demo, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let address = settings.listen.address;
    settings.secrets.check(address)?;
    // The address first: a second demo on the same port must not touch the data of the first.
    let listener = server::bind(address).await?;
    let postgres = match &settings.database_url {
        Some(_) => None,
        None => Some(postgres::start(&settings).await?),
    };
    let url = match (&settings.database_url, &postgres) {
        (Some(url), _) => url.expose().to_owned(),
        (None, Some(postgres)) => postgres.url(),
        (None, None) => unreachable!("one of the two was chosen above"),
    };
    let played = match &postgres {
        None => play(&settings, &url, listener, lifecycle).await,
        Some(postgres) => tokio::select! {
            played = play(&settings, &url, listener, lifecycle) => played,
            error = postgres.unexpected_end() => Err(error),
        },
    };
    if let Some(postgres) = postgres {
        postgres.stop().await;
    }
    played
}

async fn play(
    settings: &config::Demo,
    url: &str,
    listener: tokio::net::TcpListener,
    lifecycle: &Lifecycle,
) -> anyhow::Result<()> {
    let metrics = telemetry::metrics()?;
    let db = backend::connect(url, backend_role::DATABASE_CONNECTIONS).await?;
    backend::MIGRATOR.run(&db).await.context("bringing the schema up to date")?;
    backend::check_schema(&db).await?;
    let address = listener.local_addr()?;
    let demo_users = settings.users.wanted(address, true);
    if demo_users {
        backend::seed::demo(&db).await.context("seeding the demo's people and rooms")?;
    }

    let cdc = if settings.cdc { Some(cdc::start(url, settings.embedded.data_dir.as_deref()).await?) } else { None };
    let mut sources = settings.sources.clone();
    if let Some(cdc) = &cdc {
        sources.kafka_brokers = Some(cdc.brokers());
    }
    // A server of the user's may not keep a logical log; the embedded one does.
    let wal = sources.wal.unwrap_or(settings.database_url.is_none());
    let wakeup = Wakeup::default();
    let hub =
        Hub::start(hub_role::config_of(&settings.sockets, &settings.secrets), Arc::new(LocalAuthority(db.clone())))?;
    let relay = relay_role::start(url, &sources, wal, Arc::new(LocalHub(hub.clone())), wakeup.clone(), lifecycle)?;
    let config = BackendConfig {
        demo: demo_users,
        allow_request_mode: settings.listen.allows_request_mode(true),
        ..backend_role::config_of(&settings.secrets, &settings.listen)
    };
    let api = ApiState::new(db, config, Arc::new(Wake(wakeup))).with_publisher(Arc::new(Direct(LocalHub(hub.clone()))));

    let parts = relay_role::health_of(hub_role::health_of(backend_role::health_of(&api), &hub), relay);
    let app = backend_role::pages_and_api(&api, None).merge(hub.router()).merge(health::router(parts, metrics));
    let app = server::behind_proxy(app, settings.listen.behind_proxy);
    lifecycle.run("the HTTP server", server::serve(listener, app, lifecycle.stopping()));
    welcome(address, demo_users);

    lifecycle.stopping().cancelled().await;
    console::say("Stopping: requests, relay, sockets, then the database.");
    hub.stop().await;
    let played = lifecycle.finished().await;
    api.stop().await;
    if let Some(cdc) = cdc {
        cdc.stop().await;
    }
    played
}

fn welcome(address: std::net::SocketAddr, demo_users: bool) {
    console::say(format_args!("\nRoomcast is ready at http://{address}\n"));
    if demo_users {
        console::say(format_args!(
            "  Sign in as alice, bob, carol or dave (password: roomcast),\n  or see two of them side by side: http://{address}/demo\n"
        ));
    }
    console::say("Ctrl-C stops everything.");
}

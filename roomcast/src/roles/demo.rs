//! `roomcast demo`: everything in one process, on a private PostgreSQL unless `DATABASE_URL` names another.

use std::{
    future::pending,
    path::{Path, PathBuf},
    sync::Arc,
};

use ::backend::{ApiState, BackendConfig};
use anyhow::Context;
use debezium::Kind;
use embedded_postgres::Directories;
use hub::Hub;
use relay::Wakeup;
use sqlx::PgPool;

use self::{cdc::Cdc, disk::Disk};
use super::{backend as backend_role, hub as hub_role, hub_config, read_model as read_model_role, relay as relay_role};
use crate::{
    adapters::{Direct, Local, LocalHub, Together, Wake},
    config, console, health,
    lifecycle::Lifecycle,
    server, supervisor, telemetry,
};

mod cdc;
mod disk;
mod postgres;
mod restarts;
mod slots;

pub(super) use cdc::running as running_stack;
pub(super) use postgres::running as running_database;

pub(super) async fn run(settings: config::Demo, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let address = settings.listen.address;
    settings.secrets.check(address)?;
    // The address first: a second demo on the same port must not touch the data of the first.
    let listener = server::bind(address)?;
    let postgres = match &settings.database_url {
        Some(_) => None,
        None => Some(postgres::start(&settings).await?),
    };
    let url = match (&settings.database_url, &postgres) {
        (Some(url), _) => url.expose().to_owned(),
        (None, Some(postgres)) => postgres.url().to_owned(),
        (None, None) => unreachable!("one of the two was chosen above"),
    };
    let played = match &postgres {
        None => play(&settings, &url, None, listener, lifecycle).await,
        Some(postgres) => tokio::select! {
            played = play(&settings, &url, Some(postgres.log()), listener, lifecycle) => played,
            error = postgres.keep_alive() => Err(error),
        },
    };
    if let Some(postgres) = postgres {
        postgres.stop().await;
    }
    played
}

/// Everything but the server. The log is that of the demo's own.
async fn play(
    settings: &config::Demo,
    url: &str,
    server_log: Option<&Path>,
    listener: tokio::net::TcpListener,
    lifecycle: &Lifecycle,
) -> anyhow::Result<()> {
    let metrics = telemetry::metrics()?;
    let address = listener.local_addr()?;
    let demo_users = settings.users.wanted(address, true);
    let own_server = server_log.is_some();
    let begin_anew = if own_server { slots::tidy(url, settings).await? } else { Vec::new() };
    let cdc = async { if settings.cdc { cdc::start(settings).await.map(Some) } else { Ok(None) } };
    let (db, mut cdc) = tokio::try_join!(database(url, demo_users), cdc)?;

    if own_server && !slots::reads_kafka(settings) {
        slots::leave_modes_of_kafka(&db).await?;
    }
    let mut sources = settings.sources.clone();
    if let Some(cdc) = &mut cdc {
        cdc.apply(&db, url, settings.cdc_profile, &begin_anew).await?;
        sources.kafka_brokers = Some(cdc.brokers());
    }
    // A server of the user's may not keep a logical log; the embedded one does.
    let wal = sources.wal.unwrap_or(own_server);
    let wakeup = Wakeup::default();
    let hub = Hub::start(
        hub_config::of_the_chat(&settings.sockets, &settings.secrets)?,
        Arc::new(Together::new(Local(db.clone()))),
    )?;
    let relay = relay_role::start(url, &sources, wal, Arc::new(LocalHub(hub.clone())), wakeup.clone(), lifecycle)?;
    let read_model = cdc.as_ref().map(|cdc| read_model_role::start(url, db.clone(), &cdc.brokers(), lifecycle));
    let config = BackendConfig {
        demo: demo_users,
        allow_request_mode: settings.listen.allows_request_mode(true),
        ..backend_role::config_of(&settings.secrets, &settings.listen)
    };
    let api = ApiState::new(db, config, Arc::new(Wake(wakeup))).with_publisher(Arc::new(Direct(LocalHub(hub.clone()))));

    let mut parts = relay_role::health_of(hub_role::health_of(backend_role::health_of(&api), &hub), relay);
    if let Some(read_model) = read_model {
        parts = read_model_role::health_of(parts, read_model, api.db.clone());
    }
    let watched = cdc.as_ref().map(|cdc| supervisor::start(&cdc.connect_url(), &Kind::ALL, lifecycle));
    if let Some(watched) = &watched {
        parts = supervisor::health_of(parts, watched.clone());
    }
    let logs = server_log.map(Path::to_owned).into_iter().chain(cdc.iter().flat_map(Cdc::logs)).collect::<Vec<_>>();
    if !logs.is_empty() {
        watch_disk(settings, logs, lifecycle)?;
    }
    let app = backend_role::pages_and_api(&api, None).merge(hub.router()).merge(health::router(parts, metrics));
    let app = server::behind_proxy(app, settings.listen.behind_proxy);
    lifecycle.run("the HTTP server", server::serve(listener, app, lifecycle.stopping()));
    welcome(address, demo_users);

    let stopping = lifecycle.stopping();
    let watching = async {
        match (&cdc, &watched) {
            (Some(cdc), Some(watched)) if own_server => {
                tokio::join!(cdc.keep_alive(), cdc.keep_going(watched, &api.db));
            }
            (Some(cdc), _) => cdc.keep_alive().await,
            (None, _) => pending().await,
        }
    };
    stopping.run_until_cancelled(watching).await;
    console::say("Stopping: requests, relay, sockets, then the database.");
    hub.stop().await;
    let played = lifecycle.finished().await;
    api.stop().await;
    if let Some(cdc) = cdc {
        cdc.stop().await;
    }
    played
}

fn watch_disk(settings: &config::Demo, logs: Vec<PathBuf>, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let data_dir = match &settings.embedded.data_dir {
        Some(data_dir) => data_dir.clone(),
        None => Directories::of_this_user()?.data,
    };
    let (disk, stopping) = (Disk::of(&data_dir, logs)?, lifecycle.stopping());
    lifecycle.run("the watch over the disk", async move {
        stopping.run_until_cancelled(disk.watch()).await;
        Ok(())
    });
    Ok(())
}

/// With the tables of this version and the demo's people.
async fn database(url: &str, demo_users: bool) -> anyhow::Result<PgPool> {
    backend::migrate(url).await?;
    let db = backend::connect(url, backend_role::DATABASE_CONNECTIONS).await?;
    backend::check_schema(&db).await?;
    if demo_users {
        backend::seed::demo(&db).await.context("seeding the demo's people and rooms")?;
    }
    Ok(db)
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

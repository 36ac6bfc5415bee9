//! The broadcast mode is switched all the time while people write.

use std::time::Duration;

use e2e::{App, Person, Shape};
use reqwest::Method;
use serde_json::json;
use tokio::sync::oneshot;

use crate::load::Load;

/// A server of its own: a replication slot's name is unique on a server, not in a database.
async fn database_with_a_log() -> anyhow::Result<(embedded_postgres::Server, String)> {
    let server = embedded_postgres::testkit::private_server().await;
    let url = server.url("postgres");
    Ok((server, url))
}

/// Between the two ways, four times a second, for ever.
async fn keep_switching(admin: &Person) -> anyhow::Result<()> {
    for mode in ["wal", "outbox"].into_iter().cycle() {
        let body = json!({ "mode": mode });
        let answer = admin.request(Method::PUT, "/api/settings/broadcast-mode").json(&body).send().await?;
        anyhow::ensure!(answer.status().is_success(), "{mode}: {}", answer.text().await?);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}

/// Until the relay has said that it carries the log.
async fn carried(admin: &Person) -> anyhow::Result<()> {
    for _ in 0..200 {
        let body = json!({ "mode": "wal" });
        let answer = admin.request(Method::PUT, "/api/settings/broadcast-mode").json(&body).send().await?;
        if answer.status().is_success() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("nobody reads the write-ahead log")
}

#[tokio::test]
async fn switching_between_outbox_and_log_loses_doubles_and_reorders_nothing() -> anyhow::Result<()> {
    let (server, url) = database_with_a_log().await?;
    let app = App::start_with(Shape::OneProcess, &url, &["--wal"]).await?;
    let alice = app.person("alice").await?;
    carried(&alice).await?;
    let mut load = Load::prepare(&app).await?;

    let (tell, _halfway) = oneshot::channel();
    tokio::select! {
        written = load.write(tell) => written?,
        switched = keep_switching(&alice) => switched?,
    }
    load.check().await?;
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    drop(server);
    Ok(())
}

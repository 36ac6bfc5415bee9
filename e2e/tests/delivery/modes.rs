//! The broadcast mode is switched all the time while people write.

use std::time::Duration;

use e2e::{Load, Person, Plan, Shape};

use crate::{MESSAGES, ROOMS};

/// A server of its own: a replication slot's name is unique on a server, not in a database.
async fn database_with_a_log() -> anyhow::Result<(embedded_postgres::Server, String)> {
    let server = embedded_postgres::testkit::private_server().await;
    let url = server.url("postgres");
    Ok((server, url))
}

/// Between the two ways, four times a second, for ever.
async fn keep_switching(admin: &Person) -> anyhow::Result<()> {
    for mode in ["wal", "outbox"].into_iter().cycle() {
        admin.ask_for_mode(mode).await?;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}

#[tokio::test]
async fn switching_between_outbox_and_log_loses_doubles_and_reorders_nothing() -> anyhow::Result<()> {
    let (server, url) = database_with_a_log().await?;
    let mut plan = Plan::new(Shape::OneProcess, &url);
    plan.relay_args.push("--wal".to_owned());
    let app = plan.start().await?;
    let alice = app.person("alice").await?;
    alice.switch_to("wal").await?;
    let mut load = Load::prepare(&app, ROOMS).await?;

    tokio::select! {
        written = load.write(MESSAGES) => written?,
        switched = keep_switching(&alice) => switched?,
    }
    load.check().await?;
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    drop(server);
    Ok(())
}

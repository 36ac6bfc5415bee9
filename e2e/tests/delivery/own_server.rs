//! The demo's own PostgreSQL dies: it is started again, and given up only when that does not help.

use std::time::Duration;

use e2e::{Load, OwnServer, Part, Person, Plan, eventually, metric, readiness};
use reqwest::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use crate::{MESSAGES, ROOMS};

const SOON: Duration = Duration::from_secs(30);

/// How the first post that fails is answered, and whether it says when to try again. What PostgreSQL leaves behind may
/// still write one or two.
async fn first_refusal(person: &Person, room: i64) -> anyhow::Result<(StatusCode, bool)> {
    loop {
        let post = person.request(Method::POST, &format!("/api/rooms/{room}/messages"));
        let body = json!({ "text": "is anybody there?", "client_id": Uuid::new_v4() });
        let answer = post.json(&body).send().await?;
        if !answer.status().is_success() {
            return Ok((answer.status(), answer.headers().contains_key("retry-after")));
        }
    }
}

#[tokio::test]
async fn a_postgres_that_is_killed_comes_back_while_sockets_stay_and_posts_are_told_to_wait() -> anyhow::Result<()> {
    let server = OwnServer::new()?;
    let app = Plan::with_own_server(&server).start().await?;
    let mut load = Load::prepare(&app, ROOMS).await?;
    let aside = load.people[0].create_room("Aside").await?;
    let before = load.connections();

    let killing = async {
        load.has_saved(MESSAGES / 2).await?;
        server.hold_starts()?;
        server.kill()?;
        let refusal = first_refusal(&load.people[0], aside).await?;
        server.let_start()?;
        anyhow::Ok(refusal)
    };
    let ((), refusal) = tokio::try_join!(load.write(MESSAGES), killing)?;
    assert_eq!(refusal, (StatusCode::SERVICE_UNAVAILABLE, true), "try again, it says");

    load.write(MESSAGES / 10).await?;
    load.check().await?;
    assert_eq!(load.connections(), before, "nobody had to come back");
    eventually("everything is ready again", SOON, async || {
        let said = readiness(&app.http()).await?;
        anyhow::ensure!(said["ready"] == true, "{said}");
        Ok(true)
    })
    .await?;
    for (name, labels) in [("roomcast_table_bytes", "chat_cdc"), ("roomcast_disk_bytes", "postgres")] {
        assert!(metric(&app.http(), name, labels).await? > 0.0, "{name} of {labels} is measured");
    }
    let log = app.log(Part::Backend);
    assert!(log.contains("is started again") && log.contains("PostgreSQL is back"), "{log}");
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

#[tokio::test]
async fn a_postgres_that_does_not_come_back_ends_the_demo_after_some_tries() -> anyhow::Result<()> {
    let server = OwnServer::new()?;
    let mut app = Plan::with_own_server(&server).start().await?;
    server.fail_starts()?;
    server.kill()?;
    assert!(!app.ended(Part::Backend).await?, "it ends with an error");
    let log = app.log(Part::Backend);
    assert!(log.contains("did not stay up after 5 starts in a row"), "{log}");
    Ok(())
}

//! What the relay meets on its way: a hub that is down, rows that can never pass, a client's membership that changes.

use std::time::Duration;

use e2e::{App, Part, Shape, TestClient};
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

use crate::database;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_hub_that_is_down_for_ten_seconds_gets_everything_after() -> anyhow::Result<()> {
    let database = database().await;
    let mut app = App::start(Shape::Split, &database.url).await?;
    let alice = app.person("alice").await?;
    let room = alice.create_room("Patience").await?;
    let mut client = TestClient::connect(&alice, &app.websocket()).await?;
    client.caught_up(&format!("room:{room}"), 1, SOON).await?;

    app.kill(Part::Hub).await?;
    for number in 0..50 {
        alice.say(room, &format!("while the hub is down {number}")).await?;
    }
    // The length of the outage is the point of this test, not a wait for something.
    sleep(Duration::from_secs(10)).await;
    app.restart(Part::Hub).await?;

    client.caught_up(&format!("room:{room}"), 51, SOON).await?;
    assert_eq!(client.journal(&format!("room:{room}")).faults, Vec::<String>::new());
    let told = |words: &str| app.log(Part::Relay).lines().filter(|line| line.contains(words)).count();
    while told("the destination takes rows again") == 0 {
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((told("rows wait"), told("the destination takes rows again")), (1, 1), "{}", app.log(Part::Relay));
    let mut db = PgConnection::connect(&database.url).await?;
    let letters: i64 = sqlx::query_scalar("select count(*) from dead_letters").fetch_one(&mut db).await?;
    assert_eq!(letters, 0, "an outage makes no dead letters");
    Ok(())
}

async fn rows_that_can_never_pass_step_aside(shape: Shape) -> anyhow::Result<()> {
    let database = database().await;
    let app = App::start(shape, &database.url).await?;
    let alice = app.person("alice").await?;
    let room = alice.create_room("Poison").await?;
    let channel = format!("room:{room}");
    let mut client = TestClient::connect(&alice, &app.websocket()).await?;

    let mut db = PgConnection::connect(&database.url).await?;
    let partition = i16::try_from(room % 16)?;
    for (method, payload, partition) in [
        ("shout", r#"{"channel":"room:1","data":1}"#, partition),
        ("publish", r#"{"data":"to nobody"}"#, partition),
        ("publish", r#"{"channel":"nowhere:1","data":"an unknown namespace"}"#, partition),
        ("publish", r#"{"channel":"room:1","data":"an unknown partition"}"#, 99),
    ] {
        sqlx::query("insert into chat_outbox (method, payload, partition) values ($1, $2::jsonb, $3)")
            .bind(method)
            .bind(payload)
            .bind(partition)
            .execute(&mut db)
            .await?;
    }
    alice.say(room, "after the poison").await?;
    client.caught_up(&channel, 2, SOON).await?;

    let reasons = loop {
        let reasons: Vec<(String, String)> =
            sqlx::query_as("select method, reason from dead_letters order by id").fetch_all(&mut db).await?;
        if reasons.len() >= 4 {
            break reasons;
        }
        sleep(Duration::from_millis(50)).await;
    };
    let text = format!("{reasons:?}");
    for reason in ["shout", "channel", "partition"] {
        assert!(text.contains(reason), "{reason} is named in {text}");
    }
    let waiting: i64 = sqlx::query_scalar("select count(*) from chat_outbox").fetch_one(&mut db).await?;
    assert_eq!(waiting, 0, "nothing is left behind");
    Ok(())
}

#[tokio::test]
async fn poison_steps_aside_in_one_process() -> anyhow::Result<()> {
    rows_that_can_never_pass_step_aside(Shape::OneProcess).await
}

#[tokio::test]
async fn poison_steps_aside_in_three_processes() -> anyhow::Result<()> {
    rows_that_can_never_pass_step_aside(Shape::Split).await
}

async fn joining_and_leaving_reach_every_tab(shape: Shape) -> anyhow::Result<()> {
    let database = database().await;
    let app = App::start(shape, &database.url).await?;
    let (alice, bob) = (app.person("alice").await?, app.person("bob").await?);
    let room = alice.create_room("Come and go").await?;
    let channel = format!("room:{room}");
    let mut tabs =
        [TestClient::connect(&bob, &app.websocket()).await?, TestClient::connect(&bob, &app.websocket()).await?];

    bob.join(room).await?;
    alice.say(room, "welcome").await?;
    for tab in &mut tabs {
        tab.caught_up(&channel, 3, SOON).await?;
        let journal = tab.journal(&channel);
        assert_eq!(journal.faults, Vec::<String>::new());
        assert_eq!(journal.lines.last().map(|line| line.text.as_str()), Some("welcome"));
    }
    bob.leave(room).await?;
    alice.say(room, "behind his back").await?;
    bob.join(room).await?;
    alice.say(room, "again").await?;
    for tab in &mut tabs {
        tab.caught_up(&channel, 7, SOON).await?;
        let texts: Vec<_> = tab.journal(&channel).lines.into_iter().map(|line| line.text).collect();
        assert!(!texts.contains(&"behind his back".to_owned()), "{texts:?}");
    }
    Ok(())
}

#[tokio::test]
async fn joining_and_leaving_reach_every_tab_in_one_process() -> anyhow::Result<()> {
    joining_and_leaving_reach_every_tab(Shape::OneProcess).await
}

#[tokio::test]
async fn joining_and_leaving_reach_every_tab_in_three_processes() -> anyhow::Result<()> {
    joining_and_leaving_reach_every_tab(Shape::Split).await
}

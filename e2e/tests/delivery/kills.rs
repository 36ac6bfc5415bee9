//! kill -9 in the middle of the load.

use e2e::{App, Load, Part, Shape};

use crate::{MESSAGES, ROOMS, database};

/// Runs the load; halfway through, kills these parts and starts them again.
async fn survives_the_death_of(shape: Shape, parts: &[Part]) -> anyhow::Result<()> {
    let database = database().await;
    let mut app = App::start(shape, &database.url).await?;
    let mut load = Load::prepare(&app, ROOMS).await?;
    let before = load.connections();

    let killing = async {
        load.has_saved(MESSAGES / 2).await?;
        for &part in parts {
            app.kill(part).await?;
        }
        for &part in parts {
            app.restart(part).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(load.write(MESSAGES), killing)?;
    load.check().await?;

    let sockets_died = shape == Shape::OneProcess || parts.contains(&Part::Hub);
    assert_eq!(
        load.connections() > before,
        sockets_died && !parts.is_empty(),
        "clients came back only where they had to"
    );
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

#[tokio::test]
async fn one_process_delivers_everything_once_and_in_order() -> anyhow::Result<()> {
    survives_the_death_of(Shape::OneProcess, &[]).await
}

#[tokio::test]
async fn three_processes_deliver_everything_once_and_in_order() -> anyhow::Result<()> {
    survives_the_death_of(Shape::Split, &[]).await
}

#[tokio::test]
async fn the_relay_may_die() -> anyhow::Result<()> {
    survives_the_death_of(Shape::Split, &[Part::Relay]).await
}

#[tokio::test]
async fn the_hub_may_die() -> anyhow::Result<()> {
    survives_the_death_of(Shape::Split, &[Part::Hub]).await
}

#[tokio::test]
async fn the_backend_may_die() -> anyhow::Result<()> {
    survives_the_death_of(Shape::Split, &[Part::Backend]).await
}

#[tokio::test]
async fn relay_and_hub_may_die_together() -> anyhow::Result<()> {
    survives_the_death_of(Shape::Split, &[Part::Relay, Part::Hub]).await
}

#[tokio::test]
async fn the_whole_process_may_die() -> anyhow::Result<()> {
    survives_the_death_of(Shape::OneProcess, &[Part::Backend]).await
}

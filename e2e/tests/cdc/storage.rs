//! What keeps the rows goes away: Kafka, PostgreSQL.

use e2e::Shape;

use crate::stage::{Publications, settled_load, stage};

const MESSAGES: usize = 100;

#[tokio::test]
async fn what_was_written_while_kafka_was_stopped_arrives_when_it_is_back() -> anyhow::Result<()> {
    let stage = stage().await?;
    let app = stage.plan(Shape::Split).start().await?;
    let mut load = settled_load(&app, 6).await?;
    let before = Publications::of(&app).await?;
    load.travels_by(&["cdc", "message"]);
    load.write(MESSAGES).await?; // so that the topics are there: a broker that goes while one is made fails the task
    load.check().await?;
    stage.stack.stop_kafka().await;
    load.write(MESSAGES).await?;
    stage.stack.start_kafka().await?;
    load.check().await?;

    let since = Publications::since(&app, before, 2 * MESSAGES).await?;
    assert!(since.filled < 1.0, "all of it came by its own way: {since:?}");
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

#[tokio::test]
async fn kafka_is_restarted_and_killed_under_load_in_one_process() -> anyhow::Result<()> {
    let stage = stage().await?;
    let app = stage.plan(Shape::OneProcess).start().await?;
    let mut load = settled_load(&app, 6).await?;
    load.travels_by(&["cdc", "message", "outbox"]);
    load.write(MESSAGES).await?;
    load.check().await?;
    let restarting = async {
        stage.stack.stop_kafka().await;
        stage.stack.start_kafka().await?;
        load.has_saved(load.saved() + MESSAGES).await?;
        stage.stack.kill_kafka().await;
        load.has_saved(load.saved() + MESSAGES).await?;
        stage.stack.start_kafka().await?;
        load.has_saved(load.saved() + MESSAGES).await
    };
    let mut restarted = Ok(());
    load.write_at(60, async { restarted = restarting.await }).await?;
    restarted?;
    load.check().await?;
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

#[tokio::test]
async fn a_crash_of_postgres_is_survived_by_every_way() -> anyhow::Result<()> {
    let stage = stage().await?;
    let app = stage.plan(Shape::OneProcess).start().await?;
    let mut load = settled_load(&app, 8).await?;
    load.travels_by(&["cdc", "message", "wal", "outbox"]);
    let restarting = async {
        load.has_saved(MESSAGES).await?;
        stage.restart_postgres().await
    };
    tokio::try_join!(load.write(2 * MESSAGES), restarting)?;
    load.write(MESSAGES).await?;
    load.check().await?;
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

#[tokio::test]
async fn kafka_and_postgres_may_be_away_at_once() -> anyhow::Result<()> {
    let stage = stage().await?;
    let app = stage.plan(Shape::Split).start().await?;
    let mut load = settled_load(&app, 8).await?;
    load.travels_by(&["cdc", "message", "wal", "outbox"]);
    load.write(MESSAGES).await?;
    load.check().await?;
    stage.stack.kill_kafka().await;
    let restarting = async {
        load.has_saved(load.saved() + MESSAGES / 2).await?;
        stage.restart_postgres().await
    };
    tokio::try_join!(load.write(MESSAGES), restarting)?;
    stage.stack.start_kafka().await?;
    load.write(MESSAGES).await?;
    load.check().await?;
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

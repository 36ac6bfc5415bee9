//! Relays that read Kafka: one that dies at the worst moment, one that cannot deliver, one that comes and goes.

use e2e::{Gate, Part, Passage, Process, Shape, eventually, readiness};

use crate::stage::{PATIENCE, Publications, settled_load, stage};

const MESSAGES: usize = 100;
/// Of both topics.
const PARTITIONS: usize = 16;

#[tokio::test]
async fn a_relay_killed_between_publishing_and_committing_repeats_and_clients_see_no_repeat() -> anyhow::Result<()> {
    let stage = stage().await?;
    let mut plan = stage.plan(Shape::Split);
    let mut gate = Gate::before(plan.address(Part::Hub)).await?;
    plan.relay_delivers_to = gate.address();
    let mut app = plan.start().await?;
    let mut load = settled_load(&app, 6).await?;
    load.travels_by(&["cdc", "message", "wal"]);
    load.write(MESSAGES).await?;
    load.check().await?;

    // The hub takes what comes, and the relay never hears of it.
    let (before, kept) = (Publications::of(&app).await?, gate.kept());
    gate.turn(Passage::OneWay);
    load.write(MESSAGES).await?;
    gate.keeps_more_than(kept).await?;
    app.kill(Part::Relay).await?;
    gate.turn(Passage::Open);
    app.restart(Part::Relay).await?;
    load.check().await?;

    let repeated = async || Ok(Publications::of(&app).await?.repeats > before.repeats);
    eventually("what the hub had taken comes again", PATIENCE, repeated).await?;
    let since = Publications::since(&app, before, MESSAGES).await?;
    assert!(since.filled < 1.0, "all of it came by its own way: {since:?}");
    load.check().await?;
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

#[tokio::test]
async fn a_hub_out_of_reach_is_waited_for_and_nothing_is_put_aside() -> anyhow::Result<()> {
    let stage = stage().await?;
    let mut plan = stage.plan(Shape::Split);
    let gate = Gate::before(plan.address(Part::Hub)).await?;
    plan.relay_delivers_to = gate.address();
    let app = plan.start().await?;
    let mut load = settled_load(&app, 6).await?;
    let (mut db, before) = (stage.database().await?, Publications::of(&app).await?);
    let dead_letters = "select count(*) from dead_letters";
    let put_aside: i64 = sqlx::query_scalar(dead_letters).fetch_one(&mut db).await?;
    load.travels_by(&["cdc", "message", "wal"]);
    gate.turn(Passage::Shut);
    load.write(MESSAGES).await?;
    gate.turn(Passage::Open);
    load.check().await?;

    let since = Publications::since(&app, before, MESSAGES).await?;
    assert!(since.filled < 1.0, "all of it came by its own way: {since:?}");
    assert_eq!(sqlx::query_scalar::<_, i64>(dead_letters).fetch_one(&mut db).await?, put_aside);
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

/// How many of Kafka's partitions a relay carries.
async fn partitions(address: &str) -> anyhow::Result<usize> {
    let said = readiness(address).await?;
    let sources = said["parts"]["relay"]["details"]["sources"].as_array().cloned().unwrap_or_default();
    let kafka = sources.iter().find(|source| source["name"] == "kafka");
    Ok(kafka.and_then(|kafka| kafka["lag"]["partitions"].as_object()).map_or(0, serde_json::Map::len))
}

#[tokio::test]
async fn a_second_relay_that_comes_and_goes_under_load_loses_and_doubles_nothing() -> anyhow::Result<()> {
    let stage = stage().await?;
    let app = stage.plan(Shape::Split).start().await?;
    let mut load = settled_load(&app, 8).await?;
    let before = Publications::of(&app).await?;
    load.travels_by(&["cdc", "message"]);
    let first = app.address(Part::Relay);
    let come_and_go =
        async {
            eventually("one relay has all partitions", PATIENCE, async || Ok(partitions(&first).await? == PARTITIONS))
                .await?;
            let mut second = app.another_relay().await?;
            shared(&first, &second).await?;
            load.has_saved(load.saved() + MESSAGES).await?;
            assert!(second.stop().await?, "it stops cleanly on Ctrl-C");
            let mut third = app.another_relay().await?;
            shared(&first, &third).await?;
            load.has_saved(load.saved() + MESSAGES).await?;
            third.kill().await?;
            eventually("the first has all partitions again", PATIENCE, async || {
                Ok(partitions(&first).await? == PARTITIONS)
            })
            .await?;
            load.has_saved(load.saved() + MESSAGES).await
        };
    let mut done = Ok(());
    load.write_at(100, async { done = come_and_go.await }).await?;
    done?;
    load.check().await?;

    let since = Publications::since(&app, before, load.saved()).await?;
    assert!(since.filled < 1.0, "all of it came by its own way: {since:?}");
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

async fn shared(first: &str, second: &Process) -> anyhow::Result<()> {
    eventually("two relays share the partitions", PATIENCE, async || {
        let (of_first, of_second) = (partitions(first).await?, partitions(second.address()).await?);
        Ok(of_first + of_second == PARTITIONS && of_first > 0 && of_second > 0)
    })
    .await
}

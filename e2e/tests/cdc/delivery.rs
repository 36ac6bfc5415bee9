//! Each way by itself, with nothing broken: once, in order, without a hole, and without help from the timeline.

use e2e::{Shape, eventually};

use crate::stage::{PATIENCE, Publications, settled_load, stage};

const MESSAGES: usize = 200;

async fn each_way_delivers(shape: Shape) -> anyhow::Result<()> {
    let stage = stage().await?;
    let app = stage.plan(shape).start().await?;
    let mut load = settled_load(&app, 8).await?;
    for way in ["cdc", "message", "wal", "api_cdc", "api"] {
        load.people[0].switch_to(way).await?;
        let before = Publications::of(&app).await?;
        load.write(MESSAGES).await?;
        load.check().await?;

        let since = Publications::since(&app, before, MESSAGES).await?;
        if ["cdc", "message", "wal"].contains(&way) {
            assert!(since.filled < 1.0, "{way} has left holes: {since:?}");
        }
        if way == "api_cdc" {
            let twice = async || Ok((Publications::of(&app).await?.repeats - before.repeats) >= 200.0);
            eventually("the rows come behind what was published and are dropped", PATIENCE, twice).await?;
            load.check().await?;
        }
    }
    for &room in &load.rooms {
        let ways: Vec<_> = load.people[0].timeline(room).await?.into_iter().map(|line| line.mode).collect();
        assert!(
            ways.is_sorted_by_key(|way| ["outbox", "cdc", "message", "wal", "api_cdc", "api"]
                .iter()
                .position(|w| w == way)),
            "{ways:?}"
        );
    }
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

#[tokio::test]
async fn each_way_delivers_once_and_in_order_in_one_process() -> anyhow::Result<()> {
    each_way_delivers(Shape::OneProcess).await
}

#[tokio::test]
async fn each_way_delivers_once_and_in_order_in_three_processes() -> anyhow::Result<()> {
    each_way_delivers(Shape::Split).await
}

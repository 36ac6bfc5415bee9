//! Every mode in turn, once a second, while people write.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use e2e::{Person, Shape};

use crate::stage::{settled_load, stage};

const MODES: [&str; 6] = ["outbox", "cdc", "api_cdc", "message", "wal", "api"];
const RATE: u32 = 200;

/// `ROOMCAST_TEST_SWITCHING=60` for the minute that the issue names.
fn duration() -> Duration {
    let given = std::env::var("ROOMCAST_TEST_SWITCHING").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(given.unwrap_or(20))
}

/// Until the time is over and each mode was there twice. Gives how often each was.
async fn switch_once_a_second(admin: &Person, time: Duration) -> anyhow::Result<BTreeMap<&'static str, usize>> {
    let (begin, mut turns) = (Instant::now(), BTreeMap::new());
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    for mode in MODES.into_iter().cycle() {
        beat.tick().await;
        if begin.elapsed() > time && MODES.iter().all(|mode| turns.get(mode).is_some_and(|&turns| turns >= 2)) {
            break;
        }
        admin.switch_to(mode).await?;
        *turns.entry(mode).or_default() += 1;
    }
    Ok(turns)
}

async fn switching_loses_nothing(shape: Shape, time: Duration) -> anyhow::Result<()> {
    let stage = stage().await?;
    let app = stage.plan(shape).start().await?;
    let mut load = settled_load(&app, 20).await?;
    let admin = load.people[0].clone();
    for mode in MODES {
        admin.switch_to(mode).await?;
    }
    let (begin, mut switched) = (Instant::now(), Ok(BTreeMap::new()));
    load.write_at(RATE, async { switched = switch_once_a_second(&admin, time).await }).await?;
    let (turns, rate) = (switched?, f64::from(u32::try_from(load.saved())?) / begin.elapsed().as_secs_f64());
    load.check().await?;

    let mut lines = BTreeMap::new();
    for &room in &load.rooms {
        for line in load.people[0].timeline(room).await?.into_iter().filter(|line| line.kind == "text") {
            *lines.entry(line.mode).or_insert(0) += 1;
        }
    }
    #[expect(clippy::print_stderr, reason = "what was tried, for who looks")]
    {
        eprintln!("{rate:.0} messages a second; turns {turns:?}; lines {lines:?}");
    }
    assert!(MODES.iter().all(|&mode| lines.contains_key(mode)), "something travelled by each mode: {lines:?}");
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

#[tokio::test]
async fn switching_through_every_mode_loses_doubles_and_reorders_nothing_in_one_process() -> anyhow::Result<()> {
    switching_loses_nothing(Shape::OneProcess, duration()).await
}

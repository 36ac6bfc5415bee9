//! Connect stops, dies, or loses its slot.

use e2e::{Part, Shape, eventually, readiness, run};
use sqlx::PgConnection;

use crate::stage::{PATIENCE, Publications, settled_load, stage};

const MESSAGES: usize = 100;
/// What is said of a connector whose place in the log is lost.
const WAY_BACK: &str = "Remove the connector and apply it again";

#[tokio::test]
async fn what_was_written_while_connect_was_stopped_arrives_when_it_is_back() -> anyhow::Result<()> {
    let stage = stage().await?;
    let app = stage.plan(Shape::OneProcess).start().await?;
    let mut load = settled_load(&app, 6).await?;
    let before = Publications::of(&app).await?;
    load.travels_by(&["cdc", "message"]);
    stage.stack.stop_connect().await;
    load.write(MESSAGES).await?;
    stage.stack.start_connect().await?;
    load.check().await?;

    let since = Publications::since(&app, before, MESSAGES).await?;
    assert!(since.filled < 1.0, "all of it came by its own way: {since:?}");
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

#[tokio::test]
async fn a_connect_that_is_killed_under_load_repeats_and_clients_see_no_repeat() -> anyhow::Result<()> {
    let stage = stage().await?;
    let app = stage.plan(Shape::Split).start().await?;
    let mut load = settled_load(&app, 6).await?;
    let before = Publications::of(&app).await?;
    load.travels_by(&["cdc", "message"]);
    let fault = async {
        load.has_saved(MESSAGES).await?;
        stage.stack.kill_connect().await;
        load.has_saved(2 * MESSAGES).await?;
        stage.stack.start_connect().await?;
        load.has_saved(3 * MESSAGES).await
    };
    let mut faulted = Ok(());
    load.write_at(100, async { faulted = fault.await }).await?;
    faulted?;
    load.check().await?;

    let since = Publications::since(&app, before, load.saved()).await?;
    assert!(since.filled < 1.0, "all of it came by its own way: {since:?}");
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

/// Its reader comes back within a moment, so both at once.
pub(crate) async fn drop_slot(db: &mut PgConnection, slot: &str) -> anyhow::Result<bool> {
    let reader = "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1";
    sqlx::query(reader).bind(slot).execute(&mut *db).await?;
    Ok(sqlx::query("select pg_drop_replication_slot($1)").bind(slot).execute(&mut *db).await.is_ok())
}

#[tokio::test]
async fn a_dropped_slot_is_a_loud_failure_with_a_way_back_and_the_timeline_heals_the_clients() -> anyhow::Result<()> {
    let stage = stage().await?;
    let (database, connect) = (stage.database_url.as_str(), stage.stack.connect_url());
    let mut plan = stage.plan(Shape::Split);
    plan.relay_args.extend(["--connect-url", &connect, "--connectors", "rows,messages"].map(str::to_owned));
    let app = plan.start().await?;
    let mut load = settled_load(&app, 4).await?;
    load.travels_by(&["cdc"]);
    load.write(MESSAGES).await?;
    load.check().await?;

    let before = Publications::of(&app).await?;
    let mut db = stage.database().await?;
    eventually("the slot is gone", PATIENCE, async || drop_slot(&mut db, "roomcast_rows").await).await?;
    load.write(MESSAGES).await?; // which this way never sees
    let relay = app.address(Part::Relay);
    let told = async || Ok(readiness(&relay).await?["parts"]["connectors"]["reason"].to_string().contains(WAY_BACK));
    eventually("the relay that watches the connectors is not ready, and says why", PATIENCE, told).await?;
    let status = run(&["connectors", "status", "rows", "--connect-url", &connect, "--database-url", database]).await;
    assert!(format!("{status:?}").contains(WAY_BACK), "{status:?}");

    run(&["connectors", "remove", "rows", "--connect-url", &connect, "--database-url", database]).await?;
    run(&["connectors", "apply", "rows", "--connect-url", &connect, "--database-url", database]).await?;
    load.write(MESSAGES).await?;
    load.check().await?;
    let filled = async || Ok(Publications::of(&app).await?.filled > before.filled);
    eventually("the hub reports what it took from the timeline", PATIENCE, filled).await?;
    let ready = async || Ok(readiness(&relay).await?["parts"]["connectors"]["ready"] == true);
    eventually("the relay is ready again", PATIENCE, ready).await?;
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

//! Connections that go dead without a word, under load: within twice the bound everything flows again, and every client
//! ends with exactly the timeline.

use std::time::{Duration, Instant};

use e2e::{App, Dead, Load, Part, Plan, Shape, TestClient, Wire, eventually};
use embedded_postgres::Server;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection, PgConnection, Row};

/// As short as it may be on a busy machine.
const BOUND: Duration = Duration::from_secs(2);
/// What a busy machine takes for what takes milliseconds.
const MARGIN: Duration = Duration::from_secs(10);

const RATE: u32 = 100;

/// The connections of PostgreSQL's clients, by what each says first.
const STREAM_OF_THE_LOG: &str = "replication";
const EVERY_CONNECTION: &str = "";

/// The product, with what stands before one of its servers.
struct Scene {
    app: App,
    wire: Wire,
    _server: Server,
    database: String,
}

/// A replication slot's name is unique on a server, not in a database: each has a server of its own.
async fn plan(shape: Shape) -> (Plan, Server, String) {
    let server = embedded_postgres::testkit::private_server().await;
    let url = server.url("postgres");
    let mut plan = Plan::new(shape, &url);
    plan.relay_args.push("--wal".to_owned());
    plan.silence = Some(BOUND);
    (plan, server, url)
}

fn at(url: String) -> Vec<String> {
    vec!["--database-url".to_owned(), url]
}

/// With a wire before the database as the relay sees it; in one process as everybody does.
async fn before_the_relays_database(shape: Shape) -> anyhow::Result<Scene> {
    let (mut plan, server, database) = plan(shape).await;
    let (wire, by_wire) = Wire::before_database(&database).await?;
    match shape {
        Shape::OneProcess => plan.database = at(by_wire),
        Shape::Split => plan.relay_reads_from = at(by_wire),
    }
    Ok(Scene { app: plan.start().await?, wire, _server: server, database })
}

impl Scene {
    /// People write by both ways; in the middle of it the wire goes dead for those who said this.
    async fn goes_on_without(&self, dead: Dead, said: &str) -> anyhow::Result<()> {
        let admin = self.app.person("alice").await?;
        admin.switch_to("wal").await?;
        let mut load = Load::prepare(&self.app, 4).await?;
        load.travels_by(&["wal", "outbox"]);
        let mut witness = TestClient::connect(&admin, &self.app.websocket()).await?;

        let after = async {
            load.has_saved(100).await?;
            assert!(self.wire.cut(dead, said) > 0, "{said:?} is connected");
            let cut = Instant::now();
            tokio::time::sleep(BOUND * 2).await; // what is promised, not a wait for something
            for &room in &load.rooms {
                let line = format!("after the silence in room {room}");
                load.say_here(room, &line).await?;
                let channel = format!("room:{room}");
                let said = |journal: &e2e::Journal| journal.lines.iter().any(|seen| seen.text == line);
                assert!(
                    witness.sees(&channel, MARGIN, said).await,
                    "{channel} is still silent {:?} after the cut:\n{}",
                    cut.elapsed(),
                    self.app.log(Part::Relay)
                );
            }
            anyhow::Ok(())
        };
        let mut outcome = Ok(());
        load.write_at(RATE, async { outcome = after.await }).await?;
        outcome?;
        load.check().await
    }
}

#[tokio::test]
async fn the_stream_of_the_log_may_go_dead() -> anyhow::Result<()> {
    for dead in [Dead::Both, Dead::ToClient, Dead::ToServer] {
        let scene = before_the_relays_database(Shape::Split).await?;
        scene.goes_on_without(dead, STREAM_OF_THE_LOG).await?;
        let log = scene.app.log(Part::Relay);
        assert!(log.contains("the write-ahead log"), "{dead:?}: {log}");
    }
    Ok(())
}

#[tokio::test]
async fn every_session_of_the_relay_may_go_dead() -> anyhow::Result<()> {
    for dead in [Dead::Both, Dead::ToClient, Dead::ToServer] {
        let scene = before_the_relays_database(Shape::Split).await?;
        scene.goes_on_without(dead, EVERY_CONNECTION).await?;
    }
    Ok(())
}

#[tokio::test]
async fn everything_between_one_process_and_its_database_may_go_dead() -> anyhow::Result<()> {
    for dead in [Dead::Both, Dead::ToClient, Dead::ToServer] {
        let scene = before_the_relays_database(Shape::OneProcess).await?;
        scene.goes_on_without(dead, EVERY_CONNECTION).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_pool_of_the_backend_may_go_dead() -> anyhow::Result<()> {
    for dead in [Dead::Both, Dead::ToClient, Dead::ToServer] {
        let (mut plan, server, database) = plan(Shape::Split).await;
        let (wire, by_wire) = Wire::before_database(&database).await?;
        plan.database = at(by_wire);
        let scene = Scene { app: plan.start().await?, wire, _server: server, database };
        // More than once: a connection that the pool never gets back would be missed at some time.
        for _ in 0..3 {
            scene.goes_on_without(dead, EVERY_CONNECTION).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_the_relay_delivers_by_may_go_dead() -> anyhow::Result<()> {
    for dead in [Dead::Both, Dead::ToClient, Dead::ToServer] {
        let (mut plan, server, database) = plan(Shape::Split).await;
        let wire = Wire::before(plan.address(Part::Hub)).await?;
        plan.relay_delivers_to = wire.address();
        Scene { app: plan.start().await?, wire, _server: server, database }
            .goes_on_without(dead, EVERY_CONNECTION)
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_the_hub_asks_by_may_go_dead() -> anyhow::Result<()> {
    for dead in [Dead::Both, Dead::ToClient, Dead::ToServer] {
        let (mut plan, _server, _database) = plan(Shape::Split).await;
        let wire = Wire::before(plan.address(Part::Backend)).await?;
        plan.hub_asks = wire.address();
        let app = plan.start().await?;
        let alice = app.person("alice").await?;
        let room = alice.create_room("Questions").await?;
        // Its questions have opened the connection.
        let _first = TestClient::connect(&alice, &app.websocket()).await?;
        assert!(wire.cut(dead, EVERY_CONNECTION) > 0);
        let cut = Instant::now();
        let mut second = TestClient::connect(&alice, &app.websocket()).await?;
        second.subscribed(&format!("room:{room}"), MARGIN).await?;
        assert!(cut.elapsed() < BOUND * 2 + MARGIN, "{dead:?}: {:?}", cut.elapsed());
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_hangs_is_waited_for_by_name_and_its_slot_is_taken_when_it_lets_go() -> anyhow::Result<()> {
    let scene = before_the_relays_database(Shape::Split).await?;
    let alice = scene.app.person("alice").await?;
    alice.switch_to("wal").await?;
    let room = alice.create_room("Frozen").await?;
    let mut client = TestClient::connect(&alice, &scene.app.websocket()).await?;
    client.caught_up(&format!("room:{room}"), 1, MARGIN).await?;

    let mut db = PgConnection::connect(&scene.database).await?;
    let slot = "select active_pid from pg_replication_slots where slot_name = 'roomcast_wal'";
    let pid: i32 = sqlx::raw_sql(slot).fetch_one(&mut db).await?.get(0);
    let walsender = Pid::from_raw(pid);
    kill(walsender, Signal::SIGSTOP)?;
    alice.say(room, "into the ice").await?;
    let waits = format!("the slot is still active for pid {pid} of the server");
    let told = eventually("the log says what is waited for", BOUND * 2 + MARGIN, async || {
        Ok(scene.app.log(Part::Relay).contains(&waits))
    });
    let told = told.await;
    kill(walsender, Signal::SIGCONT)?;
    told?;
    client.caught_up(&format!("room:{room}"), 2, BOUND * 2 + MARGIN).await?;
    assert_eq!(client.journal(&format!("room:{room}")).faults, Vec::<String>::new());
    Ok(())
}

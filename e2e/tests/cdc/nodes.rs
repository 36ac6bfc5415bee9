//! Many hubs as one, joined by Kafka: whichever comes and goes, the clients end with exactly the database's timeline.

use std::time::Duration;

use e2e::{App, Load, Part, Process, Proxy, Shape, TestClient, eventually, free_port, metric, readiness};

use crate::stage::{PATIENCE, Stage, stage};

const MESSAGES: usize = 100;
const RATE: u32 = 60;
const ROOMS: usize = 6;
/// Beside the eight of the load.
const MORE_CLIENTS: usize = 16;

/// Two hubs behind a proxy, and everybody there.
struct Nodes {
    app: App,
    /// Beside the app's.
    second: Option<Process>,
    second_address: String,
    load: Load,
    _proxy: Proxy,
}

impl Nodes {
    async fn start(stage: &Stage) -> anyhow::Result<Self> {
        let mut plan = stage.plan(Shape::Split);
        let second_address = format!("127.0.0.1:{}", free_port());
        let proxy = Proxy::before(vec![plan.address(Part::Hub), second_address.clone()]).await?;
        plan.engine = Some(format!("kafka://{}/nodes", stage.stack.bootstrap_servers()));
        plan.clients_come_by = proxy.address();
        // Nobody is told anything but by Kafka.
        for told in [&mut plan.relay_delivers_to, &mut plan.backend_publishes_to] {
            "127.0.0.1:1".clone_into(told);
        }
        let app = plan.start().await?;
        let second = Some(app.another_hub(&second_address).await?);
        let mut load = Load::prepare(&app, ROOMS).await?;
        for number in 0..MORE_CLIENTS {
            let person = &load.people[number % load.people.len()];
            load.clients.push(TestClient::connect(person, &app.websocket()).await?);
        }
        load.check().await?;
        let nodes = Self { app, second, second_address, load, _proxy: proxy };
        for hub in nodes.addresses() {
            assert!(metric(&hub, "hub_clients", "").await? > 0.0, "the proxy gives clients to {hub}");
        }
        Ok(nodes)
    }

    fn addresses(&self) -> [String; 2] {
        [self.app.address(Part::Hub), self.second_address.clone()]
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        assert!(self.app.stop().await?, "everything stops cleanly on Ctrl-C");
        if let Some(second) = &mut self.second {
            assert!(second.stop().await?, "so does the second hub");
        }
        Ok(())
    }
}

/// Each hub in turn ends on Ctrl-C and comes back; in the end one is killed.
async fn restart_one_after_the_other(
    app: &mut App,
    second: &mut Option<Process>,
    address: &str,
    saved: &mut tokio::sync::watch::Receiver<usize>,
) -> anyhow::Result<()> {
    let mut more = async || {
        let enough = *saved.borrow() + MESSAGES;
        saved.wait_for(|saved| *saved >= enough).await.map(|_| ())
    };
    more().await?;
    assert!(app.end(Part::Hub).await?, "the first hub stops cleanly");
    more().await?;
    app.restart(Part::Hub).await?;
    more().await?;
    if let Some(mut hub) = second.take() {
        assert!(hub.stop().await?, "the second hub stops cleanly");
    }
    *second = Some(app.another_hub(address).await?);
    more().await?;
    app.kill(Part::Hub).await?;
    more().await?;
    app.restart(Part::Hub).await?;
    more().await?;
    Ok(())
}

#[tokio::test]
async fn hubs_are_restarted_one_after_the_other_and_killed_under_load_and_every_client_has_the_timeline()
-> anyhow::Result<()> {
    let stage = stage().await?;
    let mut nodes = Nodes::start(&stage).await?;
    nodes.load.travels_by(&["outbox", "cdc", "api_cdc", "wal", "message"]);
    let (connected, mut saved) = (nodes.load.connections(), nodes.load.watch_saved());
    let Nodes { app, second, second_address, load, .. } = &mut nodes;
    let mut restarted = Ok(());
    let restarting = async { restarted = restart_one_after_the_other(app, second, second_address, &mut saved).await };
    load.write_at(RATE, restarting).await?;
    restarted?;
    load.check().await?;
    assert!(load.connections() > connected, "clients have moved");
    for hub in nodes.addresses() {
        let report = readiness(&hub).await?;
        assert_eq!(report["ready"], true, "{report}");
        assert!(metric(&hub, "roomcast_engine_records_total", "command").await? > 0.0);
        assert!(metric(&hub, "roomcast_engine_missed_total", "").await? < 1.0);
    }
    nodes.stop().await
}

#[tokio::test]
async fn kafka_goes_away_and_the_nodes_say_so_keep_their_clients_and_have_everything_when_it_is_back()
-> anyhow::Result<()> {
    let stage = stage().await?;
    let mut nodes = Nodes::start(&stage).await?;
    let hubs = nodes.addresses();
    let (connected, url) = (nodes.load.connections(), nodes.app.websocket());
    let mut late = None;
    let outage = async {
        let load = &nodes.load;
        load.has_saved(MESSAGES).await?;
        stage.stack.stop_kafka().await;
        load.has_saved(2 * MESSAGES).await?;
        for hub in &hubs {
            let told = async || {
                let engine = &readiness(hub).await?["parts"]["engine"];
                Ok(engine["ready"] == false && !engine["reason"].as_str().unwrap_or_default().is_empty())
            };
            eventually("the node says why it is not ready", PATIENCE, told).await?;
        }
        assert_eq!(load.connections(), connected, "everybody has stayed");
        // Whoever comes now is told where the rooms stand, and all who are there have what was missing until then.
        late = Some(TestClient::connect(&load.people[0], &url).await?);
        let filled = async || {
            let mut filled = 0.0;
            for hub in &hubs {
                filled += metric(hub, "hub_publications_total", "outcome=\"filled\"").await?;
            }
            Ok(filled > 0.0)
        };
        eventually("holes are filled from the timeline", PATIENCE, filled).await?;
        stage.stack.start_kafka().await?;
        load.has_saved(load.saved() + MESSAGES).await
    };
    let mut passed = Ok(());
    nodes.load.write_at(RATE, async { passed = outage.await }).await?;
    passed?;
    nodes.load.clients.extend(late);
    nodes.load.check().await?;
    for hub in &hubs {
        let ready = async || Ok(readiness(hub).await?["ready"] == true);
        eventually("the node is ready again", Duration::from_mins(1), ready).await?;
        assert!(metric(hub, "roomcast_engine_missed_total", "").await? < 1.0, "it went on where it stood");
    }
    assert_eq!(nodes.load.connections(), connected + 1, "nobody had to come back");
    nodes.stop().await
}

//! Many hubs as one, joined by Kafka: whichever comes and goes, the clients end with exactly the database's timeline.

use std::{io::Write, time::Duration};

use e2e::{App, Load, Part, Process, Proxy, Shape, TestClient, eventually, free_port, metric, readiness};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::time::sleep;

use crate::stage::{PATIENCE, Stage, stage};

/// The chat's rooms, and who is in them can be asked.
const HUB_CONFIG: &str = r#"{"channel": {"namespaces": [{
    "name": "room", "counted_by_truth": true, "ask_authority": true, "force_recovery": true,
    "history_size": 100, "history_ttl": "5m", "presence": true
}]}}"#;
/// The hubs' key where nobody sets another.
const API_KEY: &str = "roomcast-demo-secret-for-loopback-only";
const MESSAGES: usize = 100;
const RATE: u32 = 60;
const ROOMS: usize = 6;
/// In which records time out that wait for Kafka, and clients that nobody answers are asked about.
const LONGER_THAN_ANY_PATIENCE: Duration = Duration::from_secs(20);
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
    _config: NamedTempFile,
}

impl Nodes {
    async fn start(stage: &Stage) -> anyhow::Result<Self> {
        let mut plan = stage.plan(Shape::Split);
        let second_address = format!("127.0.0.1:{}", free_port());
        let proxy = Proxy::before(vec![plan.address(Part::Hub), second_address.clone()]).await?;
        plan.engine = Some(format!("kafka://{}/nodes", stage.stack.bootstrap_servers()));
        plan.clients_come_by = proxy.address();
        let mut config = NamedTempFile::new()?;
        config.write_all(HUB_CONFIG.as_bytes())?;
        plan.hub_args = vec!["--hub-config".to_owned(), config.path().display().to_string()];
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
        let nodes = Self { app, second, second_address, load, _proxy: proxy, _config: config };
        for hub in nodes.addresses() {
            assert!(metric(&hub, "hub_clients", "").await? > 0.0, "the proxy gives clients to {hub}");
        }
        Ok(nodes)
    }

    fn addresses(&self) -> [String; 2] {
        [self.app.address(Part::Hub), self.second_address.clone()]
    }

    /// Whichever node is asked, the answer is that of all of them.
    async fn know_each_other(&self) -> anyhow::Result<()> {
        let (clients, people) = (self.load.clients.len(), self.load.people.len());
        for hub in self.addresses() {
            for room in self.load.rooms.iter().map(|room| format!("room:{room}")) {
                let together = async || {
                    let stats = ask(&hub, "presence_stats", &json!({ "channel": room })).await?;
                    let channels = ask(&hub, "channels", &json!({ "pattern": "room:*" })).await?;
                    anyhow::ensure!(
                        stats["num_clients"] == clients
                            && stats["num_users"] == people
                            && channels["channels"][&room]["num_clients"] == clients,
                        "{clients} clients of {people} people: {stats} {channels}"
                    );
                    Ok(true)
                };
                eventually("everybody is counted", PATIENCE, together).await?;
            }
            let two = async || Ok(ask(&hub, "info", &json!({})).await?["nodes"].as_array().map(Vec::len) == Some(2));
            eventually("there are two nodes", PATIENCE, two).await?;
        }
        Ok(())
    }

    /// What a server asks one of the nodes is done by all.
    async fn hear_each_other(&mut self) -> anyhow::Result<()> {
        for (number, hub) in self.addresses().into_iter().enumerate() {
            let (channel, word) = ("system:all", json!({ "word": number, "of": self.load.connections() }));
            ask(&hub, "publish", &json!({ "channel": channel, "data": word })).await?;
            for client in &mut self.load.clients {
                let heard = client.sees(channel, PATIENCE, |journal| journal.news.contains(&word)).await;
                assert!(heard, "all have heard {word} of {hub}");
                assert_eq!(client.journal(channel).news.iter().filter(|news| **news == word).count(), 1);
            }
        }
        Ok(())
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        assert!(self.app.stop().await?, "everything stops cleanly on Ctrl-C");
        if let Some(second) = &mut self.second {
            assert!(second.stop().await?, "so does the second hub");
        }
        Ok(())
    }
}

/// The result of a method of a hub's server API.
async fn ask(hub: &str, method: &str, body: &Value) -> anyhow::Result<Value> {
    let request = reqwest::Client::new().post(format!("http://{hub}/api/{method}")).header("x-api-key", API_KEY);
    let answer: Value = request.json(body).send().await?.error_for_status()?.json().await?;
    anyhow::ensure!(answer["error"].is_null(), "{method}: {answer}");
    Ok(answer["result"].clone())
}

/// Its own server is up, and yet sockets are refused.
async fn is_shut(hub: &str) -> anyhow::Result<bool> {
    let socket = reqwest::get(format!("http://{hub}/connection/websocket")).await?;
    let parts = &readiness(hub).await?["parts"];
    Ok(socket.status() == 503 && parts["sockets"]["ready"] == false && parts["engine"]["ready"] == false)
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
    nodes.know_each_other().await?;
    nodes.hear_each_other().await?;
    nodes.load.travels_by(&["outbox", "cdc", "api_cdc", "wal", "message"]);
    let (connected, mut saved) = (nodes.load.connections(), nodes.load.watch_saved());
    let Nodes { app, second, second_address, load, .. } = &mut nodes;
    let mut restarted = Ok(());
    let restarting = async { restarted = restart_one_after_the_other(app, second, second_address, &mut saved).await };
    load.write_at(RATE, restarting).await?;
    restarted?;
    load.check().await?;
    assert!(load.connections() > connected, "clients have moved");
    nodes.know_each_other().await?;
    nodes.hear_each_other().await?;
    for hub in nodes.addresses() {
        let report = readiness(&hub).await?;
        assert_eq!(report["ready"], true, "{report}");
        assert!(metric(&hub, "roomcast_engine_records_total", "command").await? > 0.0);
        assert!(metric(&hub, "roomcast_engine_missed_total", "").await? < 1.0);
    }
    nodes.stop().await
}

#[tokio::test]
async fn kafka_is_restarted_and_killed_under_load_and_every_client_has_the_timeline() -> anyhow::Result<()> {
    let stage = stage().await?;
    let mut nodes = Nodes::start(&stage).await?;
    nodes.load.travels_by(&["outbox", "cdc", "api_cdc", "wal", "message"]);
    let (connected, mut saved) = (nodes.load.connections(), nodes.load.watch_saved());
    let mut more = async || {
        let enough = *saved.borrow() + MESSAGES;
        saved.wait_for(|saved| *saved >= enough).await?;
        anyhow::Ok(())
    };
    let restarting = async {
        more().await?;
        stage.stack.stop_kafka().await;
        stage.stack.start_kafka().await?;
        more().await?;
        stage.stack.kill_kafka().await;
        more().await?;
        stage.stack.start_kafka().await?;
        more().await?;
        stage.stack.stop_kafka().await;
        sleep(LONGER_THAN_ANY_PATIENCE).await;
        stage.stack.start_kafka().await?;
        more().await
    };
    let mut restarted = Ok(());
    nodes.load.write_at(RATE, async { restarted = restarting.await }).await?;
    restarted?;
    nodes.load.check().await?;
    assert_eq!(nodes.load.connections(), connected, "nobody had to come back");
    for hub in nodes.addresses() {
        let ready = async || Ok(readiness(&hub).await?["ready"] == true);
        eventually("the node is ready again", PATIENCE, ready).await?;
        assert!(metric(&hub, "roomcast_engine_missed_total", "").await? < 1.0, "it went on where it stood");
    }
    nodes.know_each_other().await?;
    nodes.hear_each_other().await?;
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
        let newcomer = format!("127.0.0.1:{}", free_port());
        let back = async {
            eventually("a node without a place lets nobody in", PATIENCE, async || is_shut(&newcomer).await).await?;
            Ok(stage.stack.start_kafka().await?)
        };
        let (mut newcomer, ()) = tokio::try_join!(nodes.app.another_hub(&newcomer), back)?;
        assert!(newcomer.stop().await?, "it has become ready, and stops cleanly");
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

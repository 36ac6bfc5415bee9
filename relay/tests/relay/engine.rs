//! Kafka as the engine of many hubs: what is published reaches every tail, in the order of each room, whatever goes and
//! comes back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use protocol::{Channel, Command, Epoch, Offset, Publish, RoomId};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    producer::FutureRecord,
};
use relay::{
    Destination, Verdict,
    engine::{EngineConfig, EngineStatus, Listener, NodeBus, Publications, Tail, TailHandle},
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    stack::{Topic, stack, stack_alone},
    starting::Starting,
};

const PATIENCE: Duration = Duration::from_mins(1);

/// Topics of the test's own.
fn config(stack: &debezium::Stack) -> EngineConfig {
    EngineConfig {
        prefix: format!("test-{:016x}", rand::random::<u64>()),
        look_interval: Duration::from_millis(200),
        ..EngineConfig::new(stack.bootstrap_servers())
    }
}

fn publish(room: i64, version: u64) -> Command {
    let data = serde_json::value::to_raw_value(&version).unwrap();
    let publish = Publish::new(Channel::room(RoomId(room)), data);
    Command::Publish(Publish { version: Some(Offset(version)), version_epoch: Some(Epoch::from("e")), ..publish })
}

/// Remembers what it hears.
#[derive(Default)]
struct Ear {
    heard: watch::Sender<Vec<(String, u64)>>,
    said: watch::Sender<Vec<String>>,
    missed: watch::Sender<usize>,
}

#[async_trait]
impl Listener for Ear {
    async fn publications(&self, commands: Vec<Command>) {
        let heard = commands.into_iter().map(|command| match command {
            Command::Publish(publish) => (publish.channel.to_string(), publish.version.unwrap().0),
            other => panic!("{other:?} is not a publish"),
        });
        self.heard.send_modify(|all| all.extend(heard));
    }

    async fn said(&self, messages: Vec<Vec<u8>>) {
        let messages = messages.into_iter().map(|message| String::from_utf8(message).unwrap());
        self.said.send_modify(|all| all.extend(messages));
    }

    async fn missed(&self) {
        self.missed.send_modify(|times| *times += 1);
    }
}

/// A tail that runs until it is dropped.
struct Node {
    ear: Arc<Ear>,
    handle: TailHandle,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), relay::RelayError>>,
}

impl Node {
    fn begin(config: &EngineConfig) -> Self {
        let ear = Arc::new(Ear::default());
        let tail = Tail::new(config.clone(), ear.clone());
        let (handle, shutdown) = (tail.handle(), CancellationToken::new());
        let task = tokio::spawn(tail.run(shutdown.clone()));
        Self { ear, handle, shutdown, task }
    }

    async fn start(config: &EngineConfig) -> Self {
        let node = Self::begin(config);
        timeout(PATIENCE, node.handle.placed()).await.expect("the tail to be placed");
        node
    }

    /// Until it has heard this.
    async fn hears(&self, room: i64, version: u64) {
        let wanted = (format!("room:{room}"), version);
        let mut heard = self.ear.heard.subscribe();
        let there = timeout(PATIENCE, heard.wait_for(|all| all.contains(&wanted))).await;
        assert!(there.is_ok(), "{wanted:?} is not among {:?}", self.ear.heard.borrow().len());
    }

    async fn is(&self, what: &str, wanted: impl Fn(&EngineStatus) -> bool) {
        let wait = async {
            while !wanted(&self.handle.status()) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not {what}: {:?}", self.handle.status()));
    }

    /// What came, in its order: a repeat is a hub's to drop, a hole would be a broken promise.
    fn newest(&self) -> HashMap<String, u64> {
        let mut newest = HashMap::new();
        for (channel, version) in self.ear.heard.borrow().iter() {
            let newest = newest.entry(channel.clone()).or_insert(0);
            assert!(*version <= *newest + 1, "{channel}: {version} came after {newest}");
            *newest = (*version).max(*newest);
        }
        newest
    }

    async fn stop(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.task).await.expect("the tail to end").expect("no panic").expect("a clean stop");
    }
}

#[tokio::test]
async fn what_is_published_reaches_every_node_once_and_in_the_order_of_each_room() {
    let stack = stack().await;
    let config = config(&stack);
    let nodes = [Node::start(&config).await, Node::start(&config).await];
    let publications = Publications::new(config);
    for versions in (1..=300_u64).collect::<Vec<_>>().chunks(30) {
        let batch: Vec<_> =
            versions.iter().flat_map(|&version| (1..=20).map(move |room| publish(room, version))).collect();
        assert!(publications.deliver(&batch).await.unwrap().iter().all(|verdict| *verdict == Verdict::Accepted));
    }
    for node in nodes {
        for room in 1..=20 {
            node.hears(room, 300).await;
        }
        assert_eq!(node.newest().len(), 20);
        assert_eq!(node.ear.heard.borrow().len(), 20 * 300, "each once");
        node.is("caught up", |status| status.ready && status.lag.values().all(|lag| *lag == 0)).await;
        assert_eq!(node.handle.status().lag.len(), 16, "of two topics");
        node.stop().await;
    }
}

#[tokio::test]
async fn whatever_is_published_once_a_tail_is_placed_is_read_by_it() {
    let stack = stack().await;
    let config = config(&stack);
    let publications = Publications::new(config.clone());
    publications.deliver(&[publish(1, 1)]).await.unwrap();
    for version in 2..=12 {
        let node = Node::start(&config).await;
        publications.deliver(&[publish(1, version)]).await.unwrap();
        node.hears(1, version).await;
        assert_eq!(node.ear.heard.borrow().len(), 1, "and nothing older");
        node.stop().await;
    }
}

#[tokio::test]
async fn what_kafka_never_takes_is_rejected_and_holds_nobody() {
    let stack = stack().await;
    let config = config(&stack);
    let node = Node::start(&config).await;
    let publications = Publications::new(config.clone());
    let Command::Publish(mut large) = publish(1, 2) else { panic!() };
    large.data = serde_json::value::to_raw_value(&"x".repeat(11 << 20)).unwrap();
    let batch = [publish(1, 1), Command::Publish(large), publish(1, 3)];
    let verdicts = publications.deliver(&batch).await.unwrap();
    assert!(
        matches!(verdicts.as_slice(), [Verdict::Accepted, Verdict::Rejected { code: 10, .. }, Verdict::Accepted]),
        "{verdicts:?}"
    );
    node.hears(1, 3).await;

    // What somebody else wrote there and no node can read is passed over.
    let topic = Topic::named(&stack, format!("{}.publications", config.prefix));
    for value in ["{not JSON", r#"{"method":"shout","payload":{}}"#] {
        let record = FutureRecord::<str, str>::to(&topic.name).partition(1).key("k").payload(value);
        topic.producer.send(record, Duration::from_secs(20)).await.unwrap();
    }
    publications.deliver(&[publish(1, 4)]).await.unwrap();
    node.hears(1, 4).await;
    node.stop().await;
}

#[tokio::test]
async fn what_one_node_says_is_heard_by_all_in_its_order() {
    let stack = stack().await;
    let config = config(&stack);
    let nodes = [Node::start(&config).await, Node::start(&config).await];
    let bus = NodeBus::new(config);
    let said: Vec<String> = (0..50).map(|number| format!("word {number}")).collect();
    for word in &said {
        bus.say("one key", word.as_bytes()).await.unwrap();
    }
    for node in nodes {
        let mut heard = node.ear.said.subscribe();
        timeout(PATIENCE, heard.wait_for(|all| *all == said)).await.expect("all of it, in order").unwrap();
        node.stop().await;
    }
}

/// As a relay does: what did not arrive comes again, with all that is behind it.
async fn persist(publications: &Publications, batch: &[Command], failures: &Mutex<usize>) {
    loop {
        match publications.deliver(batch).await {
            Ok(verdicts) if verdicts.iter().all(|verdict| *verdict == Verdict::Accepted) => return,
            Ok(verdicts) => assert!(!verdicts.iter().any(|it| matches!(it, Verdict::Rejected { .. })), "{verdicts:?}"),
            Err(_) => {}
        }
        *failures.lock().unwrap() += 1;
    }
}

#[tokio::test]
async fn kafka_may_go_and_come_back_and_a_node_says_so_and_misses_nothing() {
    let stack = stack_alone().await;
    let config = EngineConfig { patience: Duration::from_secs(1), ..config(&stack) };
    let node = Node::start(&config).await;
    let publications = Publications::new(config.clone());
    let failures = Mutex::new(0);
    let publishing = async {
        for version in 1..=150 {
            persist(&publications, &[publish(1, version), publish(2, version), publish(17, version)], &failures).await;
            sleep(Duration::from_millis(5)).await;
        }
    };
    let outage = async {
        node.hears(1, 20).await;
        stack.stop_kafka().await;
        node.is("unready", |status| status.reason.as_ref().is_some_and(|reason| !reason.is_empty())).await;
        // One that is started while there is nobody waits, and takes its place later.
        let late = Node::begin(&config);
        late.is("waiting", |status| status.reason.is_some()).await;
        while *failures.lock().unwrap() < 2 {
            sleep(Duration::from_millis(10)).await;
        }
        assert!(!late.handle.is_placed());
        stack.start_kafka().await.unwrap();
        late
    };
    let ((), late) = tokio::join!(publishing, outage);
    for room in [1, 2, 17] {
        node.hears(room, 150).await;
    }
    assert_eq!(node.newest().len(), 3);
    assert_eq!(*node.ear.missed.borrow(), 0);
    node.is("ready", |status| status.ready).await;

    timeout(PATIENCE, late.handle.placed()).await.expect("the tail to be placed");
    persist(&publications, &[publish(1, 151)], &failures).await;
    late.hears(1, 151).await;
    node.hears(1, 151).await;
    node.stop().await;
    late.stop().await;
}

#[tokio::test]
async fn clients_that_a_starting_broker_has_told_of_no_broker_are_made_anew_and_go_on_where_they_stood() {
    let stack = stack_alone().await;
    let config = config(&stack);
    let node = Node::start(&config).await;
    let (publications, bus) = (Publications::new(config.clone()), NodeBus::new(config.clone()));
    let failures = Mutex::new(0);
    persist(&publications, &[publish(1, 1), publish(2, 1)], &failures).await;
    bus.say("one key", b"before").await.unwrap();
    node.hears(1, 1).await;
    stack.stop_kafka().await;
    let publishing = async {
        for version in 2..=20 {
            persist(&publications, &[publish(1, version), publish(2, version)], &failures).await;
        }
    };
    let saying = async { while bus.say("one key", b"after").await.is_err() {} };
    let starting = async {
        let starting = Starting::at(&config.brokers).await;
        for (client, topic) in
            [("roomcast-publisher", "publications"), ("roomcast-publisher", "nodes"), ("roomcast-tail", "publications")]
        {
            starting.has_told(client, &format!("{}.{topic}", config.prefix)).await;
        }
        starting.end().await;
        stack.start_kafka().await.unwrap();
    };
    timeout(PATIENCE, async { tokio::join!(publishing, saying, starting) }).await.expect("everything to be said");
    for room in [1, 2] {
        node.hears(room, 20).await;
    }
    assert_eq!(node.newest().len(), 2);
    let mut said = node.ear.said.subscribe();
    timeout(PATIENCE, said.wait_for(|said| said.iter().any(|word| word == "after"))).await.unwrap().unwrap();
    assert_eq!(*node.ear.missed.borrow(), 0, "it went on where it stood");
    node.is("ready", |status| status.ready).await;
    node.stop().await;
}

#[tokio::test]
async fn a_topic_that_was_made_anew_is_gone_on_with_and_the_node_knows_that_it_may_have_missed_something() {
    let stack = stack().await;
    let config = config(&stack);
    let node = Node::start(&config).await;
    let publications = Publications::new(config.clone());
    for version in 1..=5 {
        publications.deliver(&[publish(1, version)]).await.unwrap();
    }
    node.hears(1, 5).await;

    let mut admin = ClientConfig::new();
    let admin: AdminClient<DefaultClientContext> = admin.set("bootstrap.servers", &config.brokers).create().unwrap();
    let topic = format!("{}.publications", config.prefix);
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    let mut missed = node.ear.missed.subscribe();
    timeout(PATIENCE, missed.wait_for(|times| *times > 0)).await.expect("to be told").unwrap();
    persist(&publications, &[publish(1, 6)], &Mutex::default()).await;
    node.hears(1, 6).await;
    node.is("ready", |status| status.ready).await;
    node.stop().await;
}

#[tokio::test]
async fn a_setting_that_cannot_work_ends_the_tail() {
    let mut config = EngineConfig::new("127.0.0.1:1");
    config.settings.insert("no.such.setting".to_owned(), "1".to_owned());
    let error = Node::begin(&config).task.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("no.such.setting"), "{error}");
    let error = Publications::new(config).deliver(&[publish(1, 1)]).await.unwrap_err().to_string();
    assert!(error.contains("no.such.setting"), "{error}");
}

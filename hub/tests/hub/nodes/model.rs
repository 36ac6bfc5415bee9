//! Whatever happens to nodes and to a client that goes from one to the other: in a room its view is the timeline, and in
//! a channel that the hub counts it misses and repeats nothing without being told.
//!
//! Nodes lag behind each other, lose what they should have heard, and end. What is published comes in one order: by the
//! bus, and, for the room, by a log that each node reads at its own pace.

use std::sync::Arc;

use bytes::Bytes;
use proptest::{collection, prelude::*, test_runner::TestRunner};
use protocol::Command;
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};
use uuid::Uuid;

use crate::{Client, Line, TestBus, TestHub, Truth, client::Incoming, token};

const PATIENCE: Duration = Duration::from_secs(20);
const NODES: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    /// Something is said in the room and in the channel, so many times.
    Say(usize),
    /// The same, but a node loses it.
    Lose(usize, usize),
    /// A node reads so many lines of the log.
    Advance(usize, usize),
    /// A node hears nothing of the bus for a while, or again.
    Hold(usize, bool),
    /// The client goes to a node, with what it knows.
    Move(usize),
    /// The client reads what there is.
    Read,
    /// A node ends, and another begins in its place.
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..NODES;
    prop_oneof![
        6 => (1..4_usize).prop_map(Step::Say),
        1 => (node(), 1..3_usize).prop_map(|(node, count)| Step::Lose(node, count)),
        4 => (node(), 1..6_usize).prop_map(|(node, count)| Step::Advance(node, count)),
        2 => (node(), any::<bool>()).prop_map(|(node, hold)| Step::Hold(node, hold)),
        4 => node().prop_map(Step::Move),
        4 => Just(Step::Read),
        1 => node().prop_map(Step::Restart),
    ]
}

struct Play {
    bus: Arc<TestBus>,
    truth: Arc<Truth>,
    nodes: Vec<Node>,
    log: Vec<Command>,
    said: u64,
    client: Option<Client>,
    at: usize,
    room: View,
    chat: View,
}

struct Node {
    hub: TestHub,
    line: Arc<Line>,
    /// What it has read of the log.
    read: usize,
}

/// What the client knows of a channel.
#[derive(Default)]
struct View {
    epoch: String,
    offset: u64,
    /// The last that it has seen; `None` after it was told that it may have missed something.
    last: Option<u64>,
}

impl View {
    fn position(&self) -> Value {
        json!({"recover": !self.epoch.is_empty(), "epoch": self.epoch, "offset": self.offset})
    }

    fn subscribed(&mut self, sub: &Value) {
        let offset = sub["offset"].as_u64().unwrap_or(0);
        sub["epoch"].as_str().unwrap().clone_into(&mut self.epoch);
        if sub["recovered"] == true {
            assert_eq!(offset, self.offset, "it goes on where it was");
            sub["publications"].as_array().into_iter().flatten().for_each(|publication| self.see(publication));
        } else {
            (self.offset, self.last) = (offset, None);
        }
    }

    fn see(&mut self, publication: &Value) {
        let (offset, n) = (publication["offset"].as_u64().unwrap(), publication["data"]["n"].as_u64().unwrap());
        assert_eq!(offset, self.offset + 1, "{publication}");
        assert!(self.last.is_none_or(|last| n == last + 1), "{n} after {:?}", self.last);
        (self.offset, self.last) = (offset, Some(n));
    }
}

impl Node {
    async fn start(bus: &Arc<TestBus>, truth: &Arc<Truth>, read: usize) -> Self {
        let (hub, line) = TestHub::among_on(bus, Arc::clone(truth), |config| {
            TestHub::with_chat(config, |_| {});
            config.shards = 1;
        })
        .await;
        Self { hub, line, read }
    }
}

impl Play {
    async fn begin() -> Self {
        let (bus, truth) = (TestBus::new(), Arc::new(Truth::default()));
        truth.join("7", 1);
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(Node::start(&bus, &truth, 0).await);
        }
        let (room, chat) = (View::default(), View::default());
        Self { bus, truth, nodes, log: Vec::new(), said: 0, client: None, at: 0, room, chat }
    }

    async fn play(&mut self, step: Step) {
        match step {
            Step::Say(count) => (0..count).for_each(|_| {
                let message = self.next();
                self.bus.say(&message);
            }),
            Step::Lose(node, count) => {
                (0..count).for_each(|_| {
                    let message = self.next();
                    self.nodes[node].line.miss(&message);
                });
                self.nodes[node].read = self.log.len();
            }
            Step::Advance(node, count) => self.advance(node, count).await,
            Step::Hold(node, hold) => self.nodes[node].line.hold(hold),
            Step::Move(node) => (self.client, self.at) = (None, node),
            Step::Read => self.read().await,
            Step::Restart(node) => {
                self.client.take_if(|_| self.at == node);
                let new = Node::start(&self.bus, &self.truth, self.log.len()).await;
                let old = std::mem::replace(&mut self.nodes[node], new);
                old.line.hold(false);
                old.hub.hub.stop().await;
            }
        }
    }

    /// The next line of the room, and the next message of the channel.
    fn next(&mut self) -> Bytes {
        self.log.push(self.truth.append(1));
        self.said += 1;
        let publish = json!({"publish": {"channel": "chat:1", "data": {"n": self.said}}});
        let message = json!({"node": Uuid::nil(), "kind": "commands", "body": {"call": 0, "commands": [publish]}});
        Bytes::from(message.to_string())
    }

    async fn advance(&mut self, node: usize, count: usize) {
        let Node { hub, read, .. } = &mut self.nodes[node];
        let to = (*read + count).min(self.log.len());
        let rows = self.log[*read..to].to_vec();
        *read = to;
        assert!(hub.hub.execute(rows).await.iter().all(Result::is_ok));
    }

    async fn read(&mut self) {
        self.connect().await;
        while timeout(Duration::from_millis(1), self.hear()).await.is_ok() {}
    }

    async fn connect(&mut self) {
        if self.client.is_some() {
            return;
        }
        let subs = if self.room.epoch.is_empty() { json!({}) } else { json!({"room:1": self.room.position()}) };
        let (client, reply) = loop {
            let mut client = self.nodes[self.at].hub.open().await;
            client.send(&json!({"id": 1, "connect": {"token": token("7"), "subs": subs}})).await;
            match client.incoming().await {
                Incoming::Object(reply) => break (client, reply),
                end => assert!(matches!(end, Incoming::Closed(3010, _)), "{end:?}"),
            }
        };
        self.room.subscribed(&reply["connect"]["subs"]["room:1"]);
        // What was said before it came is loaded from the backend.
        self.room.last = Some(self.room.offset);
        self.client = Some(client);
        self.subscribe().await;
    }

    async fn subscribe(&mut self) {
        let mut subscribe = json!({"channel": "chat:1", "recoverable": true});
        subscribe.as_object_mut().unwrap().extend(self.chat.position().as_object().unwrap().clone());
        let client = self.client.as_mut().unwrap();
        client.send(&json!({"id": 2, "subscribe": subscribe})).await;
    }

    /// Takes what comes next.
    async fn hear(&mut self) {
        self.connect().await;
        let object = match self.client.as_mut().unwrap().incoming().await {
            Incoming::Object(object) => object,
            // The node has missed something.
            Incoming::Closed(3010, _) => return self.client = None,
            end @ (Incoming::Closed(..) | Incoming::Cut) => panic!("the connection ended: {end:?}"),
        };
        let push = &object["push"];
        if object["subscribe"].is_object() {
            self.chat.subscribed(&object["subscribe"]);
        } else if push["unsubscribe"].is_object() {
            assert_eq!((&push["channel"], &push["unsubscribe"]["code"]), (&json!("chat:1"), &json!(2500)));
            self.subscribe().await;
        } else if push["pub"].is_object() {
            let view = if push["channel"] == "room:1" { &mut self.room } else { &mut self.chat };
            view.see(&push["pub"]);
        } else {
            panic!("{object}");
        }
    }

    /// Nothing goes wrong any more, and everything is read.
    async fn end(mut self) {
        for node in 0..NODES {
            self.nodes[node].line.hold(false);
            self.advance(node, usize::MAX / 2).await;
        }
        self.connect().await;
        let all = timeout(PATIENCE, async {
            while self.room.last != Some(self.truth.top(1)) {
                self.hear().await;
            }
            // It may have come to the channel after the last was said.
            while self.chat.last != Some(self.said) {
                let message = self.next();
                self.bus.say(&message);
                let heard = timeout(Duration::from_millis(50), async {
                    while self.chat.last != Some(self.said) {
                        self.hear().await;
                    }
                });
                heard.await.ok();
            }
        });
        all.await.expect("the client hears everything in the end");
        self.client = None;
        for node in self.nodes {
            node.hub.hub.stop().await;
        }
    }
}

#[test]
fn a_client_that_goes_from_node_to_node_misses_and_repeats_nothing_unawares() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&collection::vec(step(), 1..30), |steps| {
        runtime.block_on(async {
            let mut play = Play::begin().await;
            for step in steps {
                play.play(step).await;
            }
            play.end().await;
        });
        Ok(())
    });
    result.unwrap();
}

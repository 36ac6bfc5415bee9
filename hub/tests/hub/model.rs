//! Whatever happens to a room, to its hub and to a client, the client's view is the timeline.
//!
//! A script of mishaps is made up and played on a live hub; the client does what an SDK does, and nothing more: it
//! counts on, comes back with its position, and loads the room anew only when it is told that it must.

use std::sync::Arc;

use proptest::{collection, prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

use crate::{Client, TestHub, Truth, client::Incoming, token};

/// A read of the backlog may have to come before a publication does.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
enum Step {
    /// Lines are written and published.
    Say(usize),
    /// Lines are written, and nobody hears of them.
    Lose(usize),
    /// Lines are written and published in this order, some of them twice.
    Shuffle(Vec<prop::sample::Index>),
    /// A line of long ago is published again.
    Repeat(prop::sample::Index),
    /// The client reads what there is.
    Read,
    /// The client's connection breaks.
    Break,
    /// The hub ends, and another begins.
    Restart,
    /// The room begins a new epoch, as after a restore of the database.
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..4_usize).prop_map(Step::Say),
        2 => (1..4_usize).prop_map(Step::Lose),
        3 => collection::vec(any::<prop::sample::Index>(), 1..8).prop_map(Step::Shuffle),
        2 => any::<prop::sample::Index>().prop_map(Step::Repeat),
        2 => Just(Step::Read),
        3 => Just(Step::Break),
        1 => Just(Step::Restart),
        1 => Just(Step::Restore),
    ]
}

/// A room, its hub, and one who listens.
struct Play {
    truth: Arc<Truth>,
    hub: TestHub,
    history_size: usize,
    client: Option<Client>,
    /// Every line that the client has seen, in its order.
    view: Vec<u64>,
    epoch: String,
    epochs: usize,
}

impl Play {
    async fn begin(history_size: usize) -> Self {
        let truth = Arc::new(Truth::default());
        truth.join("7", 1);
        let hub = Self::hub(&truth, history_size).await;
        Self { truth, hub, history_size, client: None, view: Vec::new(), epoch: String::new(), epochs: 0 }
    }

    async fn hub(truth: &Arc<Truth>, history_size: usize) -> TestHub {
        TestHub::start_on(Arc::clone(truth), |config| {
            config.shards = 1;
            config.held_limit = 3;
            config.recovery_limit = 40;
            config.namespaces.get_mut("room").unwrap().history_size = history_size;
        })
        .await
    }

    async fn play(&mut self, step: Step) {
        match step {
            Step::Say(count) => self.hub.say(1, count).await,
            Step::Lose(count) => (0..count).for_each(|_| drop(self.truth.append(1))),
            Step::Shuffle(order) => {
                let rows: Vec<_> = order.iter().map(|_| self.truth.append(1)).collect();
                let picked = order.iter().map(|index| index.get(&rows).clone()).collect();
                self.hub.hub.execute(picked).await;
            }
            Step::Repeat(line) if self.truth.top(1) > 0 => {
                let line = line.index(self.truth.top(1) as usize) as u64 + 1;
                self.hub.hub.execute(vec![self.truth.row(1, line)]).await;
            }
            Step::Read => self.read().await,
            Step::Break => self.client = None,
            Step::Restart => {
                let hub = self.hub.hub.clone();
                tokio::join!(hub.stop(), async { while self.hear().await {} });
                self.hub = Self::hub(&self.truth, self.history_size).await;
            }
            Step::Restore => {
                self.epochs += 1;
                self.truth.restore(1, &format!("restored-{}", self.epochs));
            }
            Step::Repeat(_) => {}
        }
    }

    /// Reads what is there already; comes back first if the connection has broken.
    async fn read(&mut self) {
        if self.client.is_none() {
            self.connect().await;
        }
        while let Ok(heard) = timeout(Duration::from_millis(1), self.hear()).await {
            if !heard {
                return;
            }
        }
    }

    async fn connect(&mut self) {
        let offset = self.view.last().copied().unwrap_or(0);
        let position = json!({"room:1": {"recover": true, "epoch": self.epoch, "offset": offset}});
        let subs = if self.epoch.is_empty() { json!({}) } else { position };
        let mut client = self.hub.open().await;
        client.send(&json!({"id": 1, "connect": {"token": token("7"), "subs": subs}})).await;
        let Incoming::Object(reply) = client.incoming().await else { return };
        let sub = &reply["connect"]["subs"]["room:1"];
        assert!(sub.is_object(), "{reply}");
        sub["epoch"].as_str().unwrap().clone_into(&mut self.epoch);
        if sub["recovered"] == true {
            for publication in sub["publications"].as_array().into_iter().flatten() {
                self.see(publication);
            }
        } else {
            // It loads the room from the backend, up to where it is told to stand.
            self.view = (1..=sub["offset"].as_u64().unwrap_or(0)).collect();
        }
        self.client = Some(client);
    }

    /// Takes the next push; false when the connection has ended.
    async fn hear(&mut self) -> bool {
        let Some(client) = &mut self.client else { return false };
        match client.incoming().await {
            Incoming::Object(object) if object["push"]["pub"].is_object() => {
                assert_eq!(object["push"]["channel"], "room:1", "{object}");
                self.see(&object["push"]["pub"].clone());
                true
            }
            Incoming::Object(_) => true,
            Incoming::Closed(..) | Incoming::Cut => {
                self.client = None;
                false
            }
        }
    }

    fn see(&mut self, publication: &Value) {
        let offset = publication["offset"].as_u64().unwrap();
        assert_eq!(offset, self.view.last().copied().unwrap_or(0) + 1, "the one after what was seen");
        assert_eq!(publication["data"], json!({"room": 1, "n": offset}), "with what was said");
        self.view.push(offset);
    }

    /// Nothing goes wrong any more: a last line is said and heard of.
    async fn end(mut self) {
        self.hub.say(1, 1).await;
        let top = self.truth.top(1);
        let all = timeout(PATIENCE, async {
            while self.view.last() != Some(&top) {
                if self.client.is_none() {
                    self.connect().await;
                } else {
                    self.hear().await;
                }
            }
        });
        all.await.expect("the client hears everything in the end");
        assert_eq!(self.view, (1..=top).collect::<Vec<_>>());
        drop(self.client);
        self.hub.hub.stop().await;
    }
}

#[test]
fn whatever_happens_the_clients_view_becomes_the_timeline() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() };
    let script = (prop_oneof![Just(1_usize), 2..20_usize], collection::vec(step(), 1..25));
    let result = TestRunner::new(config).run(&script, |(history_size, steps)| {
        runtime.block_on(async {
            let mut play = Play::begin(history_size).await;
            for step in steps {
                play.play(step).await;
            }
            play.end().await;
        });
        Ok(())
    });
    result.unwrap();
}

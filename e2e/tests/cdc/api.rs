//! The dual write: what `api` loses, who knows of it, and what makes it good.

use e2e::{App, Gate, Part, Passage, Person, Shape, TestClient, eventually, metric};

use crate::stage::{PATIENCE, Stage, stage};

const LOST: &str = "roomcast_direct_lost_total";

/// Alice in a room of her own, listening, and everything by `api`; the way to the hub leads through the gate.
struct Scene {
    app: App,
    gate: Gate,
    alice: Person,
    client: TestClient,
    room: i64,
    channel: String,
}

impl Scene {
    async fn set(stage: &Stage, name: &str) -> anyhow::Result<Self> {
        let mut plan = stage.plan(Shape::Split);
        let gate = Gate::before(plan.address(Part::Hub)).await?;
        plan.backend_publishes_to = gate.address();
        let app = plan.start().await?;
        let alice = app.person("alice").await?;
        alice.switch_to("api").await?;
        let room = alice.create_room(name).await?;
        let channel = format!("room:{room}");
        let mut client = TestClient::connect(&alice, &app.websocket()).await?;
        client.caught_up(&channel, 1, PATIENCE).await?;
        alice.say(room, "arrives").await?;
        client.caught_up(&channel, 2, PATIENCE).await?;
        Ok(Self { app, gate, alice, client, room, channel })
    }

    /// Written, and seen by nobody.
    async fn has_lost(&self, messages: u64) -> anyhow::Result<()> {
        let written = self.alice.timeline(self.room).await?.len();
        assert_eq!(written as u64, 2 + messages, "all was written");
        assert_eq!(self.client.journal(&self.channel).top(), 2, "nobody was told");
        Ok(())
    }

    /// The next message shows the hub that there is a hole, and the timeline fills it.
    async fn heals_with_the_next_message(mut self) -> anyhow::Result<()> {
        self.alice.say(self.room, "the next one").await?;
        let truth = self.alice.timeline(self.room).await?;
        self.client.caught_up(&self.channel, truth.len() as u64, PATIENCE).await?;
        let journal = self.client.journal(&self.channel);
        assert_eq!(journal.faults, Vec::<String>::new());
        assert_eq!(journal.lines[..], truth[truth.len() - journal.lines.len()..]);
        assert_eq!(self.client.connections(), 1);
        assert!(self.app.stop().await?, "everything stops cleanly on Ctrl-C");
        Ok(())
    }
}

#[tokio::test]
async fn what_api_could_not_publish_is_counted_as_lost_and_healed_by_the_next_message() -> anyhow::Result<()> {
    let stage = stage().await?;
    let scene = Scene::set(&stage, "Counted").await?;
    let backend = scene.app.address(Part::Backend);
    scene.gate.turn(Passage::Shut);
    for number in 0..3 {
        scene.alice.say(scene.room, &format!("lost {number}")).await?;
    }
    let counted = async || Ok(metric(&backend, LOST, "").await? >= 3.0);
    eventually("the losses are counted", PATIENCE, counted).await?;
    assert!(metric(&backend, "roomcast_direct_retries_total", "").await? >= 1.0, "one more try was made");
    scene.has_lost(3).await?;

    scene.gate.turn(Passage::Open);
    scene.heals_with_the_next_message().await
}

#[tokio::test]
async fn what_api_had_not_published_when_it_was_killed_is_lost_and_nobody_knows_until_the_next_message()
-> anyhow::Result<()> {
    let stage = stage().await?;
    let mut scene = Scene::set(&stage, "Not even counted").await?;
    let before = scene.gate.kept();
    scene.gate.turn(Passage::Hold);
    scene.alice.say(scene.room, "committed, and not published").await?;
    scene.gate.keeps_more_than(before).await?;
    scene.app.kill(Part::Backend).await?;
    scene.gate.turn(Passage::Open);
    scene.app.restart(Part::Backend).await?;

    assert!(metric(&scene.app.address(Part::Backend), LOST, "").await? < 1.0, "who counted has died");
    scene.has_lost(1).await?;
    scene.heals_with_the_next_message().await
}

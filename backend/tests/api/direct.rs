//! What the backend publishes itself: in order, tried twice, never at the author's cost, and honestly counted.

use std::sync::Arc;

use async_trait::async_trait;
use backend::{DirectCounts, PublishError, Publisher};
use protocol::{Command, Mode};
use tokio::sync::Semaphore;

use crate::{
    app::{App, Person},
    recorder::{Failure, Recorder},
};

async fn app_by(mode: Mode) -> (App, Arc<Recorder>, Person, i64) {
    let recorder = Recorder::new();
    let app = App::publishing(recorder.clone()).await;
    let alice = app.person("alice").await;
    let room = alice.create("room").await;
    app.switch(mode).await;
    (app, recorder, alice, room)
}

#[tokio::test]
async fn a_hub_that_fails_once_is_asked_again_and_nothing_is_lost() {
    let (app, recorder, alice, room) = app_by(Mode::Api).await;
    recorder.fail(&[Failure::Unavailable]);
    alice.say(room, "hello").await;
    recorder.until(|recorder| recorder.published().len() == 1).await;
    app.state.stop().await;
    assert_eq!(recorder.calls(), 2);
    assert_eq!(app.state.direct_counts(), DirectCounts { published: 1, ..DirectCounts::default() });
}

#[tokio::test]
async fn what_fails_twice_or_is_refused_is_lost_and_counted_and_no_error_to_the_author() {
    let (app, recorder, alice, room) = app_by(Mode::Api).await;
    recorder.fail(&[Failure::Unavailable, Failure::Unavailable, Failure::Refused]);
    alice.say(room, "fails twice").await;
    recorder.until(|recorder| recorder.calls() == 2).await;
    alice.say(room, "is refused, and not asked again").await;
    recorder.until(|recorder| recorder.calls() == 3).await;
    alice.say(room, "arrives").await;
    app.state.stop().await;
    assert_eq!((recorder.calls(), recorder.published().len()), (4, 1));
    assert_eq!(app.state.direct_counts(), DirectCounts { published: 1, lost: 2, left_to_the_row: 0 });
    let page = alice.get(&format!("/api/rooms/{room}/messages")).await.expect(200);
    assert_eq!(page["messages"].as_array().unwrap().len(), 4, "written they are, all of them");
}

#[tokio::test]
async fn what_has_a_row_is_not_lost() {
    let (app, recorder, alice, room) = app_by(Mode::ApiCdc).await;
    recorder.fail(&[Failure::Refused; 2]);
    alice.say(room, "by both ways").await;
    recorder.until(|recorder| recorder.calls() == 1).await;
    app.switch(Mode::Api).await;
    alice.leave(room).await;
    app.state.stop().await;
    // The message and the unsubscribe have rows; the line that tells of the leaving has none.
    assert_eq!(app.state.direct_counts(), DirectCounts { published: 0, lost: 1, left_to_the_row: 2 });
}

#[tokio::test]
async fn without_a_hub_everything_direct_is_lost_and_counted() {
    let app = App::with(|config| config.allow_request_mode = true).await;
    let alice = app.person("alice").await;
    let room = alice.create("room").await;
    alice.say_by(Mode::Api, room, "into the void").await;
    assert_eq!(app.state.direct_counts(), DirectCounts { lost: 1, ..DirectCounts::default() });
}

/// Takes a call only when it is let.
struct Slow {
    gate: Semaphore,
    inner: Arc<Recorder>,
}

#[async_trait]
impl Publisher for Slow {
    async fn publish(&self, commands: Vec<Command>) -> Result<(), PublishError> {
        self.gate.acquire().await.unwrap().forget();
        self.inner.publish(commands).await
    }
}

#[tokio::test]
async fn authors_never_wait_for_the_hub_and_what_piles_up_goes_together_in_order() {
    let slow = Arc::new(Slow { gate: Semaphore::new(0), inner: Recorder::new() });
    let app = App::publishing(slow.clone()).await;
    let alice = app.person("alice").await;
    let room = alice.create("room").await;
    app.switch(Mode::Api).await;
    for number in 0..20 {
        alice.say(room, &number.to_string()).await; // returns although the hub takes nothing
    }
    assert_eq!(slow.inner.calls(), 0);
    slow.gate.add_permits(10);
    app.state.stop().await;
    let versions: Vec<u64> = slow
        .inner
        .published()
        .iter()
        .map(|command| if let Command::Publish(publish) = command { publish.version.unwrap().0 } else { 0 })
        .collect();
    assert_eq!(versions, (2..=21).collect::<Vec<_>>());
    assert_eq!(slow.inner.calls(), 2, "the first, and all the others");
    assert_eq!(app.state.direct_counts().published, 20);
}

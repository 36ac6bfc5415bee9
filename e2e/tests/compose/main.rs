//! The product as Compose runs it: every mode through the proxy, and chat that goes on while each service restarts.
//!
//! Needs a running stack, whose address is in `ROOMCAST_COMPOSE_URL`: `./test compose` brings one up and runs this. The
//! restarts go through `docker compose`, which finds project and profile in its own variables.
#![expect(clippy::print_stderr, reason = "a restart takes long, and whoever waits wants to know of which")]

mod figures;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::{Person, TestClient};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;
use uuid::Uuid;

/// Kafka, Connect and the way through them are back within half of it on a busy machine with two cores.
const PATIENCE: Duration = Duration::from_mins(4);

/// Two people in a room, each with a client that counts every fault.
struct Chat {
    people: [Person; 2],
    clients: [TestClient; 2],
    room: i64,
    said: usize,
}

impl Chat {
    async fn begin() -> anyhow::Result<Self> {
        let address =
            std::env::var("ROOMCAST_COMPOSE_URL").context("ROOMCAST_COMPOSE_URL is host:port of the proxy")?;
        let people = [Person::sign_in(&address, "alice").await?, Person::sign_in(&address, "bob").await?];
        let room = people[0].create_room(&format!("Compose {}", Uuid::new_v4().simple())).await?;
        people[1].join(room).await?;
        let socket = format!("ws://{address}/connection/websocket");
        let clients =
            [TestClient::connect(&people[0], &socket).await?, TestClient::connect(&people[1], &socket).await?];
        Ok(Self { people, clients, room, said: 0 })
    }

    /// Each says something once.
    async fn talk(&mut self) -> anyhow::Result<()> {
        for person in &self.people {
            self.said += 1;
            person.say(self.room, &format!("{} says {}", person.username, self.said)).await?;
        }
        Ok(())
    }

    /// Both have seen everything that is true, in order, once.
    async fn check(&mut self) -> anyhow::Result<()> {
        let truth = self.people[0].timeline(self.room).await?;
        let top = truth.last().context("an empty timeline")?.version;
        let texts = truth.iter().filter(|line| line.kind == "text").count();
        ensure!(texts == self.said, "{texts} messages were saved of {}", self.said);
        let channel = format!("room:{}", self.room);
        for client in &mut self.clients {
            client.caught_up(&channel, top, PATIENCE).await?;
            let journal = client.journal(&channel);
            ensure!(journal.faults.is_empty(), "{:?}", journal.faults);
            let expected: Vec<_> = truth.iter().filter(|line| line.version > journal.start).cloned().collect();
            ensure!(journal.lines == expected, "{:?} is not {expected:?}", journal.lines);
        }
        Ok(())
    }

    /// The modes of this deployment, or of those that it has not: why.
    async fn modes(&self) -> anyhow::Result<Vec<Value>> {
        let answer = self.people[0].request(Method::GET, "/api/settings/broadcast-mode").send().await?;
        let modes: Value = answer.error_for_status()?.json().await?;
        Ok(modes["available"].as_array().context("no modes")?.clone())
    }

    /// Switches as soon as the mode can be had: the last parts of the way may still be starting.
    async fn switch(&self, mode: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let body = json!({ "mode": mode });
            let answer = self.people[0].request(Method::PUT, "/api/settings/broadcast-mode").json(&body).send().await;
            let problem = match answer {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            ensure!(Instant::now() < deadline, "no mode {mode} within {PATIENCE:?}: {problem}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Talks while a service restarts, and for a while after.
    async fn talk_through_a_restart(&mut self, service: &str) -> anyhow::Result<()> {
        let mut restart = Command::new("docker").args(["compose", "restart", service]).spawn()?;
        let restarted = loop {
            self.talk().await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
            if let Some(status) = restart.try_wait()? {
                break status;
            }
        };
        ensure!(restarted.success(), "docker compose restart {service}: {restarted}");
        for _ in 0..10 {
            self.talk().await?;
        }
        Ok(())
    }
}

#[tokio::test]
#[ignore = "needs a running Compose: ./test compose"]
async fn every_mode_that_there_is_carries_a_chat_through_the_proxy() -> anyhow::Result<()> {
    let mut chat = Chat::begin().await?;
    let wanted = std::env::var("ROOMCAST_COMPOSE_MODES").context("ROOMCAST_COMPOSE_MODES lists the modes to be had")?;
    for mode in wanted.split_whitespace() {
        chat.switch(mode).await?;
        for _ in 0..10 {
            chat.talk().await?;
        }
        chat.check().await.with_context(|| format!("in mode {mode}"))?;
        eprintln!("chatted in mode {mode}");
    }
    for offer in chat.modes().await? {
        let listed = wanted.split_whitespace().any(|mode| offer["mode"] == mode);
        ensure!(offer["ready"] == listed, "{offer}, while the modes to be had are {wanted}");
    }
    chat.switch("outbox").await
}

/// Written by the way that has the most parts, so that every one of them is missed while it is away.
#[tokio::test]
#[ignore = "needs a running Compose: ./test compose"]
async fn each_service_restarts_once_and_nothing_is_lost() -> anyhow::Result<()> {
    let mut chat = Chat::begin().await?;
    let services = std::env::var("ROOMCAST_COMPOSE_RESTARTS").context("ROOMCAST_COMPOSE_RESTARTS lists services")?;
    let mode = std::env::var("ROOMCAST_COMPOSE_RESTART_MODE").unwrap_or_else(|_| "cdc".to_owned());
    for service in services.split_whitespace() {
        chat.switch(&mode).await?;
        let begin = Instant::now();
        chat.talk_through_a_restart(service).await?;
        chat.check().await.with_context(|| format!("after a restart of {service}"))?;
        eprintln!("{service} restarted; {} messages so far, seen by both after {:.0?}", chat.said, begin.elapsed());
    }
    chat.switch("outbox").await
}

//! Saturation: writers that write again as soon as they have their answer, until the last client has read the last line.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use futures_util::future::try_join_all;

use super::{CLIENTS, ROOMS, product::Running};
use crate::{
    clock::unix_micros,
    console,
    cpu::CpuTime,
    delivery::{Faults, newest},
    latency::TEXT,
    person::Posted,
    stage::Stage,
    subscriber::Subscriber,
};

/// Large reads: the client shall not be what is measured.
const READ_BUFFER: usize = 64 << 10;
/// What the writers were ahead must still arrive.
const PATIENCE: Duration = Duration::from_mins(2);

/// How hard to press.
#[derive(Args, Clone, Copy, Debug)]
pub struct Flood {
    /// Writers, each of which waits for its answer before it writes again
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub writers: u16,
    /// Seconds that they write for
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub flood_seconds: u64,
}

/// What came out.
pub(super) struct Flooded {
    pub(super) messages: usize,
    /// From the first post to the last line read.
    pub(super) wall: Duration,
    /// How long the clients still read when the writers had stopped.
    pub(super) behind: Duration,
    pub(super) cpu: CpuTime,
    pub(super) faults: Faults,
}

impl Flooded {
    /// Messages a second, all the way.
    pub(super) fn rate(&self) -> f64 {
        self.messages as f64 / self.wall.as_secs_f64()
    }
}

impl Flood {
    pub(super) async fn measure(&self, running: &Running, stage: &Stage) -> anyhow::Result<Flooded> {
        console::progress(format_args!("saturation: {} writers for {} s", self.writers, self.flood_seconds));
        let clients = stage.subscribe(running.websocket(), usize::from(CLIENTS), READ_BUFFER).await?;
        let watched = running.watched();
        let (before, begin, began_at) = (watched.read(), Instant::now(), unix_micros());
        let posted = self.write(stage).await?;
        let stopped_at = unix_micros();
        let newest = newest(posted.iter().map(|post| post.line));
        for (number, client) in clients.iter().enumerate() {
            if !client.has_seen(&newest, PATIENCE.saturating_sub(begin.elapsed())).await {
                console::progress(format_args!("client {number} has not read everything"));
            }
        }
        let cpu = watched.since(before);
        let written: HashSet<_> = posted.iter().map(|post| post.line).collect();
        let seen = try_join_all(clients.into_iter().map(Subscriber::leave)).await?;
        let last = seen.iter().flatten().map(|sighting| sighting.at).max().context("nothing arrived")?;
        let micros = |time: i64| Duration::from_micros(u64::try_from(time).unwrap_or(0));
        Ok(Flooded {
            messages: posted.len(),
            wall: micros(last - began_at),
            behind: micros(last - stopped_at),
            cpu,
            faults: seen.iter().map(|seen| Faults::of(&written, seen)).fold(Faults::default(), Faults::and),
        })
    }

    async fn write(&self, stage: &Stage) -> anyhow::Result<Vec<Posted>> {
        let until = Instant::now() + Duration::from_secs(self.flood_seconds);
        let (people, rooms) = (Arc::new(stage.people.clone()), Arc::new(stage.rooms.clone()));
        let writers = (0..usize::from(self.writers)).map(|writer| {
            let (people, rooms) = (Arc::clone(&people), Arc::clone(&rooms));
            tokio::spawn(async move {
                let mut posted = Vec::new();
                while Instant::now() < until {
                    let room = rooms[rand::random_range(0..usize::from(ROOMS))];
                    posted.push(people[writer % people.len()].post(room, TEXT).await?);
                }
                anyhow::Ok(posted)
            })
        });
        let posted = try_join_all(writers).await?.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        Ok(posted.into_iter().flatten().collect())
    }
}

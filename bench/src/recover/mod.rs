//! Everybody comes back at once: the hub is killed, messages are committed while it is away, and thousands of clients return
//! in the same moment with the position that they had. How long until they have everything, and what it costs the database.
//!
//! The split shape on a PostgreSQL of its own: backend, hub and relay, each a process. Clients are users of their own, in a
//! few rooms each; there is no jitter in their return, which is worse than any SDK behaves.

mod crowd;
mod report;
mod scene;
mod statements;
mod view;

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;

use crate::{
    console,
    cpu::{CpuTime, Watched},
    delivery::Faults,
    machine,
    measurement::Measurement,
    percentiles::Durations,
    postgres::{self, Postgres},
    product::Process,
    token,
};
use crowd::{Crowd, Frames, Troubles};
use scene::Scene;
use statements::{Statement, Statements};
use view::{Positions, Views, positions};

/// All clients have to be in within this time.
const PATIENCE: Duration = Duration::from_mins(2);
/// Nobody says anything any more after this.
const QUIET: Duration = Duration::from_secs(2);
/// Of those that connect for the first time.
const TOGETHER: usize = 200;
const TOKEN_SECRET: &str = "roomcast-bench-tokens";
/// Roles in the database, by which statements are told apart.
const BACKEND: &str = "bench_backend";
const RELAY: &str = "bench_relay";

/// What to run.
#[derive(Args, Clone, Debug)]
pub struct Recover {
    /// The executable and the report.
    #[command(flatten)]
    pub measurement: Measurement,
    /// Directory of `postgres` and `initdb`, with `pg_stat_statements` [default: as the demo finds them]
    #[arg(long, env = "ROOMCAST_POSTGRES_BIN")]
    pub postgres_bin: Option<PathBuf>,
    /// Clients, each a user of its own
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    pub clients: u32,
    /// Rooms in all; every room gets the same number of clients
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub rooms: u32,
    /// Rooms that each client is in
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub each: u32,
    /// Messages committed to each room while the hub is away
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub missed: u32,
    /// How often; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub rounds: u16,
}

/// By which way the missed messages can come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The relay finds the hub again at the same time, and delivers them.
    Relay,
    /// There is no relay until all are back: everything is read from the database.
    Backlog,
}

/// What came out of one round.
#[derive(Clone, Debug)]
pub struct Outcome {
    way: Way,
    /// From the hub's readiness until a client had everything, of each.
    caught_up: Durations,
    troubles: Troubles,
    faults: Faults,
    /// Rooms times clients that the hub could not make good.
    unrecovered: usize,
    /// Of the backend and the relay.
    statements: Vec<Statement>,
    cpu: Cpu,
    /// Until all were caught up.
    wall: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Cpu {
    hub: Duration,
    backend: Duration,
    relay: Duration,
    rest: CpuTime,
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Relay => "with the relay",
            Self::Backlog => "from the backlog",
        })
    }
}

impl Outcome {
    /// Statements of the backend, which asks for the hub.
    fn queries(&self) -> i64 {
        self.statements.iter().filter(|statement| statement.role == BACKEND).map(|statement| statement.calls).sum()
    }
}

impl Recover {
    /// Runs it and prints the report.
    pub async fn run(&self) -> anyhow::Result<()> {
        machine::allow_many_sockets()?;
        ensure!(self.each <= self.rooms, "nobody can be in {} of {} rooms", self.each, self.rooms);
        let even = (self.clients * self.each).is_multiple_of(self.rooms);
        ensure!(even, "clients × rooms each has to be a multiple of the rooms");
        let executable = self.measurement.executable().await?;
        let load = machine::load();
        let preload = [("shared_preload_libraries", "pg_stat_statements"), ("pg_stat_statements.track_utility", "off")];
        let postgres = Postgres::start_with(self.postgres_bin.clone(), &preload).await;
        let postgres = postgres.context("pg_stat_statements is part of PostgreSQL's contrib package")?;
        let measured = self.rounds(&executable, &postgres).await;
        let version = postgres::version(&postgres.url("postgres")).await;
        postgres.stop().await;
        let head = [
            ("Roomcast", machine::first_line_of(&executable.to_string_lossy(), &["--version"])),
            ("PostgreSQL", version?),
            ("load average before the first run", load),
        ];
        let report = report::report(self, &measured?, &machine::table(&head))?;
        self.measurement.report(&report)
    }

    async fn rounds(&self, executable: &Path, postgres: &Postgres) -> anyhow::Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for round in 1..=self.rounds {
            for way in [Way::Relay, Way::Backlog] {
                console::progress(format_args!(
                    "recover: {} clients, {way}, round {round} of {}",
                    self.clients, self.rounds
                ));
                let name = format!("recover_{}", outcomes.len());
                let url = postgres::create_database(&postgres.url("postgres"), &name).await?;
                outcomes.push(self.round(way, executable, postgres.pid(), &url).await?);
                postgres::drop_database(&postgres.url("postgres"), &name).await?;
            }
        }
        Ok(outcomes)
    }

    async fn round(&self, way: Way, executable: &Path, postgres: u32, url: &str) -> anyhow::Result<Outcome> {
        let mut statements = Statements::watch(url).await?;
        let backend_url = statements.role(url, BACKEND).await?;
        let relay_url = statements.role(url, RELAY).await?;
        let backend = ["backend", "--listen", "127.0.0.1:0", "--database-url", &backend_url, "--migrate"];
        let backend = Process::start(executable, &backend).await?;
        let mut scene = Scene::prepare(url, self.clients, self.rooms, self.each).await?;
        let (listen, origin) = (free_address()?, backend.origin());
        let hub = ["hub", "--listen", &listen.to_string(), "--backend", &origin, "--token-secret", TOKEN_SECRET];
        let first = Process::start(executable, &hub).await?;
        let to_hub = first.origin();
        let relay = ["relay", "--listen", "127.0.0.1:0", "--database-url", &relay_url, "--hub", &to_hub];
        let mut delivering = Some(Process::start(executable, &relay).await?);
        scene.say(3).await?;
        until_delivered(&mut scene).await?;
        let known = first_visit(listen, tokens(&scene.users)?).await?;

        if way == Way::Backlog
            && let Some(relay) = delivering.take()
        {
            relay.stop().await?;
        }
        first.kill().await?;
        scene.say(self.missed).await?;
        let missed = scene.timeline().await?;
        let hellos = hellos(&tokens(&scene.users)?, &known);
        statements.reset().await?;
        let hub = Process::start(executable, &hub).await?;
        let watched = |pids: &[u32]| Watched { server: pids.to_vec(), ..Watched::default() };
        let relay_pid = delivering.as_ref().map_or(0, Process::pid);
        let pids = [hub.pid(), backend.pid(), relay_pid];
        let clocks = pids.map(|pid| watched(&[pid]));
        let rest = Watched { postgres: Some(postgres), ..watched(&pids) };
        let (rest_before, before) = (rest.read(), clocks.each_ref().map(Watched::read));
        let begin = Instant::now();
        let crowd = tokio::task::spawn_blocking(move || -> anyhow::Result<Crowd> {
            let mut crowd = Crowd::new(listen, &hellos)?;
            crowd.come(usize::MAX, PATIENCE)?;
            Ok(crowd)
        });
        let mut crowd = crowd.await??;
        let wall = begin.elapsed();
        let used = std::array::from_fn::<_, 3, _>(|index| clocks[index].since(before[index]).server);
        let cpu = Cpu { hub: used[0], backend: used[1], relay: used[2], rest: rest.since(rest_before) };
        let counted = statements.counted(&[BACKEND, RELAY]).await?;

        // The relay may be behind, or has yet to begin; and what is said from now on has to come as well.
        let delivering = match delivering {
            Some(relay) => relay,
            None => Process::start(executable, &relay).await?,
        };
        until_delivered(&mut scene).await?;
        scene.say(1).await?;
        until_delivered(&mut scene).await?;
        let read = tokio::task::spawn_blocking(move || crowd.stay(QUIET).map(|()| crowd.leave()));
        let (frames, troubles) = read.await??;
        let written = scene.timeline().await?;
        for process in [delivering, hub, backend] {
            process.stop().await?;
        }
        let views = Views { known, frames, begin }.against(&missed, &written)?;
        Ok(Outcome {
            way,
            caught_up: Durations::of(views.caught_up),
            troubles,
            faults: views.faults,
            unrecovered: views.unrecovered,
            statements: counted,
            cpu,
            wall,
        })
    }
}

/// Connects everybody once, a few at a time, and tells where each was.
async fn first_visit(address: SocketAddr, tokens: Vec<String>) -> anyhow::Result<Vec<Positions>> {
    let frames = tokio::task::spawn_blocking(move || -> anyhow::Result<Vec<Frames>> {
        let hello = |token: &String| json!({ "id": 1, "connect": { "token": token, "name": "bench" } }).to_string();
        let mut crowd = Crowd::new(address, &tokens.iter().map(hello).collect::<Vec<_>>())?;
        crowd.come(TOGETHER, PATIENCE)?;
        crowd.stay(QUIET)?;
        Ok(crowd.leave().0)
    });
    frames.await??.iter().map(positions).collect()
}

/// Who is there and how far it had got.
fn hellos(tokens: &[String], known: &[Positions]) -> Vec<String> {
    let hello = |(token, rooms): (&String, &Positions)| {
        let subs: HashMap<String, _> = rooms
            .iter()
            .map(|(room, position)| {
                let sub = json!({ "recover": true, "epoch": position.epoch, "offset": position.offset });
                (format!("room:{room}"), sub)
            })
            .collect();
        json!({ "id": 1, "connect": { "token": token, "name": "bench", "subs": subs } }).to_string()
    };
    tokens.iter().zip(known).map(hello).collect()
}

fn tokens(users: &[i64]) -> anyhow::Result<Vec<String>> {
    users.iter().map(|user| token::sign(&user.to_string(), TOKEN_SECRET)).collect()
}

async fn until_delivered(scene: &mut Scene) -> anyhow::Result<()> {
    let begin = Instant::now();
    while !scene.is_delivered().await? {
        ensure!(begin.elapsed() < PATIENCE, "the outbox is not empty after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Below the ports that clients are given: the hub comes back to the same one.
fn free_address() -> anyhow::Result<SocketAddr> {
    let ports = (0..100).map(|_| rand::random_range(20_000..30_000u16));
    let free = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let mut free = free.filter(|address| TcpListener::bind(address).is_ok());
    free.next().context("no free port")
}

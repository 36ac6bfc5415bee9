//! The hub beside the floor, in turns and in one run, and against the aims.
//!
//! Everything that a hub owes is switched on: tokens, positions, history and presence (`bench/hub.json`). Floor and hub take
//! turns, because the speed of a machine moves from minute to minute: only ratios of the same run are worth anything.

use std::{fmt::Write as _, path::Path};

use anyhow::Context;
use clap::Args;

use super::{
    churn::{self, Churn},
    fanout::{self, Channels, Fanout, Load, p99},
    idle::{self, Idle},
    peer::Peer,
    rooms,
    target::Target,
};
use crate::{
    console, machine,
    measurement::Measurement,
    percentiles::median,
    product::Process,
    table::{Table, thousands},
};

/// What the hub is configured with; another server can be given the same.
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/hub.json");
const TOKEN_SECRET: &str = "roomcast-bench-tokens";
const API_KEY: &str = "roomcast-bench-api";

const FLOOR: &str = "floor";
const HUB: &str = "roomcast hub";
const PEER: &str = "peer";

/// Of the floor's deliveries per CPU-second.
const SHARE: f64 = 85.0;
/// Times the floor's p99.
const TAIL: f64 = 1.3;
/// Deliveries per CPU-second, in millions, with so many publications in flight.
const SATURATED: [(u32, f64); 2] = [(4, 0.8), (32, 3.0)];
/// Bytes a connection, with so many subscriptions.
const IDLE_BYTES: [(u32, f64); 2] = [(1, 8.0 * 1024.0), (10, 10.0 * 1024.0)];
/// Seconds of CPU for connect, token and subscription.
const CONNECT: f64 = 0.1e-3;

/// What to run.
#[derive(Args, Clone, Debug)]
pub struct Suite {
    /// The executable and the report.
    #[command(flatten)]
    pub measurement: Measurement,
    /// How often each load is run on each server; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub rounds: u16,
    /// Idle connections
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=19_000))]
    pub connections: u32,
    /// Another server with bench/hub.json, by its origin, measured in the same turns; it runs already, or see --peer-command
    #[arg(long)]
    pub peer: Option<String>,
    /// Its process, if it runs already
    #[arg(long, requires = "peer", conflicts_with = "peer_command")]
    pub peer_pid: Option<u32>,
    /// Starts it, fresh for each run as the hub is; not in the background
    #[arg(long, requires = "peer", value_name = "COMMAND")]
    pub peer_command: Option<String>,
}

/// All figures, in the order in which they were measured.
#[derive(Default)]
struct Figures {
    fanout: Vec<(String, Load, fanout::Outcome)>,
    rooms: Vec<(String, Load, fanout::Outcome)>,
    idle: Vec<(String, Idle, idle::Outcome)>,
    churn: Vec<(String, Churn, churn::Outcome)>,
}

/// Fixed rates as the peer was measured at, then as fast as it goes.
fn loads() -> Vec<Load> {
    let fixed = [(100, 100, 1000), (1000, 20, 200), (5000, 4, 40)];
    let fixed = fixed.map(|(subscribers, rate, publications)| (subscribers, Some(rate), None, publications));
    let saturated = SATURATED.map(|(window, _)| (1000, None, Some(window), 1500));
    let all = fixed.into_iter().chain(saturated);
    all.map(|(subscribers, rate, window, publications)| Load {
        subscribers,
        rate,
        window,
        publications,
        size: 200,
        channels: Channels::default(),
    })
    .collect()
}

impl Suite {
    /// Runs everything and prints the report.
    pub async fn run(&self) -> anyhow::Result<()> {
        machine::allow_many_sockets()?;
        let executable = self.measurement.executable().await?;
        let load = machine::load();
        let mut figures = Figures {
            fanout: self.fanout(&executable, loads()).await?,
            rooms: self.fanout(&executable, rooms::loads()).await?,
            ..Figures::default()
        };
        self.idle(&executable, &mut figures).await?;
        self.churn(&executable, &mut figures).await?;
        let mut head = vec![("Roomcast", machine::first_line_of(&executable.to_string_lossy(), &["--version"]))];
        head.extend(self.peer_command.as_ref().or(self.peer.as_ref()).map(|peer| ("peer", format!("`{peer}`"))));
        head.push(("load average before the first run", load));
        let report = report(&figures, &machine::table(&head))?;
        self.measurement.report(&report)
    }

    async fn fanout(
        &self,
        executable: &Path,
        loads: Vec<Load>,
    ) -> anyhow::Result<Vec<(String, Load, fanout::Outcome)>> {
        let mut figures = Vec::new();
        for load in loads {
            let mut runs: Vec<(&str, Vec<fanout::Outcome>)> = Vec::new();
            for round in 1..=self.rounds {
                for (name, server) in self.servers(executable).await? {
                    console::progress(format_args!("{}: {name}, round {round} of {}", load.name(), self.rounds));
                    let outcome = Fanout { target: server.target.clone(), load }.measure().await?;
                    match runs.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, outcomes)) => outcomes.push(outcome),
                        None => runs.push((name, vec![outcome])),
                    }
                }
            }
            for (name, outcomes) in runs {
                let middle = median(&outcomes, fanout::Outcome::per_cpu_second).context("no run")?;
                figures.push((name.to_owned(), load, middle));
            }
        }
        Ok(figures)
    }

    async fn idle(&self, executable: &Path, figures: &mut Figures) -> anyhow::Result<()> {
        for (subscriptions, _) in IDLE_BYTES {
            for (name, server) in self.servers(executable).await?.into_iter().filter(|(name, _)| *name != FLOOR) {
                console::progress(format_args!(
                    "{} idle connections, {subscriptions} subscriptions: {name}",
                    self.connections
                ));
                let target = server.target.clone();
                let idle = Idle { target, connections: self.connections, subscriptions, channels: 500 };
                figures.idle.push((name.to_owned(), idle.clone(), idle.measure().await?));
            }
        }
        Ok(())
    }

    async fn churn(&self, executable: &Path, figures: &mut Figures) -> anyhow::Result<()> {
        for (name, server) in self.servers(executable).await?.into_iter().filter(|(name, _)| *name != FLOOR) {
            console::progress(format_args!("clients that come and go: {name}"));
            let churn = Churn { target: server.target.clone(), clients: 20_000, threads: 4 };
            figures.churn.push((name.to_owned(), churn.clone(), churn.measure().await?));
        }
        Ok(())
    }

    /// Fresh ones, so that no run carries what another left.
    async fn servers(&self, executable: &Path) -> anyhow::Result<Vec<(&'static str, Server)>> {
        let own = std::env::current_exe()?;
        let floor = Server::start(&own, &["floor", "--listen", "127.0.0.1:0"]).await?;
        let hub = Server::start(executable, &["hub", "--listen", "127.0.0.1:0", "--hub-config", CONFIG]).await?;
        Ok([(FLOOR, floor), (HUB, hub)].into_iter().chain(self.peer().await?.map(|peer| (PEER, peer))).collect())
    }

    async fn peer(&self) -> anyhow::Result<Option<Server>> {
        let Some(origin) = &self.peer else { return Ok(None) };
        let Some(command) = &self.peer_command else {
            return Ok(Some(Server { target: target(origin, self.peer_pid), _process: None, _peer: None }));
        };
        let peer = Peer::start(command, origin).await?;
        Ok(Some(Server { target: target(origin, Some(peer.pid())), _process: None, _peer: Some(peer) }))
    }
}

/// A server with what it takes to talk to it. Killed when dropped, unless somebody else started it.
struct Server {
    target: Target,
    _process: Option<Process>,
    _peer: Option<Peer>,
}

impl Server {
    async fn start(executable: &Path, args: &[&str]) -> anyhow::Result<Self> {
        let process = Process::start(executable, args).await?;
        Ok(Self { target: target(&process.origin(), Some(process.pid())), _process: Some(process), _peer: None })
    }
}

fn target(origin: &str, server_pid: Option<u32>) -> Target {
    Target {
        websocket: format!("{}/connection/websocket", origin.replacen("http", "ws", 1)),
        api: format!("{origin}/api"),
        api_key: API_KEY.to_owned(),
        token_secret: Some(TOKEN_SECRET.to_owned()),
        channel_prefix: "bench:".to_owned(),
        server_pid,
    }
}

fn report(figures: &Figures, machine: &Table) -> anyhow::Result<String> {
    let mut text = String::from("# The hub's sockets, measured\n\n");
    writeln!(text, "Server and clients share one machine over 127.0.0.1.\n\n{machine}")?;
    writeln!(text, "## Aims\n\n{}", aims(figures))?;
    writeln!(text, "## Fan-out\n\n{}\n{FANOUT_NOTES}\n", fanout::table(&figures.fanout))?;
    writeln!(text, "## Many rooms per connection\n\n{}\n{ROOMS_NOTES}\n", fanout::table(&figures.rooms))?;
    writeln!(text, "## Idle connections\n\n{}\n{IDLE_NOTES}\n", idle::table(&figures.idle))?;
    writeln!(text, "## Clients that come and go\n\n{}", churn::table(&figures.churn))?;
    Ok(text)
}

fn aims(figures: &Figures) -> Table {
    let mut table = Table::new(&["aim", "measured", "reached"]);
    let mut note = |aim: String, measured: String, reached: bool| {
        table.row([aim, measured, if reached { "yes" } else { "**no**" }.to_owned()]);
    };
    let of = |name: &str, load: Load| {
        let found = figures.fanout.iter().find(|(server, this, _)| server == name && *this == load);
        found.map(|(_, _, outcome)| outcome)
    };
    for load in loads() {
        let (Some(floor), Some(hub)) = (of(FLOOR, load), of(HUB, load)) else { continue };
        match SATURATED.iter().find(|(window, _)| load.window == Some(*window)) {
            None => {
                let share = 100.0 * hub.per_cpu_second() / floor.per_cpu_second();
                let aim = format!("{}: ≥ {SHARE:.0} % of the floor's deliveries per CPU-second", load.name());
                note(aim, format!("{share:.0} %"), share >= SHARE);
                let tail = p99(hub).0 as f64 / p99(floor).0 as f64;
                let aim = format!("{}: p99 ≤ {TAIL} × the floor's", load.name());
                note(aim, format!("{tail:.2} × ({} / {} ms)", p99(hub), p99(floor)), tail <= TAIL);
            }
            Some((_, millions)) => {
                let measured = hub.per_cpu_second() / 1e6;
                let aim = format!("{}: ≥ {millions} million per CPU-second", load.name());
                note(
                    aim,
                    format!("{measured:.2} million (floor {:.2})", floor.per_cpu_second() / 1e6),
                    measured >= *millions,
                );
            }
        }
    }
    for (subscriptions, bytes) in IDLE_BYTES {
        let hub = figures.idle.iter().find(|(server, idle, _)| server == HUB && idle.subscriptions == subscriptions);
        let Some((_, _, outcome)) = hub else { continue };
        let aim = format!("idle connection, {subscriptions} subscription(s): ≤ {} bytes", thousands(bytes));
        note(aim, thousands(outcome.bytes), outcome.bytes <= bytes);
    }
    if let Some((_, _, outcome)) =
        figures.idle.iter().find(|(server, idle, _)| server == HUB && idle.subscriptions == 1)
    {
        let seconds = outcome.connect.as_secs_f64();
        note(
            format!("connect, token and subscription: ≤ {:.1} ms CPU", CONNECT * 1e3),
            format!("{:.3} ms", seconds * 1e3),
            seconds <= CONNECT,
        );
    }
    table
}

const FANOUT_NOTES: &str = "\
One channel, 200 bytes of data, published over HTTP, by one connection at fixed rates; positions, history of 300, recovery, presence and a
token for each client. The median of the rounds by deliveries per CPU-second. *In flight*: the next publication goes out
when the oldest has come to every client. CPU is the server's, user and system; on loopback a write also pays for what the
kernel does for its receiver. The floor (`bench floor`) is a loop that writes an already framed message to every socket and
does nothing else; a hub that puts several publications into one write can be above it.

On another day, on a like machine, Centrifugo 6.9.1 per CPU-second: 133,000, 94,000, 69,000 at the three fixed rates (41,
26, 29 % of that day's floor); saturated 256,000 and 268,000.";

const ROOMS_NOTES: &str = "\
As above, the publications over all rooms in turn: with 50 rooms each and 500 in all, a room has 20 clients. What is to be
gained here is gathering: several rooms' publications in one write to a connection. The floor writes each alone.";

const IDLE_NOTES: &str = "\
Resident memory of the server, after less before; the kernel's own memory for sockets is not in it. Centrifugo 6.9.1 on
another day: 44,600 bytes with one subscription.";

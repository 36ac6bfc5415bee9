//! The product in one of its two shapes. Parts keep their ports, so that they can be killed and started again.

use std::time::Duration;

use anyhow::Context;

use crate::{OwnServer, Person, Process, free_port};

/// How the roles are spread over processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `roomcast demo`.
    OneProcess,
    /// `roomcast backend`, `roomcast relay`, `roomcast hub`.
    Split,
}

/// A role that can be killed on its own in the split shape; in one process any of them is the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Pages and API.
    Backend,
    /// Database to hub.
    Relay,
    /// Sockets.
    Hub,
}

/// What to start: a shape on a database, and what differs from the defaults.
#[derive(Clone, Debug)]
pub struct Plan {
    shape: Shape,
    /// Arguments that name the database.
    pub database: Vec<String>,
    /// As the relay sees it; the same unless told. Split shape only.
    pub relay_reads_from: Vec<String>,
    ports: [u16; 3],
    /// More arguments for what has the hub.
    pub hub_args: Vec<String>,
    /// More arguments for what has the relay.
    pub relay_args: Vec<String>,
    /// Whom the hub asks; the backend unless told. Split shape only.
    pub hub_asks: String,
    /// How long a connection may say nothing; as the product has it unless told.
    pub silence: Option<Duration>,
    /// Where the backend publishes by itself; the hub unless told. Split shape only.
    pub backend_publishes_to: String,
    /// Where the relay delivers; the hub unless told. Split shape only.
    pub relay_delivers_to: String,
    /// What joins hubs; nothing unless told. Split shape only.
    pub engine: Option<String>,
    /// Where clients come in; the hub unless told.
    pub clients_come_by: String,
}

impl Plan {
    /// The defaults, with the demo's people.
    pub fn new(shape: Shape, database_url: &str) -> Self {
        Self::on(shape, owned(&["--database-url", database_url]))
    }

    /// One process with a PostgreSQL of its own.
    pub fn with_own_server(server: &OwnServer) -> Self {
        let (data, bin) = (server.data_dir(), server.postgres_bin());
        let database = [
            "--data-dir".to_owned(),
            data.display().to_string(),
            "--postgres-bin".to_owned(),
            bin.display().to_string(),
        ];
        Self::on(Shape::OneProcess, database.to_vec())
    }

    fn on(shape: Shape, database: Vec<String>) -> Self {
        let ports = [free_port(), free_port(), free_port()];
        let hub = format!("127.0.0.1:{}", ports[Part::Hub as usize]);
        Self {
            shape,
            relay_reads_from: database.clone(),
            database,
            hub_asks: format!("127.0.0.1:{}", ports[Part::Backend as usize]),
            silence: None,
            ports,
            hub_args: Vec::new(),
            relay_args: Vec::new(),
            backend_publishes_to: hub.clone(),
            relay_delivers_to: hub.clone(),
            engine: None,
            clients_come_by: hub,
        }
    }

    /// `host:port` of a part.
    pub fn address(&self, part: Part) -> String {
        format!("127.0.0.1:{}", self.ports[self.slot_of(part) as usize])
    }

    /// Starts it.
    pub async fn start(self) -> anyhow::Result<App> {
        let split = self.shape == Shape::Split;
        let mut app = App { plan: self, processes: [const { None }; 3] };
        app.restart(Part::Backend).await?;
        if split {
            app.restart(Part::Hub).await?;
            app.restart(Part::Relay).await?;
        }
        Ok(app)
    }

    fn slot_of(&self, part: Part) -> Part {
        if self.shape == Shape::OneProcess { Part::Backend } else { part }
    }

    fn arguments(&self, part: Part) -> Vec<String> {
        let listen = self.address(part);
        let mut args = match (self.shape, part) {
            (Shape::OneProcess, _) => owned(&["demo", "--listen", &listen]),
            (Shape::Split, Part::Backend) => self.backend(&listen),
            (Shape::Split, Part::Hub) => self.hub(&listen),
            (Shape::Split, Part::Relay) => self.relay(&listen),
        };
        match part {
            Part::Hub => {}
            Part::Relay => args.extend(self.relay_reads_from.iter().cloned()),
            Part::Backend => args.extend(self.database.iter().cloned()),
        }
        if self.shape == Shape::OneProcess {
            args.extend(self.hub_args.iter().chain(&self.relay_args).cloned());
        }
        args.extend(self.silence.map(|bound| format!("--silence={}ms", bound.as_millis())));
        args
    }

    fn backend(&self, listen: &str) -> Vec<String> {
        self.joined(&[
            "backend",
            "--listen",
            listen,
            "--migrate",
            "--demo-users",
            "--allow-request-mode",
            "--hub-public-url",
            &format!("ws://{}/connection/websocket", self.clients_come_by),
            "--hub",
            &format!("http://{}", self.backend_publishes_to),
        ])
    }

    fn relay(&self, listen: &str) -> Vec<String> {
        let hub = format!("http://{}", self.relay_delivers_to);
        let mut args = self.joined(&["relay", "--listen", listen, "--hub", &hub]);
        args.extend(self.relay_args.iter().cloned());
        args
    }

    fn hub(&self, listen: &str) -> Vec<String> {
        let backend = format!("http://{}", self.hub_asks);
        let mut args = self.joined(&["hub", "--listen", listen, "--backend", &backend]);
        args.extend(self.hub_args.iter().cloned());
        args
    }

    /// With the engine, if there is one.
    fn joined(&self, args: &[&str]) -> Vec<String> {
        let engine = self.engine.iter().flat_map(|engine| ["--engine".to_owned(), engine.clone()]);
        owned(args).into_iter().chain(engine).collect()
    }
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|&arg| arg.to_owned()).collect()
}

/// A running product on a database of its own.
pub struct App {
    plan: Plan,
    processes: [Option<Process>; 3],
}

impl App {
    /// Starts the product with the demo's people.
    pub async fn start(shape: Shape, database_url: &str) -> anyhow::Result<Self> {
        Plan::new(shape, database_url).start().await
    }

    /// `host:port` of pages and API.
    pub fn http(&self) -> String {
        self.address(Part::Backend)
    }

    /// The WebSocket's URL.
    pub fn websocket(&self) -> String {
        let way_in = match self.plan.shape {
            Shape::OneProcess => self.address(Part::Hub),
            Shape::Split => self.plan.clients_come_by.clone(),
        };
        format!("ws://{way_in}/connection/websocket")
    }

    /// `host:port` of a part.
    pub fn address(&self, part: Part) -> String {
        self.plan.address(part)
    }

    /// kill -9 of the process that plays this part.
    pub async fn kill(&mut self, part: Part) -> anyhow::Result<()> {
        let slot = self.plan.slot_of(part) as usize;
        match self.processes[slot].take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Starts the process of this part, on the port that it had.
    pub async fn restart(&mut self, part: Part) -> anyhow::Result<()> {
        let slot = self.plan.slot_of(part);
        self.processes[slot as usize] = Some(start(&self.plan.arguments(slot)).await?);
        Ok(())
    }

    /// One more relay, like the one that is there; it listens wherever there is room.
    pub async fn another_relay(&self) -> anyhow::Result<Process> {
        anyhow::ensure!(self.plan.shape == Shape::Split, "one process has one relay");
        let database = self.plan.relay_reads_from.iter().cloned();
        start(&self.plan.relay("127.0.0.1:0").into_iter().chain(database).collect::<Vec<_>>()).await
    }

    /// One more hub, like the one that is there, at this `host:port`.
    pub async fn another_hub(&self, listen: &str) -> anyhow::Result<Process> {
        anyhow::ensure!(self.plan.shape == Shape::Split, "one process has one hub");
        start(&self.plan.hub(listen)).await
    }

    /// Ctrl-C for the process that plays this part; false when it ended otherwise than by itself.
    pub async fn end(&mut self, part: Part) -> anyhow::Result<bool> {
        match self.processes[self.plan.slot_of(part) as usize].take() {
            Some(mut process) => process.stop().await,
            None => Ok(true),
        }
    }

    /// Waits until the process of this part has ended by itself. True when it ended with success.
    pub async fn ended(&mut self, part: Part) -> anyhow::Result<bool> {
        let process = self.processes[self.plan.slot_of(part) as usize].as_mut();
        process.context("it was stopped before")?.ended().await
    }

    /// Ctrl-C for everything; false when a part ended otherwise than by itself.
    pub async fn stop(mut self) -> anyhow::Result<bool> {
        let mut clean = true;
        for part in [Part::Relay, Part::Hub, Part::Backend] {
            if let Some(mut process) = self.processes[part as usize].take() {
                clean &= process.stop().await.with_context(|| format!("stopping {part:?}"))?;
            }
        }
        Ok(clean)
    }

    /// What the process of this part has written.
    pub fn log(&self, part: Part) -> String {
        self.processes[self.plan.slot_of(part) as usize].as_ref().map(Process::log).unwrap_or_default()
    }

    /// One of the demo's people, signed in.
    pub async fn person(&self, username: &str) -> anyhow::Result<Person> {
        Person::sign_in(&self.http(), username).await
    }
}

async fn start(args: &[String]) -> anyhow::Result<Process> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Process::start(&args).await
}

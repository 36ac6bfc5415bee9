//! The product in one of its two shapes. Parts keep their ports, so that they can be killed and started again.

use crate::{Person, Process, free_port};

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
    /// Outbox to hub.
    Relay,
    /// Sockets.
    Hub,
}

/// A running product on a database of its own.
pub struct App {
    shape: Shape,
    database_url: String,
    ports: [u16; 3],
    extra: Vec<String>,
    processes: [Option<Process>; 3],
}

impl App {
    /// Starts the product with the demo's people.
    pub async fn start(shape: Shape, database_url: &str) -> anyhow::Result<Self> {
        Self::start_with(shape, database_url, &[]).await
    }

    /// Starts it with more arguments for the part that has the hub.
    pub async fn start_with(shape: Shape, database_url: &str, hub_args: &[&str]) -> anyhow::Result<Self> {
        let mut app = Self {
            shape,
            database_url: database_url.to_owned(),
            ports: [free_port(), free_port(), free_port()],
            extra: hub_args.iter().map(|&arg| arg.to_owned()).collect(),
            processes: [const { None }; 3],
        };
        app.restart(Part::Backend).await?;
        if shape == Shape::Split {
            app.restart(Part::Hub).await?;
            app.restart(Part::Relay).await?;
        }
        Ok(app)
    }

    /// `host:port` of pages and API.
    pub fn http(&self) -> String {
        self.address(Part::Backend)
    }

    /// The WebSocket's URL.
    pub fn websocket(&self) -> String {
        format!("ws://{}/connection/websocket", self.address(self.slot_of(Part::Hub)))
    }

    /// `host:port` of a part.
    pub fn address(&self, part: Part) -> String {
        format!("127.0.0.1:{}", self.ports[self.slot_of(part) as usize])
    }

    /// kill -9 of the process that plays this part.
    pub async fn kill(&mut self, part: Part) -> anyhow::Result<()> {
        let slot = self.slot_of(part) as usize;
        match self.processes[slot].take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Starts the process of this part, on the port that it had.
    pub async fn restart(&mut self, part: Part) -> anyhow::Result<()> {
        let slot = self.slot_of(part);
        let args = self.arguments(slot);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.processes[slot as usize] = Some(Process::start(&args).await?);
        Ok(())
    }

    /// Ctrl-C for everything; false when a part ended otherwise than by itself.
    pub async fn stop(mut self) -> anyhow::Result<bool> {
        let mut clean = true;
        for part in [Part::Relay, Part::Hub, Part::Backend] {
            if let Some(mut process) = self.processes[part as usize].take() {
                clean &= process.stop().await?;
            }
        }
        Ok(clean)
    }

    /// What the process of this part has written.
    pub fn log(&self, part: Part) -> String {
        self.processes[self.slot_of(part) as usize].as_ref().map(Process::log).unwrap_or_default()
    }

    /// One of the demo's people, signed in.
    pub async fn person(&self, username: &str) -> anyhow::Result<Person> {
        Person::sign_in(&self.http(), username).await
    }

    fn slot_of(&self, part: Part) -> Part {
        if self.shape == Shape::OneProcess { Part::Backend } else { part }
    }

    fn arguments(&self, part: Part) -> Vec<String> {
        let listen = format!("127.0.0.1:{}", self.ports[part as usize]);
        let database = self.database_url.clone();
        let of = |args: &[&str]| args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>();
        let backend = format!("http://127.0.0.1:{}", self.ports[Part::Backend as usize]);
        let hub = format!("127.0.0.1:{}", self.ports[Part::Hub as usize]);
        let mut args = match (self.shape, part) {
            (Shape::OneProcess, _) => of(&["demo", "--listen", &listen, "--database-url", &database]),
            (Shape::Split, Part::Backend) => of(&[
                "backend",
                "--listen",
                &listen,
                "--database-url",
                &database,
                "--migrate",
                "--demo-users",
                "--hub-public-url",
                &format!("ws://{hub}/connection/websocket"),
            ]),
            (Shape::Split, Part::Hub) => of(&["hub", "--listen", &listen, "--backend", &backend]),
            (Shape::Split, Part::Relay) => {
                of(&["relay", "--listen", &listen, "--database-url", &database, "--hub", &format!("http://{hub}")])
            }
        };
        if self.shape == Shape::OneProcess || part == Part::Hub {
            args.extend(self.extra.iter().cloned());
        }
        args
    }
}

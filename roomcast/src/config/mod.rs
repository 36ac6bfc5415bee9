//! Settings: a flag, else an environment variable, else a default that is right on one's own machine.
//!
//! A wrong value ends the start with the name of its flag and variable. Secrets are never printed.
#![expect(clippy::doc_markdown, reason = "these comments are what --help prints, where Markdown is noise")]

mod connectors;
mod engine;
mod read_model;
mod secret;
mod value;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

pub use connectors::{Apply, ConnectorAction, Connectors, Supervision, Which};
pub use engine::{Engine, EngineSettings};
pub use read_model::{ReadModel, ReadModelAction, ReadModelOf, ReadModelRun};
use secret::DEMO_SECRET;
pub use secret::{Secret, Secrets, check_secrets};
use value::{duration, hubs, origin, silence};

use crate::telemetry::LogSettings;

/// A real-time chat that shows, measures and guarantees how an event travels from a database commit to a browser.
#[derive(Parser, Debug)]
#[command(name = "roomcast", version, about, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    demo: Demo,
    /// How the log looks.
    #[command(flatten)]
    pub log: LogSettings,
    /// How long a connection to PostgreSQL, to Kafka or to another process may say nothing until it counts as dead and is
    /// made anew: from 1s to 10m (see docs/silence.md)
    #[arg(long, env = "ROOMCAST_SILENCE", default_value = "15s", value_parser = silence, global = true, help_heading = "Connections")]
    pub silence: Duration,
}

impl Cli {
    /// The role that was asked for: the demo unless another was named.
    pub fn role(self) -> Role {
        self.role.unwrap_or(Role::Demo(self.demo))
    }
}

/// What this process shall be.
#[derive(Subcommand, Debug)]
pub enum Role {
    /// Everything in one process, on an embedded PostgreSQL (this is what runs when no role is named)
    Demo(Demo),
    /// The chat's pages and HTTP API: writes each message and the row that announces it
    Backend(Backend),
    /// Carries committed rows from the outbox to the hub
    Relay(Relay),
    /// The WebSocket server
    Hub(Hub),
    /// Brings the database's schema up to date
    Migrate(Migrate),
    /// Shows or switches the way that messages travel by from now on
    Mode(Mode),
    /// Applies, shows, restarts or removes Debezium's connectors, which modes cdc, api_cdc and message need
    Connectors(Connectors),
    /// Makes a room list of Debezium's events: runs its consumer, shows how far it is, makes it anew
    ReadModel(ReadModel),
    /// Shows or removes replication slots, each of which makes PostgreSQL keep log until somebody has read it
    Slots(Slots),
    /// Lists, shows, replays or discards rows that could not be delivered
    DeadLetters(DeadLetters),
    /// Asks a running process whether it is ready, and exits with 0 or 1
    Health(Health),
}

/// Settings of `roomcast demo`.
#[derive(Args, Debug, Clone)]
pub struct Demo {
    /// Where people come in.
    #[command(flatten)]
    pub listen: Listen,
    /// An existing PostgreSQL (wal_level=logical for the later modes); without it a private one is started
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<Secret>,
    /// The private PostgreSQL.
    #[command(flatten)]
    pub embedded: Embedded,
    /// Start Kafka, Kafka Connect and Debezium as well (takes Java 17 and Maven), for the modes cdc, api_cdc and message
    #[arg(long, env = "ROOMCAST_CDC")]
    pub cdc: bool,
    /// Latency of Debezium with --cdc: seed (the articles' values) or tuned
    #[arg(long, env = "ROOMCAST_CDC_PROFILE", default_value_t)]
    pub cdc_profile: debezium::Profile,
    /// Forget the data of earlier runs and start over
    #[arg(long, conflicts_with = "database_url")]
    pub fresh: bool,
    /// Who may talk to whom.
    #[command(flatten)]
    pub secrets: Secrets,
    /// The seeded people.
    #[command(flatten)]
    pub users: DemoUsers,
    /// What the relay reads, and how.
    #[command(flatten)]
    pub sources: Sources,
    /// How the hub treats browsers.
    #[command(flatten)]
    pub sockets: Sockets,
}

/// Settings of `roomcast backend`.
#[derive(Args, Debug, Clone)]
pub struct Backend {
    /// Where people come in.
    #[command(flatten)]
    pub listen: Listen,
    /// The truth.
    #[command(flatten)]
    pub database: Database,
    /// Who may talk to whom.
    #[command(flatten)]
    pub secrets: Secrets,
    /// The seeded people.
    #[command(flatten)]
    pub users: DemoUsers,
    /// Where browsers reach the hub's WebSocket, such as wss://chat.example.org/connection/websocket; without it
    /// they use the page's own origin
    #[arg(long, env = "ROOMCAST_HUB_PUBLIC_URL")]
    pub hub_public_url: Option<String>,
    /// Hubs that this backend publishes to itself, such as http://127.0.0.1:8001; the modes api and api_cdc need them.
    /// dns+http://hubs:8001 means every address of that name
    #[arg(long = "hub", env = "ROOMCAST_HUB_URLS", value_delimiter = ',', value_parser = hubs)]
    pub hubs: Vec<String>,
    /// The other way to publish.
    #[command(flatten)]
    pub engine: EngineSettings,
    /// Bring the schema up to date before starting
    #[arg(long, env = "ROOMCAST_MIGRATE")]
    pub migrate: bool,
}

/// Settings of `roomcast relay`.
#[derive(Args, Debug, Clone)]
pub struct Relay {
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, env = "ROOMCAST_LISTEN", default_value = "127.0.0.1:8002")]
    pub listen: SocketAddr,
    /// The truth.
    #[command(flatten)]
    pub database: Database,
    /// A direct connection for the relay where DATABASE_URL goes through a pooler: LISTEN and session locks need one
    #[arg(long, env = "ROOMCAST_RELAY_DATABASE_URL", hide_env_values = true)]
    pub relay_database_url: Option<Secret>,
    /// The hubs to deliver to, such as http://127.0.0.1:8001; every one gets every row. dns+http://hubs:8001 means every
    /// address of that name, looked up all the time
    #[arg(long = "hub", env = "ROOMCAST_HUB_URLS", value_delimiter = ',', value_parser = hubs)]
    pub hubs: Vec<String>,
    /// The other way to deliver.
    #[command(flatten)]
    pub engine: EngineSettings,
    /// The hubs' API key
    #[arg(long, env = "ROOMCAST_API_KEY", hide_env_values = true, default_value = DEMO_SECRET)]
    pub api_key: Secret,
    /// What the relay reads, and how.
    #[command(flatten)]
    pub sources: Sources,
    /// What fills Kafka.
    #[command(flatten)]
    pub supervision: Supervision,
}

/// Settings of `roomcast hub`.
#[derive(Args, Debug, Clone)]
pub struct Hub {
    /// What to do instead of being a hub.
    #[command(subcommand)]
    pub action: Option<HubAction>,
    /// Address of the WebSocket, the server API and /healthz, /readyz, /metrics
    #[arg(long, env = "ROOMCAST_LISTEN", default_value = "127.0.0.1:8001")]
    pub listen: SocketAddr,
    /// The backend, which knows who may hear what, such as http://127.0.0.1:8000; without it the hub serves the
    /// channels of its configuration alone
    #[arg(long, env = "ROOMCAST_BACKEND_URL", value_parser = origin)]
    pub backend: Option<String>,
    /// For development, on a loopback address: no token, no key, and everybody may do everything
    #[arg(long, env = "ROOMCAST_HUB_INSECURE")]
    pub insecure: bool,
    /// Take sockets only this long after the start, where relays find hubs by name: they shall know this one before
    /// browsers do
    #[arg(long, env = "ROOMCAST_SOCKETS_AFTER", value_parser = duration)]
    pub sockets_after: Option<Duration>,
    /// What joins it with other hubs.
    #[command(flatten)]
    pub engine: EngineSettings,
    /// Who may talk to whom.
    #[command(flatten)]
    pub secrets: Secrets,
    /// How the hub treats browsers.
    #[command(flatten)]
    pub sockets: Sockets,
}

/// What can be done with a hub's settings besides running it.
#[derive(Subcommand, Debug, Clone)]
pub enum HubAction {
    /// Says what becomes of each line of a configuration file: understood, harmless to leave out, not there
    ///
    /// For configurations of Centrifugo 6, in JSON, YAML or TOML. Exits with 0 if the hub would start with it as it is.
    Check {
        /// Such as config.json, config.yaml or config.toml
        file: PathBuf,
    },
}

/// Settings of `roomcast migrate`.
#[derive(Args, Debug, Clone)]
pub struct Migrate {
    /// The truth.
    #[command(flatten)]
    pub database: Database,
}

/// The database that a command works on.
#[derive(Args, Debug, Clone)]
pub struct Running {
    /// The database; without it, the running demo's
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    pub database_url: Option<Secret>,
    /// Where the demo keeps its data, when not in the usual place
    #[arg(long, env = "ROOMCAST_DATA_DIR", global = true)]
    pub data_dir: Option<PathBuf>,
}

/// Settings of `roomcast mode`.
#[derive(Args, Debug, Clone)]
pub struct Mode {
    /// Whose.
    #[command(flatten)]
    pub database: Running,
    /// What to do.
    #[command(subcommand)]
    pub action: ModeAction,
}

/// What to do with the broadcast mode.
#[derive(Subcommand, Debug, Clone, Copy)]
pub enum ModeAction {
    /// Print it
    Get,
    /// Switch it, for every message from now on; browsers are told
    Set {
        /// api, outbox, cdc, api_cdc, message or wal
        mode: protocol::Mode,
    },
}

/// Settings of `roomcast slots`.
#[derive(Args, Debug, Clone)]
pub struct Slots {
    /// Whose.
    #[command(flatten)]
    pub database: Running,
    /// What to do.
    #[command(subcommand)]
    pub action: SlotAction,
}

/// What to do with replication slots.
#[derive(Subcommand, Debug, Clone)]
pub enum SlotAction {
    /// Each logical slot of the database, who reads it, and how much log it keeps
    List,
    /// Remove slots that nobody reads; what is older than the next one reaches people from the timeline
    Remove {
        /// As `list` prints them
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// Settings of `roomcast dead-letters`.
#[derive(Args, Debug, Clone)]
pub struct DeadLetters {
    /// Whose.
    #[command(flatten)]
    pub database: Running,
    /// What to do.
    #[command(subcommand)]
    pub action: DeadLetterAction,
}

/// What to do with dead letters.
#[derive(Subcommand, Debug, Clone)]
pub enum DeadLetterAction {
    /// Oldest first: id, when, method, partition, attempts and reason
    List {
        /// Only those with an id above this one
        #[arg(long, default_value_t = 0)]
        after: i64,
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: u16,
    },
    /// One letter with its payload
    Show {
        /// As `list` prints it
        id: i64,
    },
    /// Put letters back on their way, as if they had just been written
    Replay(Letters),
    /// Throw letters away for good
    Discard(Letters),
}

/// Some letters, or all.
#[derive(Args, Debug, Clone)]
pub struct Letters {
    /// As `list` prints them
    #[arg(required_unless_present = "all")]
    pub ids: Vec<i64>,
    /// Every letter
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
}

/// Settings of `roomcast health`.
#[derive(Args, Debug, Clone)]
pub struct Health {
    /// Where that process listens
    #[arg(long, env = "ROOMCAST_LISTEN", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// What to ask instead of /readyz there
    #[arg(long)]
    pub url: Option<String>,
}

/// Where people come in.
#[derive(Args, Debug, Clone)]
pub struct Listen {
    /// Address of the pages, the API and the WebSocket
    #[arg(long = "listen", env = "ROOMCAST_LISTEN", default_value = "127.0.0.1:8000")]
    pub address: SocketAddr,
    /// Send session cookies over HTTPS only: set it wherever browsers come in by HTTPS
    #[arg(long, env = "ROOMCAST_SECURE_COOKIES")]
    pub secure_cookies: bool,
    /// Let a message name the way that it travels by ("mode" in POST /api/rooms/{id}/messages)
    /// [default: in `demo` on a loopback address]
    #[arg(long, env = "ROOMCAST_ALLOW_REQUEST_MODE", num_args = 0..=1, default_missing_value = "true")]
    pub allow_request_mode: Option<bool>,
    /// Believe X-Real-IP: only behind a proxy that sets it itself, and that nobody can come around
    #[arg(long, env = "ROOMCAST_BEHIND_PROXY")]
    pub behind_proxy: bool,
}

/// The truth.
#[derive(Args, Debug, Clone)]
pub struct Database {
    /// PostgreSQL, such as postgres://user:password@127.0.0.1:5432/roomcast
    #[arg(long = "database-url", env = "DATABASE_URL", hide_env_values = true)]
    pub url: Secret,
}

/// The private PostgreSQL of the demo.
#[derive(Args, Debug, Clone)]
pub struct Embedded {
    /// Where the demo keeps its data [default: the user's data directory]
    #[arg(long, env = "ROOMCAST_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Directory of `postgres` and `initdb` to use instead of the pinned version
    #[arg(long, env = "ROOMCAST_POSTGRES_BIN")]
    pub postgres_bin: Option<PathBuf>,
}

/// The seeded people.
#[derive(Args, Debug, Clone)]
pub struct DemoUsers {
    /// Seed alice, bob, carol and dave (password "roomcast") and show them on the login page
    /// [default: in `demo` on a loopback address]
    #[arg(long, env = "ROOMCAST_DEMO_USERS", num_args = 0..=1, default_missing_value = "true")]
    pub demo_users: Option<bool>,
}

/// What the relay reads, and how.
#[derive(Args, Debug, Clone)]
pub struct Sources {
    /// How long the relay waits between two looks at the outbox when nothing wakes it
    #[arg(long, env = "ROOMCAST_POLL_INTERVAL", default_value = "300ms", value_parser = duration)]
    pub poll_interval: Duration,
    /// How many rows of a partition the relay takes at a time
    #[arg(long, env = "ROOMCAST_BATCH_SIZE", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub batch_size: u16,
    /// How many workers of this relay share the partitions
    #[arg(long, env = "ROOMCAST_RELAY_WORKERS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub relay_workers: u16,
    /// Hear NOTIFY; without it only polling and the wake-up inside the process remain
    #[arg(long, env = "ROOMCAST_RELAY_LISTEN_NOTIFY", default_value_t = true, action = clap::ArgAction::Set)]
    pub relay_listen_notify: bool,
    /// How many partitions the rows are expected to be spread over; a database with another number is refused
    #[arg(long, env = "ROOMCAST_PARTITIONS")]
    pub partitions: Option<i16>,
    /// Read PostgreSQL's write-ahead log, which mode wal needs; takes wal_level=logical and a user with REPLICATION
    /// [default: in `demo` on the embedded PostgreSQL]
    #[arg(long, env = "ROOMCAST_WAL", num_args = 0..=1, default_missing_value = "true")]
    pub wal: Option<bool>,
    /// The replication slot for it. Slots belong to the whole server: a second Roomcast there needs another name
    #[arg(long, env = "ROOMCAST_WAL_SLOT", default_value = "roomcast_wal")]
    pub wal_slot: String,
    /// Read what Debezium writes to Kafka, which modes cdc, api_cdc and message need: host:port, several with commas
    #[arg(long, env = "ROOMCAST_KAFKA_BROKERS")]
    pub kafka_brokers: Option<String>,
}

/// How the hub treats its connections.
#[derive(Args, Debug, Clone)]
pub struct Sockets {
    /// Threads that deliver publications [default: one a core, less one]
    #[arg(long, env = "ROOMCAST_HUB_SHARDS")]
    pub hub_shards: Option<u16>,
    /// How often the hub pings each browser
    #[arg(long, env = "ROOMCAST_PING_INTERVAL", default_value = "25s", value_parser = duration)]
    pub ping_interval: Duration,
    /// Bytes that may wait for a slow browser before it is disconnected; it comes back and recovers
    #[arg(long, env = "ROOMCAST_QUEUE_LIMIT", default_value_t = 1 << 20)]
    pub queue_limit: usize,
    /// Publications that the hub keeps of each room for those who come back
    #[arg(long, env = "ROOMCAST_HISTORY_SIZE", default_value_t = 300)]
    pub history_size: usize,
    /// Channels, tokens and limits in a file, in the words of Centrifugo's configuration: JSON, YAML or TOML (docs/hub.md)
    #[arg(long, env = "ROOMCAST_HUB_CONFIG")]
    pub hub_config: Option<PathBuf>,
    /// Origins of pages whose browsers may connect, such as https://chat.example.org, several with commas, * for any
    /// text [default: those of the hub's own host]
    #[arg(long = "allowed-origin", env = "ROOMCAST_ALLOWED_ORIGINS", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,
}

impl Listen {
    /// Whether a request may name its mode; `by_default` holds where nobody said.
    pub fn allows_request_mode(&self, by_default: bool) -> bool {
        self.allow_request_mode.unwrap_or(by_default && self.address.ip().is_loopback())
    }
}

impl DemoUsers {
    /// Whether to seed them; `by_default` holds where nobody said.
    pub fn wanted(&self, listen: SocketAddr, by_default: bool) -> bool {
        self.demo_users.unwrap_or(by_default && listen.ip().is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo(args: &[&str]) -> Demo {
        match Cli::try_parse_from([&["roomcast"], args].concat()).unwrap().role() {
            Role::Demo(demo) => demo,
            other => panic!("not the demo: {other:?}"),
        }
    }

    #[test]
    fn no_role_is_the_demo_on_loopback() {
        let demo = demo(&["--listen", "127.0.0.1:0"]);
        assert!(demo.listen.address.ip().is_loopback());
        assert!(demo.secrets.check(demo.listen.address).is_ok());
        assert!(demo.users.wanted(demo.listen.address, true));
        assert!(demo.listen.allows_request_mode(true) && !demo.listen.allows_request_mode(false));
    }

    #[test]
    fn demo_secrets_are_refused_elsewhere_by_name() {
        let demo = demo(&["--listen", "0.0.0.0:8000", "--token-secret", "0123456789abcdef"]);
        let refusal = demo.secrets.check(demo.listen.address).unwrap_err().to_string();
        assert!(refusal.contains("ROOMCAST_API_KEY") && !refusal.contains("ROOMCAST_TOKEN_SECRET"), "{refusal}");
        assert!(!demo.users.wanted(demo.listen.address, true));
        assert!(!demo.listen.allows_request_mode(true));
    }

    #[test]
    fn a_wrong_value_names_its_setting() {
        for (args, name) in [
            (["demo", "--poll-interval", "3"], "--poll-interval"),
            (["demo", "--poll-interval", "0ms"], "--poll-interval"),
            (["demo", "--batch-size", "0"], "--batch-size"),
            (["demo", "--listen", "nowhere"], "--listen"),
            (["hub", "--backend", "ftp://x"], "--backend"),
            (["hub", "--backend", "dns+http://x"], "--backend"),
            (["relay", "--hub", "dns+http://hubs"], "--hub"),
            (["hub", "--engine", "kafka"], "--engine"),
            (["relay", "--api-key", "file:/is/not/there"], "--api-key"),
            (["hub", "--silence", "500ms"], "--silence"),
            (["demo", "--silence", "11m"], "--silence"),
            (["relay", "--silence", "15"], "--silence"),
        ] {
            let error = Cli::try_parse_from(["roomcast"].iter().chain(&args)).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn the_bound_on_silence_is_the_same_for_every_role_and_its_default_that_of_the_library() {
        let bound = |args: &[&str]| Cli::try_parse_from([&["roomcast"], args].concat()).unwrap().silence;
        assert_eq!(bound(&[]), protocol::silence::DEFAULT);
        assert_eq!(bound(&["--silence", "2s"]), Duration::from_secs(2));
        assert_eq!(bound(&["relay", "--database-url", "x", "--silence", "1m"]), Duration::from_mins(1));
    }

    #[test]
    fn a_secret_can_be_in_a_file() {
        let file = std::env::temp_dir().join(format!("roomcast-secret-{}", std::process::id()));
        std::fs::write(&file, "what the file holds\n").unwrap();
        let demo = demo(&["--token-secret", &format!("file:{}", file.display())]);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(demo.secrets.token_secret.expose(), "what the file holds");
    }

    #[test]
    fn secrets_do_not_show() {
        let demo = demo(&["--token-secret", "do-not-show-me-please"]);
        assert!(!format!("{demo:?}").contains("do-not-show-me"));
    }
}

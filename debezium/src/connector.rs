//! A connector's settings: one of the three files in `connectors/`, a latency profile and a database, put together.

use std::{collections::BTreeMap, fmt, fs, path::Path, str::FromStr};

use percent_encoding::percent_decode_str;
use reqwest::Url;
use serde_json::Value;

use crate::error::{Error, While};

/// What a connector carries. `Display` and `FromStr` use the short name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Rows of `chat_cdc`, as they are.
    Rows,
    /// The same rows through the outbox event router.
    Events,
    /// Logical messages, which have no table.
    Messages,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Rows, Kind::Events, Kind::Messages];

    /// Its name in Connect.
    pub fn connector_name(self) -> &'static str {
        match self {
            Kind::Rows => "roomcast-rows",
            Kind::Events => "roomcast-events",
            Kind::Messages => "roomcast-messages",
        }
    }

    /// Its replication slot, as the file says.
    pub fn slot_name(self) -> &'static str {
        match self {
            Kind::Rows => "roomcast_rows",
            Kind::Events => "roomcast_events",
            Kind::Messages => "roomcast_messages",
        }
    }

    /// Where its records arrive.
    pub fn topic(self) -> &'static str {
        match self {
            Kind::Rows => "postgres.public.chat_cdc",
            Kind::Events => "room.events",
            Kind::Messages => "messages.message",
        }
    }

    fn file(self) -> (&'static str, &'static str) {
        match self {
            Kind::Rows => ("connectors/rows.json", include_str!("../connectors/rows.json")),
            Kind::Events => ("connectors/events.json", include_str!("../connectors/events.json")),
            Kind::Messages => ("connectors/messages.json", include_str!("../connectors/messages.json")),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Kind::Rows => "rows",
            Kind::Events => "events",
            Kind::Messages => "messages",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Kind {
    type Err = Error;

    /// Takes the name in Connect as well.
    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|kind| kind.word() == name || kind.connector_name() == name);
        found.ok_or_else(|| Error::Unknown {
            what: "connector",
            name: name.to_owned(),
            known: Self::ALL.map(Self::word).join(", "),
        })
    }
}

/// How much a connector hurries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// The values of the articles, as fast as they could be.
    Seed,
    /// What was measured as best.
    #[default]
    Tuned,
}

impl Profile {
    fn file(self) -> (&'static str, &'static str) {
        match self {
            Profile::Seed => ("profiles/seed.json", include_str!("../profiles/seed.json")),
            Profile::Tuned => ("profiles/tuned.json", include_str!("../profiles/tuned.json")),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Profile::Seed => "seed",
            Profile::Tuned => "tuned",
        })
    }
}

impl FromStr for Profile {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "seed" => Ok(Profile::Seed),
            "tuned" => Ok(Profile::Tuned),
            _ => Err(Error::Unknown { what: "profile", name: name.to_owned(), known: "seed, tuned".to_owned() }),
        }
    }
}

/// The database as Connect reaches it, which in containers is not how this program does.
#[derive(Clone, PartialEq, Eq)]
pub struct Database {
    /// Name or address of the machine.
    pub host: String,
    /// Port.
    pub port: u16,
    /// A role that may replicate.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Database.
    pub name: String,
}

impl FromStr for Database {
    type Err = Error;

    /// `postgres://user:password@host:port/database`
    fn from_str(address: &str) -> Result<Self, Error> {
        // The address may hold a password, which is nobody's business.
        let wrong = || Error::Address("…".to_owned());
        let url = Url::parse(address).map_err(|_| wrong())?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let name = decoded(url.path().trim_start_matches('/'));
        let known = matches!(url.scheme(), "postgres" | "postgresql");
        if !known || name.is_empty() || url.username().is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            host: url.host_str().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(5432),
            user: decoded(url.username()),
            password: decoded(url.password().unwrap_or_default()),
            name,
        })
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.host, self.port, self.name)
    }
}

/// Complete settings, ready for Connect.
#[derive(Clone, PartialEq, Eq)]
pub struct Connector {
    name: String,
    config: BTreeMap<String, String>,
}

impl Connector {
    /// One of the connectors of this crate.
    pub fn render(kind: Kind, profile: Profile, database: &Database) -> Result<Self, Error> {
        let (file, text) = kind.file();
        Self::from_text(file, text, profile, database)
    }

    /// A connector file of somebody's own, of the same form.
    pub fn from_file(path: &Path, profile: Profile, database: &Database) -> Result<Self, Error> {
        let text = fs::read_to_string(path).when(|| format!("read {}", path.display()))?;
        Self::from_text(&path.display().to_string(), &text, profile, database)
    }

    /// What Connect has under this name.
    pub(crate) fn from_config(name: &str, config: BTreeMap<String, String>) -> Self {
        Self { name: name.to_owned(), config }
    }

    fn from_text(file: &str, text: &str, profile: Profile, database: &Database) -> Result<Self, Error> {
        let (profile_file, profile_text) = profile.file();
        let mut config = settings(profile_file, profile_text)?;
        config.extend(settings(file, text)?); // what the connector says itself wins
        for value in config.values_mut() {
            *value = filled_in(value, database);
        }
        let name = config.get("name").cloned().ok_or_else(|| Error::Template {
            file: file.to_owned(),
            reason: "it has no `name`, under which Connect keeps it".to_owned(),
        })?;
        Ok(Self { name, config })
    }

    /// Its name in Connect.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All settings.
    pub fn config(&self) -> &BTreeMap<String, String> {
        &self.config
    }

    /// One setting.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.config.get(key).map(String::as_str)
    }

    /// The same connector with one setting changed.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.config.insert(key.to_owned(), value.to_owned());
        if key == "name" {
            value.clone_into(&mut self.name);
        }
        self
    }

    /// The replication slot that is its memory in PostgreSQL.
    pub fn slot(&self) -> Option<&str> {
        self.get("slot.name")
    }

    /// The publication, if Debezium makes it.
    pub fn own_publication(&self) -> Option<&str> {
        (self.get("publication.autocreate.mode") != Some("disabled")).then(|| self.get("publication.name"))?
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({}, {} settings)", self.name, self.config.len()) // one of them is a password
    }
}

fn settings(file: &str, text: &str) -> Result<BTreeMap<String, String>, Error> {
    let wrong = |reason: String| Error::Template { file: file.to_owned(), reason };
    let settings: BTreeMap<String, Value> = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let plain = |(key, value)| match value {
        Value::String(text) => Ok((key, text)),
        Value::Number(_) | Value::Bool(_) => Ok((key, value.to_string())),
        _ => Err(wrong(format!("`{key}` is neither text nor number nor true or false"))),
    };
    settings.into_iter().map(plain).collect()
}

/// Fills in what is ours. Others use the same brackets: the event router, and the secrets of a Connect in production.
fn filled_in(value: &str, database: &Database) -> String {
    let mut filled = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let (name, behind) = after.split_once('}').unwrap_or_default();
        match name {
            "host" => filled.push_str(&database.host),
            "port" => filled.push_str(&database.port.to_string()),
            "user" => filled.push_str(&database.user),
            "password" => filled.push_str(&database.password),
            "database" => filled.push_str(&database.name),
            _ => {
                filled.push_str("${");
                rest = after;
                continue;
            }
        }
        rest = behind;
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Database {
        "postgres://chat%40home:p%22${host}%2F@[::1]:6543/room%20cast".parse().unwrap()
    }

    #[test]
    fn an_address_is_taken_apart_and_decoded() {
        let found = database();
        assert_eq!((found.host.as_str(), found.port, found.name.as_str()), ("::1", 6543, "room cast"));
        assert_eq!((found.user.as_str(), found.password.as_str()), ("chat@home", "p\"${host}/"));
        let usual: Database = "postgres://me@db/chat".parse().unwrap();
        assert_eq!((usual.port, usual.password.as_str()), (5432, ""));
        for wrong in ["", "mysql://me@db/chat", "postgres://db/chat", "postgres://me@db"] {
            assert!(wrong.parse::<Database>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_our_own_placeholders_are_filled_in_and_only_once() {
        let events = Connector::render(Kind::Events, Profile::Tuned, &database()).unwrap();
        assert_eq!(events.get("database.password"), Some("p\"${host}/"));
        assert_eq!(events.get("transforms.outbox.route.topic.replacement"), Some("${routedByValue}.events"));
        assert_eq!(filled_in("${file:/secrets:password} ${host", &database()), "${file:/secrets:password} ${host");
    }

    #[test]
    fn a_connector_is_named_after_its_kind_and_so_are_slot_and_publication() {
        for kind in Kind::ALL {
            let connector = Connector::render(kind, Profile::Seed, &database()).unwrap();
            assert_eq!(connector.name(), kind.connector_name());
            let in_postgres = kind.connector_name().replace('-', "_");
            assert_eq!(connector.slot(), Some(in_postgres.as_str()));
            assert_eq!(connector.own_publication(), Some(in_postgres.as_str()));
            assert_eq!(kind.to_string().parse::<Kind>().unwrap(), kind);
        }
    }

    #[test]
    fn profiles_differ_in_latency_and_what_a_connector_says_itself_wins() {
        let poll =
            |profile| Connector::render(Kind::Rows, profile, &database()).unwrap().config["poll.interval.ms"].clone();
        assert_eq!((poll(Profile::Seed), poll(Profile::Tuned)), ("100".to_owned(), "5".to_owned()));
        let own = r#"{"name": "mine", "poll.interval.ms": 77, "errors.log.enable": true}"#;
        let connector = Connector::from_text("mine.json", own, Profile::Tuned, &database()).unwrap();
        assert_eq!(connector.get("poll.interval.ms"), Some("77"));
        assert_eq!(connector.get("errors.log.enable"), Some("true"));
    }

    #[test]
    fn a_password_is_not_shown() {
        let connector = Connector::render(Kind::Rows, Profile::Tuned, &database()).unwrap();
        assert!(!format!("{connector:?} {:?}", database()).contains("p\""));
    }

    #[test]
    fn every_key_is_explained_in_the_readme() {
        let readme = include_str!("../README.md");
        for kind in Kind::ALL {
            for key in Connector::render(kind, Profile::Tuned, &database()).unwrap().config().keys() {
                assert!(readme.contains(&format!("`{key}`")), "{key} of {kind} is not explained");
            }
        }
    }
}

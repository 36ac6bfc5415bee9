//! The keys that exist, as the real jars tell them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde::{Deserialize, Serialize};

/// The connector that all this is about.
pub const CONNECTOR: &str = "io.debezium.connector.postgresql.PostgresConnector";

/// Debezium heeds these but does not name them among its settings.
const UNTOLD: [&str; 1] = ["offset.mismatch.strategy"];

/// Known keys. `known-keys.json` has this form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Per class: the connector (with what Connect has for every source), and each plugin that can stand in its settings.
    pub classes: BTreeMap<String, BTreeSet<String>>,
    /// What may follow `producer.override.`.
    pub producer: BTreeSet<String>,
    /// What may follow `admin.override.`, for the client that makes topics.
    pub admin: BTreeSet<String>,
    /// Settings of a topic, for `topic.creation.GROUP.`.
    pub topic: BTreeSet<String>,
}

/// The committed list.
pub fn known() -> &'static Known {
    static KNOWN: LazyLock<Known> = LazyLock::new(|| {
        serde_json::from_str(include_str!("../../known-keys.json")).unwrap_or_else(|error| unreachable!("{error}"))
    });
    &KNOWN
}

impl Known {
    pub(super) fn of_class(&self, class: &str) -> Option<&BTreeSet<String>> {
        self.classes.get(class)
    }

    pub(super) fn has_class(&self, class: &str) -> bool {
        class != CONNECTOR && self.classes.contains_key(class)
    }

    pub(super) fn of_connector(&self) -> impl Iterator<Item = &str> + Clone {
        self.classes.get(CONNECTOR).into_iter().flatten().map(String::as_str).chain(UNTOLD)
    }

    pub(super) fn connector_has(&self, key: &str) -> bool {
        self.of_connector().any(|known| known == key || fits(known, key))
    }
}

/// Some keys have free parts, told as regular expressions: `column.mask.hash.([^.]+).with.salt.(.+)`.
fn fits(known: &str, key: &str) -> bool {
    let Some((start, rest)) = known.split_once('(') else { return false };
    let end = rest.rsplit_once(')').map_or("", |(_, end)| end);
    key.len() > start.len() + end.len() && key.starts_with(start) && key.ends_with(end)
}

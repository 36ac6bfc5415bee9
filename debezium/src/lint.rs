//! Finds settings that nobody would heed.
//!
//! Connect ignores keys that it does not know, so a misspelt key means a connector that runs and does something else. The
//! known keys are those of the real jars (`known-keys.json`; `tests/stack/known_keys.rs` compares them with what the
//! worker says), so this works without a worker. Values are Connect's own to judge, and it does.

mod known;

use std::{collections::BTreeMap, fmt};

pub use known::{CONNECTOR, Known, known};

/// One setting that is not right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The key as written.
    pub key: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Nothing has such a setting.
    Unknown {
        /// The key that was probably meant.
        meant: Option<String>,
    },
    /// It exists elsewhere or existed once; what to do instead.
    Inert(&'static str),
    /// A transformation, predicate or converter is set up but not listed under this key.
    NotListed(&'static str),
    /// It is listed but has no class.
    NoClass,
    /// The class is not one that these jars bring.
    UnknownClass(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.key)?;
        match &self.problem {
            Problem::Unknown { meant: Some(meant) } => write!(f, "is unknown; did you mean `{meant}`?"),
            Problem::Unknown { meant: None } => write!(f, "is unknown"),
            Problem::Inert(instead) => f.write_str(instead),
            Problem::NotListed(list) => write!(f, "is never used: its name is not listed in `{list}`"),
            Problem::NoClass => write!(f, "is missing, so there is no such thing"),
            Problem::UnknownClass(class) => write!(f, "names {class}, which Debezium and Kafka do not bring"),
        }
    }
}

/// Keys that articles and old manuals set, by how they begin.
const INERT: [(&str, &str); 11] = [
    (
        "errors.deadletterqueue.",
        "does nothing here: only sink connectors have a dead letter queue. Records that cannot be carried are dead letters of the relay",
    ),
    ("database.server.name", "is now `topic.prefix`"),
    ("database.history.", "is not for PostgreSQL, which needs no schema history"),
    ("schema.history.", "is not for PostgreSQL, which needs no schema history"),
    ("include.schema.changes", "is not for PostgreSQL"),
    ("table.whitelist", "is now `table.include.list`"),
    ("table.blacklist", "is now `table.exclude.list`"),
    ("schema.whitelist", "is now `schema.include.list`"),
    ("column.blacklist", "is now `column.exclude.list`"),
    ("snapshot.new.tables", "is gone; signals start snapshots of single tables"),
    ("consumer.override.", "does nothing here: a source connector has no consumer"),
];

/// Everything that would not be heeded. Nothing, for a connector that is right.
pub fn lint(config: &BTreeMap<String, String>) -> Vec<Finding> {
    let lint = Lint { config, known: known() };
    let mut findings: Vec<Finding> = config
        .iter()
        .filter_map(|(key, value)| lint.problem(key, value).map(|problem| finding(key, problem)))
        .collect();
    findings.extend(lint.without_class());
    findings
}

fn finding(key: &str, problem: Problem) -> Finding {
    Finding { key: key.to_owned(), problem }
}

struct Lint<'a> {
    config: &'a BTreeMap<String, String>,
    known: &'static Known,
}

impl Lint<'_> {
    fn problem(&self, key: &str, value: &str) -> Option<Problem> {
        if let Some((_, instead)) = INERT.iter().find(|(start, _)| key.starts_with(start)) {
            return Some(Problem::Inert(instead));
        }
        if self.known.connector_has(key) {
            let names_a_class = key.ends_with(".converter") && !self.known.has_class(value);
            return names_a_class.then(|| Problem::UnknownClass(value.to_owned()));
        }
        for (prefix, list) in [("transforms.", "transforms"), ("predicates.", "predicates")] {
            if let Some((alias, rest)) = key.strip_prefix(prefix).and_then(|rest| rest.split_once('.')) {
                return self.of_alias(prefix, list, alias, rest, value);
            }
        }
        for converter in ["key.converter", "value.converter", "header.converter"] {
            if let Some(rest) = key.strip_prefix(converter).and_then(|rest| rest.strip_prefix('.')) {
                return self.of_class(self.config.get(converter)?, &format!("{converter}."), rest, &[]);
            }
        }
        for (prefix, keys) in [("producer.override.", &self.known.producer), ("admin.override.", &self.known.admin)] {
            if let Some(rest) = key.strip_prefix(prefix) {
                return unknown(prefix, rest, keys.iter().map(String::as_str));
            }
        }
        if let Some((group, rest)) = key.strip_prefix("topic.creation.").and_then(|rest| rest.split_once('.')) {
            return self.of_topics(group, rest);
        }
        unknown("", key, self.known.of_connector().chain(["key.converter.schemas.enable"]))
    }

    /// A setting of one transformation or predicate.
    fn of_alias(&self, prefix: &str, list: &'static str, alias: &str, rest: &str, value: &str) -> Option<Problem> {
        if !self.listed(list, alias) {
            return Some(Problem::NotListed(list));
        }
        if rest == "type" {
            return (!self.known.has_class(value)).then(|| Problem::UnknownClass(value.to_owned()));
        }
        let class = self.config.get(&format!("{prefix}{alias}.type"))?; // its absence is a finding of its own
        let common: &[&str] = if list == "transforms" { &["type", "predicate", "negate"] } else { &["type"] };
        self.of_class(class, &format!("{prefix}{alias}."), rest, common)
    }

    /// An unknown class has been found already, where it is named.
    fn of_class(&self, class: &str, prefix: &str, rest: &str, common: &[&str]) -> Option<Problem> {
        let keys = self.known.of_class(class)?;
        unknown(prefix, rest, keys.iter().map(String::as_str).chain(common.iter().copied()))
    }

    fn of_topics(&self, group: &str, rest: &str) -> Option<Problem> {
        if group != "default" && !self.listed("topic.creation.groups", group) {
            return Some(Problem::NotListed("topic.creation.groups"));
        }
        let own = ["include", "exclude", "partitions", "replication.factor"];
        unknown(&format!("topic.creation.{group}."), rest, self.known.topic.iter().map(String::as_str).chain(own))
    }

    fn listed(&self, list: &str, name: &str) -> bool {
        self.config.get(list).is_some_and(|names| names.split(',').any(|listed| listed.trim() == name))
    }

    fn without_class(&self) -> impl Iterator<Item = Finding> {
        let names = |list: &'static str| {
            let names = self.config.get(list).map_or("", String::as_str).split(',').map(str::trim);
            names.filter(|name| !name.is_empty()).map(move |name| format!("{list}.{name}.type"))
        };
        let keys = names("transforms").chain(names("predicates"));
        keys.filter(|key| !self.config.contains_key(key)).map(|key| finding(&key, Problem::NoClass))
    }
}

/// Whether `key` is among `keys`, and if not, which of them it resembles.
fn unknown<'a>(prefix: &str, key: &str, keys: impl Iterator<Item = &'a str> + Clone) -> Option<Problem> {
    if keys.clone().any(|known| known == key) {
        return None;
    }
    // A third of the letters may be wrong; more, and it is another word.
    let near = keys.map(|known| (strsim::damerau_levenshtein(key, known), known));
    let nearest = near.filter(|(distance, known)| *distance <= key.len().max(known.len()) / 3).min();
    Some(Problem::Unknown { meant: nearest.map(|(_, known)| format!("{prefix}{known}")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Connector, Kind, Profile};

    fn rows() -> Connector {
        let database = "postgres://me@127.0.0.1/chat".parse().unwrap();
        Connector::render(Kind::Rows, Profile::Tuned, &database).unwrap()
    }

    /// What is found when one setting is added to a connector that is right.
    fn found(key: &str, value: &str) -> String {
        let findings: Vec<String> = lint(rows().with(key, value).config()).iter().map(ToString::to_string).collect();
        findings.join("; ")
    }

    #[test]
    fn our_own_connectors_are_right_in_both_profiles() {
        let database = "postgres://me@127.0.0.1/chat".parse().unwrap();
        for kind in Kind::ALL {
            for profile in [Profile::Seed, Profile::Tuned] {
                assert_eq!(lint(Connector::render(kind, profile, &database).unwrap().config()), []);
            }
        }
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_key_that_was_meant() {
        for (wrong, meant) in [
            ("tombstone.on.delete", "tombstones.on.delete"),
            ("table.includelist", "table.include.list"),
            ("transforms.after.fields", "transforms.after.field"),
            ("transforms.after.predicates", "transforms.after.predicate"),
            ("predicates.row.patern", "predicates.row.pattern"),
            ("key.converter.schema.enable", "key.converter.schemas.enable"),
            ("producer.override.linger", "producer.override.linger.ms"),
            ("topic.creation.default.replication-factor", "topic.creation.default.replication.factor"),
        ] {
            assert_eq!(found(wrong, "x"), format!("`{wrong}` is unknown; did you mean `{meant}`?"));
        }
        assert_eq!(found("colour", "green"), "`colour` is unknown");
    }

    #[test]
    fn what_articles_set_in_vain_is_explained() {
        assert!(found("errors.deadletterqueue.topic.name", "dlq").contains("only sink connectors"));
        assert!(found("admin.override.request.timeout", "1").contains("`admin.override.request.timeout.ms`"));
        assert!(found("database.server.name", "postgres").contains("`topic.prefix`"));
        assert!(found("include.schema.changes", "false").contains("not for PostgreSQL"));
    }

    #[test]
    fn what_is_set_up_but_not_listed_is_found_and_the_other_way_round() {
        assert!(found("transforms.route.type", "io.debezium.transforms.outbox.EventRouter").contains("not listed"));
        assert!(found("topic.creation.mine.partitions", "3").contains("`topic.creation.groups`"));
        assert_eq!(found("predicates", "row,other"), "`predicates.other.type` is missing, so there is no such thing");
        assert!(found("transforms.after.type", "org.example.Mine").contains("do not bring"));
        assert!(found("value.converter", "org.example.Mine").contains("do not bring"));
    }

    #[test]
    fn keys_with_a_free_part_are_known() {
        assert_eq!(found("column.mask.with.5.chars", "public.person.phone"), "");
        assert_eq!(found("column.mask.hash.SHA-256.with.salt.abc", "public.person.phone"), "");
    }
}

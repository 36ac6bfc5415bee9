//! What a supervisor saw, told when it changes.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::Status;

/// All connectors that are watched, by name.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Report(BTreeMap<String, Watched>);

/// One connector.
#[derive(Debug, Clone, Serialize)]
pub struct Watched {
    /// In Connect's words, or MISSING, UNREACHABLE, UNKNOWN (not looked yet).
    pub state: String,
    /// Why it does not run, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often it was restarted since this program began to watch.
    pub restarts: u64,
    #[serde(skip)]
    sight: Sight,
}

/// One look at one connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sight {
    NotYet,
    Unreachable(String),
    Missing,
    Seen { running: bool, state: String, failure: Option<Failure> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// Events are missing: see [`Status::lost_its_place`].
    pub(super) place_lost: bool,
}

impl Sight {
    pub(super) fn of(name: &str, told: &Result<BTreeMap<String, Status>, String>) -> Self {
        let status = match told {
            Err(reason) => return Self::Unreachable(reason.clone()),
            Ok(told) => told.get(name),
        };
        status.map_or(Self::Missing, |status| Self::Seen {
            running: status.is_running(),
            state: status.worst().to_string(),
            failure: status.failure().map(|reason| Failure { reason, place_lost: status.lost_its_place() }),
        })
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self, Self::Seen { running: true, .. })
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        if let Self::Seen { failure, .. } = self { failure.as_ref() } else { None }
    }

    fn state(&self) -> &str {
        match self {
            Self::NotYet => "UNKNOWN",
            Self::Unreachable(_) => "UNREACHABLE",
            Self::Missing => "MISSING",
            Self::Seen { state, .. } => state,
        }
    }

    fn reason(&self) -> Option<String> {
        match self {
            Self::NotYet => Some("Kafka Connect was not asked yet".to_owned()),
            Self::Unreachable(reason) => Some(reason.clone()),
            Self::Missing => Some("Kafka Connect does not have it: roomcast connectors apply".to_owned()),
            Self::Seen { failure, .. } => failure.as_ref().map(|failure| failure.reason.clone()),
        }
    }

    /// Once for each change, however long it lasts.
    fn tell(&self, name: &str) {
        let (state, reason) = (self.state(), self.reason().unwrap_or_default());
        match self.failure() {
            _ if matches!(self, Self::Unreachable(_)) => {} // said once for all of them
            _ if self.is_running() => tracing::info!(connector = name, "the connector {name} runs"),
            Some(Failure { place_lost: true, .. }) => {
                tracing::error!(connector = name, state, "no restart will mend the connector {name}: {reason}");
            }
            _ => tracing::warn!(connector = name, state, "the connector {name} does not run: {state} {reason}"),
        }
    }
}

impl From<Sight> for Watched {
    fn from(sight: Sight) -> Self {
        Self { state: sight.state().to_owned(), reason: sight.reason(), restarts: 0, sight }
    }
}

impl Report {
    pub(super) fn before_the_first_look<'a>(names: impl Iterator<Item = &'a String>) -> Self {
        Self(names.map(|name| (name.clone(), Watched::from(Sight::NotYet))).collect())
    }

    pub(super) fn see(&mut self, name: &str, sight: Sight) {
        let Some(watched) = self.0.get_mut(name).filter(|watched| watched.sight != sight) else { return };
        sight.tell(name);
        *watched = Watched { restarts: watched.restarts, ..Watched::from(sight) };
    }

    pub(super) fn count_restart(&mut self, name: &str) {
        if let Some(watched) = self.0.get_mut(name) {
            watched.restarts += 1;
        }
    }

    /// Whether every connector runs.
    pub fn is_ready(&self) -> bool {
        self.0.values().all(|watched| watched.sight.is_running())
    }

    /// Whether a connector has failed in a way that no restart mends, as events are missing.
    pub fn has_lost_its_place(&self, name: &str) -> bool {
        self.of(name).and_then(|watched| watched.sight.failure()).is_some_and(|failure| failure.place_lost)
    }

    /// One of them.
    pub fn of(&self, name: &str) -> Option<&Watched> {
        self.0.get(name)
    }
}

/// Those that do not run, and why.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self.0.iter().filter(|(_, watched)| !watched.sight.is_running());
        for (at, (name, Watched { state, reason, .. })) in idle.enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{name} is {state}")?;
            if let Some(reason) = reason {
                write!(f, " ({reason})")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Sight {
    pub(super) fn running() -> Self {
        Self::Seen { running: true, state: "RUNNING".to_owned(), failure: None }
    }

    pub(super) fn failed(reason: &str, place_lost: bool) -> Self {
        let failure = Some(Failure { reason: reason.to_owned(), place_lost });
        Self::Seen { running: false, state: "FAILED".to_owned(), failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_each_runs_and_the_others_are_named() {
        let names = ["a".to_owned(), "b".to_owned()];
        let mut report = Report::before_the_first_look(names.iter());
        report.see("a", Sight::running());
        report.see("b", Sight::failed("no broker", false));
        report.count_restart("b");
        assert!(!report.is_ready());
        assert_eq!(report.to_string(), "b is FAILED (no broker)");
        report.see("b", Sight::running());
        assert!(report.is_ready());
        let told = serde_json::to_value(&report).unwrap();
        assert_eq!(
            told,
            serde_json::json!({"a": {"state": "RUNNING", "restarts": 0}, "b": {"state": "RUNNING", "restarts": 1}})
        );
    }
}

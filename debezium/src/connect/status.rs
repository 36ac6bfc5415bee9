//! How a connector is, as Connect tells it, and what its failures mean.

use std::fmt;

use serde::Deserialize;

/// Of a connector or a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Nobody has taken it yet.
    Unassigned,
    /// It works.
    Running,
    /// Told to pause.
    Paused,
    /// Told to stop.
    Stopped,
    /// It ended with an error and stays so until restarted.
    Failed,
    /// On its way.
    Restarting,
    /// Being removed.
    Destroyed,
    /// Newer than this program.
    #[serde(other)]
    Other,
}

/// A connector and its tasks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Told")]
pub struct Status {
    /// Name.
    pub name: String,
    /// Of the connector itself.
    pub connector: State,
    /// Why the connector itself failed.
    pub trace: Option<String>,
    /// Which worker has it.
    pub worker: String,
    /// None while it starts; Debezium for PostgreSQL has one.
    pub tasks: Vec<Task>,
}

/// What does the work.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Task {
    /// Number.
    pub id: u32,
    /// State.
    pub state: State,
    /// Which worker has it.
    #[serde(default, rename = "worker_id")]
    pub worker: String,
    /// Why it failed, as a Java stack trace.
    #[serde(default)]
    pub trace: Option<String>,
}

/// The form Connect uses.
#[derive(Deserialize)]
struct Told {
    name: String,
    connector: Itself,
    tasks: Vec<Task>,
}

#[derive(Deserialize)]
struct Itself {
    state: State,
    #[serde(default, rename = "worker_id")]
    worker: String,
    #[serde(default)]
    trace: Option<String>,
}

impl From<Told> for Status {
    fn from(told: Told) -> Self {
        let Itself { state, worker, trace } = told.connector;
        Self { name: told.name, connector: state, trace, worker, tasks: told.tasks }
    }
}

impl Status {
    /// Whether everything runs, a task included. What it does is not told: only a record that arrives proves that.
    pub fn is_running(&self) -> bool {
        self.connector == State::Running
            && !self.tasks.is_empty()
            && self.tasks.iter().all(|task| task.state == State::Running)
    }

    /// What one would say in one word: the state of what does not run, if anything does not.
    pub fn worst(&self) -> State {
        let states = || self.tasks.iter().map(|task| task.state).chain([self.connector]);
        let of = |wanted: State| states().find(|state| *state == wanted);
        let idle = || states().find(|state| *state != State::Running);
        let without_task = || self.tasks.is_empty().then_some(State::Unassigned);
        of(State::Failed).or_else(idle).or_else(without_task).unwrap_or(State::Running)
    }

    /// Why it fails, if it does.
    pub fn failure(&self) -> Option<String> {
        self.traces().next().map(|trace| explained(trace.unwrap_or("it does not say why")))
    }

    /// Whether events between its place in the log and what PostgreSQL still has are missing. No restart mends that.
    pub fn lost_its_place(&self) -> bool {
        self.traces().flatten().any(|trace| trace.contains(PLACE_LOST))
    }

    /// Of what failed.
    fn traces(&self) -> impl Iterator<Item = Option<&str>> {
        let itself = (self.connector == State::Failed).then_some(&self.trace);
        let tasks = self.tasks.iter().filter(|task| task.state == State::Failed).map(|task| &task.trace);
        itself.into_iter().chain(tasks).map(Option::as_deref)
    }
}

/// In Connect's words.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Unassigned => "UNASSIGNED",
            State::Running => "RUNNING",
            State::Paused => "PAUSED",
            State::Stopped => "STOPPED",
            State::Failed => "FAILED",
            State::Restarting => "RESTARTING",
            State::Destroyed => "DESTROYED",
            State::Other => "OTHER",
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connector {}", self.connector)?;
        for task in &self.tasks {
            write!(f, ", task {} {}", task.id, task.state)?;
        }
        match self.failure() {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// The outermost and the innermost error of a stack trace, and what to do where that is known.
fn explained(trace: &str) -> String {
    let said = |line: &str| line.trim_start_matches("Caused by: ").chars().take(400).collect::<String>();
    let outer = trace.lines().next().map(said).unwrap_or_default();
    let inner = trace.lines().rfind(|line| line.starts_with("Caused by: ")).map(said);
    let mut text = match inner {
        _ if trace.contains(PLACE_LOST) => format!("its place in the write-ahead log is {PLACE_LOST}"), // Debezium's takes ten lines
        Some(inner) if inner != outer => format!("{outer} ({inner})"),
        _ => outer,
    };
    for (sign, advice) in ADVICE {
        if trace.contains(sign) {
            text.push_str(". ");
            text.push_str(advice);
            break;
        }
    }
    text
}

const PLACE_LOST: &str = "no longer available on the server";

const ADVICE: [(&str, &str); 4] = [
    (
        PLACE_LOST,
        "The slot was dropped or WAL was removed, so events are missing. Remove the connector and apply it again \
         (roomcast connectors remove, then apply): it starts from now",
    ),
    ("Unable to create filtered publication", "The tables do not exist: apply the migrations first"),
    ("logical decoding requires", "PostgreSQL must run with wal_level=logical"),
    ("all replication slots are in use", "Raise max_replication_slots, or drop slots that nobody reads"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str) -> Status {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn running_means_the_task_too() {
        let running = status(r#"{"name":"a","connector":{"state":"RUNNING"},"tasks":[{"id":0,"state":"RUNNING"}]}"#);
        assert!(running.is_running() && running.failure().is_none());
        let no_task = status(r#"{"name":"a","connector":{"state":"RUNNING"},"tasks":[]}"#);
        assert!(!no_task.is_running());
        let unheard_of = status(r#"{"name":"a","connector":{"state":"DANCING"},"tasks":[]}"#);
        assert_eq!(unheard_of.connector, State::Other);
        assert_eq!(
            [running, no_task, unheard_of].map(|status| status.worst()),
            [State::Running, State::Unassigned, State::Other]
        );
    }

    #[test]
    fn a_failure_is_told_by_its_first_and_last_cause_with_advice() {
        let failed = status(
            r#"{"name":"a","connector":{"state":"RUNNING"},"tasks":[{"id":0,"state":"FAILED",
            "trace":"org.apache.ConnectException: Error\n\tat a.b.c\nCaused by: io.Other: x\nCaused by: org.postgresql.PSQLException: ERROR: all replication slots are in use\n\tat d"}]}"#,
        );
        assert_eq!(
            failed.failure().unwrap(),
            "org.apache.ConnectException: Error (org.postgresql.PSQLException: ERROR: all replication slots are in use). \
             Raise max_replication_slots, or drop slots that nobody reads"
        );
        assert!(failed.to_string().starts_with("connector RUNNING, task 0 FAILED: "));
    }

    #[test]
    fn a_lost_place_is_told_from_other_failures() {
        let failed = |why: &str| {
            status(&format!(
                r#"{{"name":"a","connector":{{"state":"RUNNING","worker_id":"w:1"}},"tasks":[{{"id":0,"state":"FAILED","trace":"{why}"}}]}}"#
            ))
        };
        let lost = failed(
            "x.DebeziumException: The connector is trying to read change stream starting at 5, but this is no longer available on the server.",
        );
        assert!(lost.lost_its_place() && lost.failure().unwrap().contains("roomcast connectors remove, then apply"));
        assert!(!failed("no broker").lost_its_place());
        assert_eq!((lost.worker.as_str(), lost.worst()), ("w:1", State::Failed));
    }
}

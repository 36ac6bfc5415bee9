//! The report of `bench recover`.

use std::fmt::Write as _;

use super::{BACKEND, Outcome, Recover, Troubles, Way};
use crate::{
    delivery::Faults,
    percentiles::median,
    table::{Table, thousands},
};

/// Statements that are shown; the others are counted.
const SHOWN: usize = 12;
const TEXT: usize = 110;

pub(super) fn report(setting: &Recover, outcomes: &[Outcome], machine: &Table) -> anyhow::Result<String> {
    let clients = f64::from(setting.clients);
    let mut text = String::from("# Everybody comes back at once, measured\n\n");
    writeln!(text, "Servers, database and clients share one machine over 127.0.0.1.\n\n{machine}")?;
    writeln!(
        text,
        "{} clients, each a user of its own, in {} of {} rooms each. The hub is killed; {} messages are committed to each \
         room; the hub starts again, and all clients come in the same moment with the positions that they had, without \
         any jitter. Split shape: backend, relay and hub are a process each. What is compared in the end is what each \
         client read with the database's timeline; a message committed to each room after their return included.\n",
        thousands(clients),
        setting.each,
        setting.rooms,
        setting.missed
    )?;
    writeln!(text, "{}", aims(setting, outcomes))?;
    writeln!(text, "## Rounds\n\n{}\n{ROUNDS_NOTES}\n", rounds(setting, outcomes))?;
    writeln!(text, "## Statements of the middle rounds\n")?;
    for way in [Way::Relay, Way::Backlog] {
        let rounds: Vec<Outcome> = outcomes.iter().filter(|outcome| outcome.way == way).cloned().collect();
        if let Some(middle) = median(&rounds, |outcome| outcome.wall.as_secs_f64()) {
            writeln!(text, "{way}:\n\n{}", statements(setting, &middle))?;
        }
    }
    writeln!(text, "{STATEMENTS_NOTES}")?;
    Ok(text)
}

fn aims(setting: &Recover, outcomes: &[Outcome]) -> Table {
    let mut table = Table::new(&["aim", "measured, the worst round", "reached"]);
    let mut note = |aim: &str, measured: String, reached: bool| {
        table.row([aim, &measured, if reached { "yes" } else { "**no**" }]);
    };
    let queries = outcomes.iter().map(Outcome::queries).max().unwrap_or_default();
    let each = queries as f64 / f64::from(setting.clients);
    note("queries of the database a client: < 1", format!("{each:.3} ({queries} in all)"), each < 1.0);
    let faults = outcomes.iter().map(|outcome| outcome.faults).fold(Faults::default(), Faults::and);
    let unrecovered: usize = outcomes.iter().map(|outcome| outcome.unrecovered).sum();
    note("lost / repeated / out of order: 0", faults.to_string(), faults == Faults::default());
    note("rooms that a client has to load anew: 0", unrecovered.to_string(), unrecovered == 0);
    table
}

fn rounds(setting: &Recover, outcomes: &[Outcome]) -> Table {
    let mut table = Table::new(&[
        "missed messages come",
        "first / half / all caught up s",
        "refused / turned down, and came again",
        "lost / repeated / out of order",
        "queries for the hub, a client",
        "CPU s: hub / backend / relay / PostgreSQL / clients",
        "hub CPU a client",
        "foreign CPU",
    ]);
    for outcome in outcomes {
        let [first, half, all] = [0, 50, 100].map(|percent| seconds(outcome.caught_up.percentile(percent)));
        let Troubles { refused, turned_down } = outcome.troubles;
        let cpu = outcome.cpu;
        let used = [cpu.hub, cpu.backend, cpu.relay, cpu.rest.postgres, cpu.rest.client];
        let used = used.map(|time| format!("{:.2}", time.as_secs_f64()));
        table.row([
            outcome.way.to_string(),
            format!("{first} / {half} / {all}"),
            format!("{refused} / {turned_down}"),
            outcome.faults.to_string(),
            format!("{} ({:.3})", outcome.queries(), outcome.queries() as f64 / f64::from(setting.clients)),
            used.join(" / "),
            format!("{:.3} ms", cpu.hub.as_secs_f64() * 1e3 / f64::from(setting.clients)),
            cpu.rest.foreign(outcome.wall),
        ]);
    }
    table
}

fn seconds(micros: i64) -> String {
    format!("{:.3}", micros as f64 / 1e6)
}

fn statements(setting: &Recover, outcome: &Outcome) -> Table {
    let mut table = Table::new(&["by", "statement", "calls", "a client", "rows", "ms in the server"]);
    let clients = f64::from(setting.clients);
    for statement in outcome.statements.iter().take(SHOWN) {
        let text: String = statement.text.chars().take(TEXT).collect();
        table.row([
            if statement.role == BACKEND { "backend" } else { "relay" }.to_owned(),
            format!("`{text}{}`", if text.len() < statement.text.len() { "…" } else { "" }),
            statement.calls.to_string(),
            format!("{:.3}", statement.calls as f64 / clients),
            thousands(statement.rows as f64),
            format!("{:.1}", statement.milliseconds),
        ]);
    }
    table
}

const ROUNDS_NOTES: &str = "\
*With the relay*: it finds the hub again at the same moment and delivers what was committed meanwhile. *From the backlog*: it
comes only when all are back, so that everything is read from the database; what it delivers then, everybody has already.
The clock begins when the hub says that it is ready; a client is caught up when it has read everything that was committed
while the hub was away. Who is refused (nobody listens, or the connection is cut) or turned down (an error as the answer) comes
again after 100 ms, like all others. Queries for the hub are the backend's: memberships of hundreds of users are read by one
statement, the backlog of a room once for all who come back to it. CPU until all were caught up; one of the machine's cores is
the clients' most of the time.";

const STATEMENTS_NOTES: &str = "\
From the start of the hub until all were connected again, as pg_stat_statements counts; those of the relay are its own.";

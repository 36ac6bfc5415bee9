//! The table of `roomcast connectors status`, for people and for programs.

use std::collections::BTreeMap;

use anyhow::bail;
use debezium::{Connect, Connector, Slot, Status};
use serde::Serialize;

use crate::{
    config::Running,
    console::{self, bytes},
};

/// One line.
#[derive(Serialize)]
struct Line {
    connector: String,
    running: bool,
    /// In Connect's words; MISSING where it has no such connector.
    state: String,
    task: Option<String>,
    worker: Option<String>,
    failure: Option<String>,
    /// Its name, which the connector's settings tell.
    slot: Option<String>,
    /// Null where there is none, or the database was not asked.
    slot_active: Option<bool>,
    retained_wal_bytes: Option<i64>,
}

#[derive(Serialize)]
struct Answer<'a> {
    connect_url: &'a str,
    connectors: Vec<Line>,
}

pub(super) async fn show(connect: &Connect, names: &[String], of: &Running, json: bool) -> anyhow::Result<()> {
    let statuses = connect.statuses().await?;
    let slots = slots(of).await;
    let mut connectors = Vec::new();
    for name in names {
        let settings = connect.connector(name).await.ok();
        connectors.push(Line::of(name, statuses.get(name), settings.as_ref(), &slots));
    }
    let idle: Vec<String> = connectors.iter().filter(|line| !line.running).map(|line| line.connector.clone()).collect();
    if json {
        let answer = Answer { connect_url: connect.url(), connectors };
        console::say(serde_json::to_string_pretty(&answer)?);
    } else {
        table(&connectors);
    }
    if !idle.is_empty() {
        bail!("not RUNNING: {}", idle.join(", "));
    }
    Ok(())
}

/// Without a database the rest is still worth showing.
async fn slots(of: &Running) -> BTreeMap<String, Slot> {
    let found = async {
        let database = crate::roles::running_database(of).await?;
        anyhow::Ok(Slot::all(&database).await?)
    };
    match found.await {
        Ok(slots) => slots.into_iter().map(|slot| (slot.name.clone(), slot)).collect(),
        Err(error) => {
            tracing::warn!("the slots are not shown: {error:#}");
            BTreeMap::new()
        }
    }
}

impl Line {
    fn of(name: &str, status: Option<&Status>, settings: Option<&Connector>, slots: &BTreeMap<String, Slot>) -> Self {
        let slot_name = settings.and_then(Connector::slot);
        let slot = slot_name.and_then(|slot| slots.get(slot));
        let task = status.and_then(|status| status.tasks.first());
        Self {
            connector: name.to_owned(),
            running: status.is_some_and(Status::is_running),
            state: status.map_or("MISSING".to_owned(), |status| status.connector.to_string()),
            task: task.map(|task| task.state.to_string()),
            worker: task.map(|task| task.worker.clone()),
            failure: status.and_then(Status::failure),
            slot: slot_name.map(str::to_owned),
            slot_active: slot.map(|slot| slot.active),
            retained_wal_bytes: slot.map(|slot| slot.retained_bytes),
        }
    }
}

fn table(lines: &[Line]) {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let head = ["connector", "state", "task", "worker", "slot", "keeps of the log"].map(str::to_owned);
    let rows = lines.iter().map(|line| {
        let retained = line.retained_wal_bytes.map(bytes);
        let slot = line.slot.as_ref().map(|slot| match line.slot_active {
            Some(true) => slot.clone(),
            Some(false) => format!("{slot} (idle)"),
            None => format!("{slot} (?)"),
        });
        let task = or_dash(&line.task);
        [line.connector.clone(), line.state.clone(), task, or_dash(&line.worker), or_dash(&slot), or_dash(&retained)]
    });
    let rows: Vec<[String; 6]> = [head].into_iter().chain(rows).collect();
    let widths: Vec<usize> = (0..6).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    for (at, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        console::say(cells.join("  ").trim_end());
        if let Some(failure) = at.checked_sub(1).and_then(|at| lines[at].failure.as_ref()) {
            console::say(format_args!("  {failure}"));
        }
    }
}

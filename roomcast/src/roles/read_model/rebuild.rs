//! `roomcast read-model rebuild`: empties the read model, reads the topic from the beginning, and says what is different
//! from the truth.
//!
//! A running consumer may go on. First the read model is emptied, then the topic's ends are looked up: whatever the
//! consumer applied before lies below them and is read again here, by a reader without a group; what comes after them is
//! the consumer's. What both apply is recognised by its id, and whatever comes in the wrong order by its version.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, bail};
use backend::read_model::{self, Deviation, Difference};
use indicatif::{ProgressBar, ProgressStyle};
use protocol::Mode;
use relay::events::{EventsConfig, Progress, replay};

use super::{Target, target};
use crate::{adapters::RoomList, config::ReadModelOf, console};

/// More than for a consumer, which is there for each event: here is much at once.
const BATCH_RECORDS: usize = 4000;

/// How many differences are told one by one.
const TOLD: usize = 20;

pub(super) async fn rebuild(of: &ReadModelOf) -> anyhow::Result<()> {
    let Target { db, config } = target(of).await?;
    backend::check_schema(&db).await?;
    // Before anything is emptied: is there something to read?
    let positions = relay::events::positions(&config.kafka).await.context("looking for the topic")?;
    if positions.is_empty() {
        bail!("there is no topic {}: nothing was changed", config.kafka.topics.join(", "));
    }
    let begun = Instant::now();
    read_model::rebuild_begin(&db).await.context("emptying the read model")?;
    let config = EventsConfig { batch_records: BATCH_RECORDS, ..config };
    let bar = bar();
    let told = bar.clone();
    let progressed = move |progress: Progress| {
        told.set_length(progress.total);
        told.set_position(progress.records);
    };
    let replayed = replay(&config, Arc::new(RoomList(db.clone())), progressed).await;
    bar.finish_and_clear();
    let replayed = replayed.context("the read model is not whole, rebuild it again")?;
    let seconds = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "three digits would do")]
    let rate = replayed.records as f64 / seconds;
    console::say(format_args!("{} records in {seconds:.1} s, {rate:.0} a second.", replayed.records));
    if replayed.dead_letters > 0 {
        console::say(format_args!("{} of them are dead letters: roomcast dead-letters list", replayed.dead_letters));
    }
    compare(&read_model::differences(&db).await?, read_model::extent(&db).await?.rooms_in_truth)
}

/// Only a room with the right line and the wrong content is an error.
fn compare(differences: &[Difference], rooms_in_truth: i64) -> anyhow::Result<()> {
    if differences.is_empty() {
        console::say(format_args!("All {rooms_in_truth} rooms are as in the truth."));
        return Ok(());
    }
    console::say(format_args!("{} of {rooms_in_truth} rooms are not as in the truth:", differences.len()));
    for difference in differences.iter().take(TOLD) {
        console::say(format_args!("  room {}: {}", difference.room, told(&difference.what)));
    }
    if differences.len() > TOLD {
        console::say(format_args!("  and {} more", differences.len() - TOLD));
    }
    let distorted = |difference: &&Difference| matches!(difference.what, Deviation::Distorted { .. });
    match differences.iter().filter(distorted).count() {
        0 => Ok(()),
        count => bail!("{count} rooms have the right line with another content"),
    }
}

fn told(what: &Deviation) -> String {
    match what {
        Deviation::Missing { truth, mode } => format!("no event told of it; line {truth} {}", whereabouts(*mode)),
        Deviation::Behind { seen, truth, mode } => format!("at line {seen}; line {truth} {}", whereabouts(*mode)),
        Deviation::Unknown { seen } => format!("an event told of line {seen}, which this database does not have"),
        Deviation::Distorted { version } => format!("line {version} has another content"),
    }
}

fn whereabouts(mode: Mode) -> String {
    match mode {
        Mode::Cdc | Mode::ApiCdc | Mode::Wal => {
            format!("went by {mode}: it is on its way, or the topic keeps it no more")
        }
        _ => {
            format!("went by {mode}, not through the topic; the next one by cdc, api_cdc or wal brings all up to date")
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = "{bar:30} {human_pos} of {human_len} records, {per_sec}, ready in {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

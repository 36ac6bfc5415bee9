//! `roomcast dead-letters`: what could not be delivered, why, and what becomes of it.

use anyhow::Context;
use relay::dead_letter::{self, DeadLetter, Selection};
use sqlx::PgPool;
use time::{OffsetDateTime, macros::format_description};

use crate::{
    config::{self, DeadLetterAction, Letters},
    console,
};

pub(super) async fn run(settings: config::DeadLetters) -> anyhow::Result<()> {
    let db = super::running_database(&settings.database).await?;
    match settings.action {
        DeadLetterAction::List { after, limit } => list(&db, after, limit).await,
        DeadLetterAction::Show { id } => show(&db, id).await,
        DeadLetterAction::Replay(letters) => replay(&db, &letters).await,
        DeadLetterAction::Discard(letters) => discard(&db, &letters).await,
    }
}

async fn list(db: &PgPool, after: i64, limit: u16) -> anyhow::Result<()> {
    let letters = dead_letter::list(db, after, limit).await?;
    if letters.is_empty() {
        console::say("No dead letters: every row has been delivered or is on its way.");
        return Ok(());
    }
    console::say("    id  failed at            method       partition  attempts  reason");
    for letter in &letters {
        console::say(format_args!(
            "{:>6}  {:<19}  {:<11}  {:>9}  {:>8}  {}",
            letter.id,
            at(letter.failed_at)?,
            letter.method,
            letter.partition,
            letter.attempts,
            letter.reason
        ));
    }
    if letters.len() == usize::from(limit)
        && let Some(last) = letters.last()
    {
        console::say(format_args!("There may be more: roomcast dead-letters list --after {}", last.id));
    }
    Ok(())
}

async fn show(db: &PgPool, id: i64) -> anyhow::Result<()> {
    let DeadLetter { source, source_id, method, payload, partition, reason, attempts, created_at, failed_at, .. } =
        dead_letter::show(db, id).await?;
    // As it was read where it is not JSON, readable where it is.
    let payload = serde_json::from_str::<serde_json::Value>(&payload)
        .and_then(|json| serde_json::to_string_pretty(&json))
        .unwrap_or(payload);
    console::say(format_args!(
        "dead letter {id}: {source} row {source_id}, partition {partition}\nwritten   {}\nfailed    {}\nattempts  {attempts}\n\
         reason    {reason}\nmethod    {method}\npayload   {payload}",
        at(created_at)?,
        at(failed_at)?,
    ));
    Ok(())
}

async fn replay(db: &PgPool, letters: &Letters) -> anyhow::Result<()> {
    let mut rows = 0;
    let mut refused = Vec::new();
    for selection in selections(letters) {
        let replayed = dead_letter::replay(db, selection).await?;
        rows += replayed.rows;
        refused.extend(replayed.refused);
    }
    console::say(format_args!("{rows} put back on their way."));
    match refused.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(first).context("not every letter could be replayed"),
    }
}

async fn discard(db: &PgPool, letters: &Letters) -> anyhow::Result<()> {
    let mut discarded = 0;
    for selection in selections(letters) {
        discarded += dead_letter::discard(db, selection).await?;
    }
    console::say(format_args!("{discarded} thrown away."));
    Ok(())
}

fn selections(letters: &Letters) -> Vec<Selection> {
    if letters.all { vec![Selection::All] } else { letters.ids.iter().copied().map(Selection::One).collect() }
}

fn at(time: OffsetDateTime) -> anyhow::Result<String> {
    Ok(time.format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second]"))?)
}

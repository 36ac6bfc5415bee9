//! `roomcast read-model status`: rows, newest line, and the lag of each partition.

use backend::read_model::{self, Extent};
use relay::events::{Position, positions};
use time::OffsetDateTime;

use super::target;
use crate::{config::ReadModelOf, console};

pub(super) async fn show(of: &ReadModelOf) -> anyhow::Result<()> {
    let target = target(of).await?;
    let Extent { rooms, rooms_in_truth, events, newest } = read_model::extent(&target.db).await?;
    let different = read_model::differences(&target.db).await?.len();
    let age = newest.map(|newest| (OffsetDateTime::now_utc() - newest).as_seconds_f64());
    console::say(format_args!("rooms    {rooms}, and {rooms_in_truth} in the truth; {different} differ"));
    console::say(format_args!("events   {events} remembered"));
    console::say(match age {
        Some(age) => format!("newest   a line of {age:.1} s ago"),
        None => "newest   none: no event came yet".to_owned(),
    });
    let positions = positions(&target.config.kafka).await?;
    if positions.is_empty() {
        console::say(format_args!("\nThere is no topic {} yet.", target.config.kafka.topics.join(", ")));
        return Ok(());
    }
    console::say("\ntopic          partition  beginning  committed        end        lag");
    for position in &positions {
        console::say(line(position));
    }
    let lag: i64 = positions.iter().map(Position::lag).sum();
    console::say(format_args!("{lag} records wait for the group {}.", target.config.kafka.group));
    Ok(())
}

fn line(position: &Position) -> String {
    let Position { topic, partition, beginning, committed, end } = position;
    let committed = committed.map_or_else(|| "-".to_owned(), |committed| committed.to_string());
    format!("{topic:<13}  {partition:>9}  {beginning:>9}  {committed:>9}  {end:>9}  {:>9}", position.lag())
}

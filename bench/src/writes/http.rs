//! The whole way of a post through HTTP: session, JSON, statement, answer. The client uses the same cores.

use std::sync::Arc;

use super::{Figure, Line, Load, TEXT, closed_loop};
use crate::{console, cpu::Watched, stage::Stage};

/// Runs on a running product, over many rooms and in one.
pub async fn through_http(url: &str, load: Load, watched: &Watched) -> anyhow::Result<Vec<Line>> {
    let stage = Arc::new(Stage::prepare(url, usize::from(load.write_rooms)).await?);
    let mut lines = Vec::new();
    for rooms in [load.write_rooms, 1] {
        let mut figures = Vec::new();
        for round in 1..=load.rounds {
            console::progress(format_args!("writes: {rooms} room(s), HTTP, round {round} of {}", load.rounds));
            figures.push(run(&stage, Load { write_rooms: rooms, ..load }, watched).await?);
        }
        lines.push(Line { rooms, name: "HTTP API, relay and hub running".to_owned(), way: None, figures });
    }
    Ok(lines)
}

async fn run(stage: &Arc<Stage>, load: Load, watched: &Watched) -> anyhow::Result<Figure> {
    let stage = Arc::clone(stage);
    let write = move |writer: usize| {
        let stage = Arc::clone(&stage);
        async move {
            let person = &stage.people[writer % stage.people.len()];
            let room = stage.rooms[rand::random_range(0..usize::from(load.write_rooms))];
            person.post(room, TEXT).await.map(drop)
        }
    };
    closed_loop(load, watched, write).await.map(|(figure, _)| figure)
}

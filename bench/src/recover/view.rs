//! What one client has seen of its rooms: read from its frames after the run, and held against the database's timeline.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use anyhow::{Context, ensure};
use protocol::{Offset, Position};
use serde::Deserialize;

use super::crowd::Frames;
use crate::delivery::{Faults, Line, Sighting, timeline_line};

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    connect: Connect<'a>,
}

#[derive(Deserialize)]
struct Connect<'a> {
    #[serde(borrow, default)]
    subs: HashMap<&'a str, Sub>,
}

#[derive(Deserialize)]
struct Sub {
    #[serde(default)]
    epoch: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    was_recovering: bool,
    #[serde(default)]
    recovered: bool,
    #[serde(default)]
    publications: Vec<Missed>,
}

#[derive(Deserialize)]
struct Missed {
    offset: u64,
}

/// One client's rooms and where they stood.
pub(super) type Positions = HashMap<i64, Position>;

/// What a client knows by its connect reply.
pub(super) fn positions(frames: &Frames) -> anyhow::Result<Positions> {
    let (_, text) = frames.first().context("a client without a reply")?;
    let reply: Reply = serde_json::from_str(text.lines().next().unwrap_or_default())?;
    let rooms = reply.connect.subs.into_iter().filter_map(|(channel, sub)| {
        let position = Position { epoch: sub.epoch.as_str().into(), offset: Offset(sub.offset) };
        Some((room_of(channel)?, position))
    });
    Ok(rooms.collect())
}

fn room_of(channel: &str) -> Option<i64> {
    channel.strip_prefix("room:")?.parse().ok()
}

/// What came to a client that came back.
struct View {
    /// When it had everything that was committed while it was away.
    caught_up: Option<Instant>,
    /// Against everything that it should have seen, what came later included.
    faults: Faults,
    /// Rooms that the hub could not make good: the client would have to load them anew.
    unrecovered: usize,
}

/// `missed` and `written` are the lines of the client's rooms that it should have seen, the second those of later, too.
fn view(frames: &Frames, missed: &HashSet<Line>, written: &HashSet<Line>) -> anyhow::Result<View> {
    let mut seen = Vec::with_capacity(written.len());
    let (mut left, mut caught_up, mut unrecovered) = (missed.clone(), None, 0);
    for (number, (at, text)) in frames.iter().enumerate() {
        for (index, line) in text.lines().enumerate() {
            let from = seen.len();
            if (number, index) == (0, 0) {
                unrecovered = recovered(line, &mut seen)?;
            } else {
                seen.extend(timeline_line(line));
            }
            for line in &seen[from..] {
                left.remove(line);
            }
        }
        if left.is_empty() && caught_up.is_none() {
            caught_up = Some(*at);
        }
    }
    let sightings: Vec<Sighting> = seen.into_iter().map(|line| Sighting { line, at: 0 }).collect();
    Ok(View { caught_up, faults: Faults::of(written, &sightings), unrecovered })
}

/// Takes the lines of a connect reply; says of how many rooms it has none although it should.
fn recovered(reply: &str, seen: &mut Vec<Line>) -> anyhow::Result<usize> {
    let reply: Reply = serde_json::from_str(reply).context("reading a connect reply")?;
    let mut unrecovered = 0;
    for (channel, sub) in reply.connect.subs {
        let Some(room) = room_of(channel) else { continue };
        unrecovered += usize::from(!sub.recovered);
        ensure!(sub.recovered || sub.was_recovering, "{channel} was not asked to recover");
        seen.extend(sub.publications.iter().map(|missed| (room, missed.offset)));
    }
    Ok(unrecovered)
}

/// Everybody's frames, to be held against the timeline.
pub(super) struct Views {
    pub(super) known: Vec<Positions>,
    pub(super) frames: Vec<Frames>,
    /// The clock's zero.
    pub(super) begin: Instant,
}

/// All views together.
#[derive(Default)]
pub(super) struct Seen {
    /// Of each client, in microseconds.
    pub(super) caught_up: Vec<i64>,
    pub(super) faults: Faults,
    pub(super) unrecovered: usize,
}

impl Views {
    /// `missed` was committed while they were away, `written` is everything.
    pub(super) fn against(&self, missed: &HashSet<Line>, written: &HashSet<Line>) -> anyhow::Result<Seen> {
        let mut seen = Seen::default();
        let [missed, written] = [missed, written].map(by_room);
        for (known, frames) in self.known.iter().zip(&self.frames) {
            let view = view(frames, &after(known, &missed), &after(known, &written))?;
            if let Some(at) = view.caught_up {
                seen.caught_up.push(i64::try_from((at - self.begin).as_micros())?);
            }
            seen.faults = seen.faults.and(view.faults);
            seen.unrecovered += view.unrecovered;
        }
        Ok(seen)
    }
}

fn by_room(lines: &HashSet<Line>) -> HashMap<i64, Vec<u64>> {
    let mut rooms: HashMap<i64, Vec<u64>> = HashMap::new();
    for &(room, version) in lines {
        rooms.entry(room).or_default().push(version);
    }
    rooms
}

/// The lines of a client's rooms after what it had.
fn after(known: &Positions, lines: &HashMap<i64, Vec<u64>>) -> HashSet<Line> {
    let rooms = known.iter().flat_map(|(room, position)| {
        let versions = lines.get(room).into_iter().flatten().copied();
        versions.filter(|version| *version > position.offset.0).map(|version| (*room, version))
    });
    rooms.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(texts: &[&str]) -> Frames {
        texts.iter().map(|&text| (Instant::now(), text.into())).collect()
    }

    #[test]
    fn a_client_has_what_its_reply_and_its_pushes_bring() {
        let reply = r#"{"id":1,"connect":{"client":"c","subs":{"system:all":{},
            "room:7":{"epoch":"e","offset":2,"was_recovering":true,"recovered":true,"publications":[{"data":{},"offset":3}]},
            "room:8":{"epoch":"e","offset":0,"was_recovering":true,"recovered":true}}}}"#
            .replace('\n', "");
        let push = r#"{"push":{"channel":"room:7","pub":{"data":{"text":"a"},"offset":4}}}"#;
        let frames = frames(&[&reply, push, push]);
        let known = positions(&frames).unwrap();
        assert_eq!((known.len(), known[&7].offset.0), (2, 2));

        let missed = HashSet::from([(7, 3), (7, 4)]);
        let written = HashSet::from([(7, 3), (7, 4), (8, 1)]);
        let view = view(&frames, &missed, &written).unwrap();
        assert_eq!(view.caught_up, Some(frames[1].0));
        assert_eq!((view.faults, view.unrecovered), (Faults { lost: 1, repeated: 1, out_of_order: 0 }, 0));
    }
}

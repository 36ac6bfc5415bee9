//! What a client saw against what was written: lost, repeated, out of order.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

/// A line of a timeline: room and version.
pub type Line = (i64, u64);

/// The newest line of each room.
pub fn newest(lines: impl IntoIterator<Item = Line>) -> HashMap<i64, u64> {
    lines.into_iter().fold(HashMap::new(), |mut newest, (room, version)| {
        let known = newest.entry(room).or_insert(version);
        *known = version.max(*known);
        newest
    })
}

/// A publication that a client read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Which one.
    pub line: Line,
    /// When the read returned, in Unix microseconds.
    pub at: i64,
}

/// What went wrong on the way; all zero is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Written, never seen.
    pub lost: usize,
    /// Seen again.
    pub repeated: usize,
    /// Seen after a later version of its room.
    pub out_of_order: usize,
}

impl Faults {
    /// Compares what one client saw, in its order, with what it should have seen.
    pub fn of(written: &HashSet<Line>, seen: &[Sighting]) -> Self {
        let mut faults = Self::default();
        let mut once = HashSet::with_capacity(seen.len());
        let mut newest = HashMap::<i64, u64>::new();
        for &Sighting { line: line @ (room, version), .. } in seen {
            let newest = newest.entry(room).or_default();
            if !once.insert(line) {
                faults.repeated += 1;
            } else if version < *newest {
                faults.out_of_order += 1;
            }
            *newest = version.max(*newest);
        }
        faults.lost = written.difference(&once).count();
        faults
    }

    /// Adds what another client suffered.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            repeated: self.repeated + other.repeated,
            out_of_order: self.out_of_order + other.out_of_order,
        }
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} / {} / {}", self.lost, self.repeated, self.out_of_order)
    }
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    push: Option<Push<'a>>,
}

#[derive(Deserialize)]
struct Push<'a> {
    channel: &'a str,
    #[serde(rename = "pub")]
    publication: Option<Publication>,
}

#[derive(Deserialize)]
struct Publication {
    offset: Option<u64>,
}

/// The room and version of a line's publication, if it belongs to a room's timeline.
pub fn timeline_line(line: &str) -> Option<Line> {
    at_a_glance(line).or_else(|| read(line))
}

/// Reads nothing between the channel and the offset, as the clock runs meanwhile: for lines as our hub writes them.
fn at_a_glance(line: &str) -> Option<Line> {
    let (room, rest) = line.strip_prefix("{\"push\":{\"channel\":\"room:")?.split_once('"')?;
    // A quote inside a text has a backslash before it, so the last of these is the publication's own.
    let (_, offset) = rest.strip_prefix(",\"pub\":{")?.strip_suffix("}}}")?.rsplit_once(",\"offset\":")?;
    Some((room.parse().ok()?, offset.parse().ok()?))
}

fn read(line: &str) -> Option<Line> {
    let push = serde_json::from_str::<Reply>(line).ok()?.push?;
    let room = push.channel.strip_prefix("room:")?.parse().ok()?;
    Some((room, push.publication?.offset?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(lines: &[Line]) -> Vec<Sighting> {
        lines.iter().map(|&line| Sighting { line, at: 0 }).collect()
    }

    #[test]
    fn a_perfect_delivery_has_no_faults_whatever_the_order_of_rooms() {
        let written = HashSet::from([(1, 5), (1, 6), (2, 9)]);
        assert_eq!(Faults::of(&written, &seen(&[(2, 9), (1, 5), (1, 6)])), Faults::default());
    }

    #[test]
    fn each_fault_is_counted_as_what_it_is() {
        let written = HashSet::from([(1, 5), (1, 6), (1, 7), (2, 9)]);
        let faults = Faults::of(&written, &seen(&[(1, 6), (1, 5), (1, 6), (1, 7)]));
        assert_eq!(faults, Faults { lost: 1, repeated: 1, out_of_order: 1 });
    }

    #[test]
    fn a_push_tells_its_room_and_version() {
        let push = r#"{"push":{"channel":"room:7","pub":{"data":{"text":",\"offset\":3","offset":1},"offset":12}}}"#;
        assert_eq!((at_a_glance(push), read(push)), (Some((7, 12)), Some((7, 12))));
        let tagged = r#"{"push":{"channel":"room:7","pub":{"data":1,"offset":12,"tags":{"a":"b"}}}}"#;
        assert_eq!((at_a_glance(tagged), timeline_line(tagged)), (None, Some((7, 12))));
    }

    #[test]
    fn lines_of_before_are_no_fault_and_do_not_stand_for_others() {
        assert_eq!(Faults::of(&HashSet::from([(1, 5)]), &seen(&[(1, 4), (1, 5)])), Faults::default());
        assert_eq!(Faults::of(&HashSet::from([(1, 5)]), &seen(&[(1, 4)])).lost, 1);
        assert_eq!(newest([(1, 4), (2, 9), (1, 5)]), HashMap::from([(1, 5), (2, 9)]));
    }

    #[test]
    fn what_is_not_a_timeline_line_is_none() {
        let own = r#"{"push":{"channel":"user:7","pub":{"data":{"type":"read"}}}}"#;
        assert_eq!(timeline_line(own), None);
        for line in ["{}", r#"{"id":1,"connect":{"client":"x"}}"#, r#"{"push":{"channel":"room:7","unsubscribe":{}}}"#]
        {
            assert_eq!(timeline_line(line), None);
        }
    }
}

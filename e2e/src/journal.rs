//! What one client has seen of a channel, and every way in which that was wrong.

use serde::Deserialize;
use serde_json::Value;

/// One line of a timeline, as far as the tests compare it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Line {
    /// The publication's offset.
    pub version: u64,
    /// text, joined, left, created.
    pub kind: String,
    /// What was written.
    #[serde(default)]
    pub text: String,
    /// Whose line it is.
    pub author: Author,
    /// The room's name at that time.
    pub room_name: String,
    /// By which way the news of it travelled.
    pub mode: String,
}

/// Whose line it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Author {
    /// The user.
    pub id: i64,
    /// Their name at that time.
    pub name: String,
}

/// A channel as one client saw it.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// Identity of the sequence.
    pub epoch: String,
    /// Position before the first line.
    pub start: u64,
    /// What was seen, in the order of its arrival.
    pub lines: Vec<Line>,
    /// What came without an offset.
    pub news: Vec<Value>,
    /// Repeats, holes, lost positions: empty when all was right.
    pub faults: Vec<String>,
}

impl Journal {
    /// A journal that starts at this position.
    pub fn starting(epoch: &str, offset: u64) -> Self {
        Self { epoch: epoch.to_owned(), start: offset, ..Self::default() }
    }

    /// The last offset seen.
    pub fn top(&self) -> u64 {
        self.lines.last().map_or(self.start, |line| line.version)
    }

    /// Notes a publication; anything but the next offset is a fault.
    pub fn note(&mut self, offset: u64, line: Line) {
        if offset != self.top() + 1 {
            self.faults.push(format!("offset {offset} after {}", self.top()));
        }
        if line.version != offset {
            self.faults.push(format!("offset {offset} carries version {}", line.version));
        }
        self.lines.push(line);
    }
}

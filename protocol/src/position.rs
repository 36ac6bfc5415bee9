//! Where a reader stands in a channel: an [`Offset`] within an [`Epoch`].

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Position in a channel. The first publication has offset 1; 0 is the empty channel.
///
/// The offset of a room's publication *is* the room's version in PostgreSQL, in every broadcast mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset that must follow this one: offsets are gapless.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// True for the position before any publication; the protocol omits zero values.
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A version column of PostgreSQL, which is never negative (`check (version >= 0)`).
impl From<i64> for Offset {
    fn from(version: i64) -> Self {
        Self(u64::try_from(version).unwrap_or(0))
    }
}

impl From<Offset> for i64 {
    fn from(offset: Offset) -> Self {
        i64::try_from(offset.0).unwrap_or(i64::MAX)
    }
}

/// Identity of a sequence of offsets: two positions compare only within one epoch.
///
/// A room's epoch lives in its row, so it outlives every restart of the hub.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub Arc<str>);

impl Epoch {
    /// The epoch as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when unknown; the protocol omits it then.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Epoch {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Epoch {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An offset and the epoch that it counts in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Identity of the sequence.
    #[serde(default, skip_serializing_if = "Epoch::is_empty")]
    pub epoch: Epoch,
    /// Place in the sequence.
    #[serde(default, skip_serializing_if = "Offset::is_zero")]
    pub offset: Offset,
}

//! How long a connection may say nothing until it counts as dead.
//!
//! A peer that vanishes without a word (a host that died, a firewall that forgot, a process that hangs) leaves a
//! connection that looks well for ever. Whoever holds one asks something of it in time, and makes it anew at the bound.
//!
//! One bound for the whole process, not one a part: it says something about the network that the process stands in.

use std::{sync::OnceLock, time::Duration};

/// The bound where nobody set another. Longer than any pause of a healthy peer, shorter than people are patient.
pub const DEFAULT: Duration = Duration::from_secs(15);

/// A shorter one would take a busy peer for a dead one.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// Nobody would wait for a longer one.
pub const LONGEST: Duration = Duration::from_mins(10);

static BOUND: OnceLock<Duration> = OnceLock::new();

/// Sets the bound of this process, before anything connects. The first call counts.
pub fn set(bound: Duration) {
    let _ = BOUND.set(bound);
}

/// The bound of this process.
pub fn bound() -> Duration {
    BOUND.get().copied().unwrap_or(DEFAULT)
}

/// When to ask something of a peer that has said nothing since: half the bound leaves it as long to answer.
pub fn half() -> Duration {
    bound() / 2
}

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

/// How the operating system asks a machine that says nothing whether it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// After so much silence; whole seconds.
    pub idle: Duration,
    /// So often; whole seconds.
    pub interval: Duration,
    /// So many times.
    pub tries: u32,
}

impl Keepalive {
    /// Done within the bound: of 15 s, after 5 s of silence three times, every 2 s.
    pub fn within(bound: Duration) -> Self {
        let idle = (bound.as_secs() / 3).max(1);
        let interval = (idle / 2).max(1);
        Self { idle: Duration::from_secs(idle), interval: Duration::from_secs(interval), tries: 3 }
    }
}

/// Settings of a session of PostgreSQL's, by which the server notices within the bound that its client's machine is gone, and
/// gives its locks back.
pub fn of_server(bound: Duration) -> [(&'static str, String); 4] {
    let Keepalive { idle, interval, tries } = Keepalive::within(bound);
    [
        ("tcp_keepalives_idle", idle.as_secs().to_string()),
        ("tcp_keepalives_interval", interval.as_secs().to_string()),
        ("tcp_keepalives_count", tries.to_string()),
        ("tcp_user_timeout", bound.as_millis().to_string()),
    ]
}

/// When to ask something of a peer that has said nothing since: half the bound leaves it as long to answer.
pub fn half() -> Duration {
    bound() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vanished_machine_is_given_up_within_the_bound() {
        for seconds in [4, 15, 60, 600] {
            let Keepalive { idle, interval, tries } = Keepalive::within(Duration::from_secs(seconds));
            assert!((idle + interval * tries).as_secs() <= seconds, "{seconds} s");
        }
        let shortest = Keepalive::within(SHORTEST);
        assert!(!shortest.idle.is_zero() && !shortest.interval.is_zero(), "{shortest:?}");
    }
}

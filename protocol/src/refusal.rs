//! What PostgreSQL says when it does not do something now and may do it later, sorted by SQLSTATE in one place.

use std::time::Duration;

/// Why PostgreSQL did not do what it was asked for, where nobody is to blame and the same may pass later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It takes no writes: a failover, or a standby.
    ReadOnly,
    /// Its disk is full.
    Full,
    /// It has no connection or no memory to spare.
    Busy,
    /// A statement took longer than its time-out.
    Slow,
    /// A lock was not given within its time-out.
    Locked,
    /// Another transaction was in the way: a deadlock or a serialization failure.
    Clash,
    /// It starts, stops, or is out of reach.
    Away,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::ReadOnly, Self::Full, Self::Busy, Self::Slow, Self::Locked, Self::Clash, Self::Away];

    /// What this SQLSTATE means. None: the statement is to blame, or the program.
    pub fn of(sqlstate: &str) -> Option<Self> {
        Some(match sqlstate {
            "25006" => Self::ReadOnly,        // read_only_sql_transaction
            "53100" => Self::Full,            // disk_full
            "57014" => Self::Slow,            // query_canceled: statement_timeout, or an administrator
            "55P03" => Self::Locked,          // lock_not_available: lock_timeout
            "40001" | "40P01" => Self::Clash, // serialization_failure, deadlock_detected
            // Shutdowns, cannot_connect_now, and the time-outs by which the server closes an idle session or transaction.
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04" => Self::Away,
            code if code.starts_with("08") => Self::Away, // the connection
            code if code.starts_with("53") => Self::Busy, // connections (53300), memory (53200), other resources
            _ => return None,
        })
    }

    /// For a program; stable.
    pub const fn code(self) -> &'static str {
        match self {
            Self::ReadOnly => "database_read_only",
            Self::Full => "database_full",
            Self::Busy | Self::Clash => "database_busy",
            Self::Slow => "database_slow",
            Self::Locked => "database_locked",
            Self::Away => "database_unavailable",
        }
    }

    /// For a person.
    pub const fn words(self) -> &'static str {
        match self {
            Self::ReadOnly => "The database takes no writes at the moment.",
            Self::Full => "The database has no room left on its disk.",
            Self::Busy | Self::Clash => "The database is busy. Try again in a moment.",
            Self::Slow => "The database took too long. Try again in a moment.",
            Self::Locked => "Somebody else has locked what this needs. Try again in a moment.",
            Self::Away => "The database does not answer. Try again in a moment.",
        }
    }

    /// When the next try may fare better.
    pub const fn wait(self) -> Duration {
        Duration::from_secs(match self {
            Self::Full => 5,     // somebody has to make room
            Self::ReadOnly => 2, // what a failover takes
            Self::Busy | Self::Slow | Self::Locked | Self::Clash | Self::Away => 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        let of = |codes: &[&str]| codes.iter().map(|code| Refusal::of(code)).collect::<Vec<_>>();
        assert_eq!(of(&["25006", "53100"]), [Some(Refusal::ReadOnly), Some(Refusal::Full)]);
        assert_eq!(of(&["53300", "53200"]), [Some(Refusal::Busy); 2]);
        assert_eq!(of(&["57P01", "57P02", "57P03", "08006"]), [Some(Refusal::Away); 4]);
        assert_eq!(of(&["57014", "55P03"]), [Some(Refusal::Slow), Some(Refusal::Locked)]);
        assert_eq!(of(&["40001", "40P01"]), [Some(Refusal::Clash); 2]);
        // Unique violation, syntax error, no such table, wrong password, no such database, database dropped.
        assert_eq!(of(&["23505", "42601", "42P01", "28P01", "3D000", "57P04"]), [None; 6]);
    }

    #[test]
    fn each_has_a_code_words_and_a_time_to_come_back() {
        for refusal in Refusal::ALL {
            assert!(refusal.code().starts_with("database_") && refusal.words().ends_with('.'), "{refusal:?}");
            assert!(refusal.wait() >= Duration::from_secs(1), "{refusal:?}");
        }
    }
}

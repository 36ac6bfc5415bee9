//! What follows from an error, decided in one place; loops only obey. And how long to wait before the next try.

use std::time::Duration;

use pgwire_replication::PgWireError;
use rdkafka::error::KafkaError;

use crate::RelayError;

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It may pass later: wait, keep the order, try again without end.
    Retry,
    /// This row never passes: put it aside with its reason, so that it does not block the rest.
    DeadLetter,
    /// Only a person can help: end the relay, loudly.
    Stop,
}

/// The one place where errors become decisions.
pub(crate) fn decide(error: &RelayError) -> Decision {
    match error {
        RelayError::Unreadable(_) | RelayError::Oversized { .. } | RelayError::Rejected { .. } => Decision::DeadLetter,

        RelayError::Database(error) if needs_a_person(error) => Decision::Stop,
        RelayError::Replication(error) if will_not_let_us_in(error) => Decision::Stop,

        RelayError::Replication(PgWireError::Auth(_) | PgWireError::Tls(_))
        | RelayError::Kafka(KafkaError::ClientConfig(..))
        | RelayError::NotOurSession
        | RelayError::Setting(_)
        | RelayError::PartitionSetting { .. }
        | RelayError::PartitionCount { .. }
        | RelayError::NotMigrated
        | RelayError::ForeignSlot { .. }
        | RelayError::WalLevel(_)
        | RelayError::NoPublication(_)
        | RelayError::Panicked(_) => Decision::Stop,

        RelayError::Refused { .. }
        | RelayError::Unreachable(_)
        | RelayError::Overdue(_)
        | RelayError::Miscounted { .. }
        | RelayError::Database(_)
        | RelayError::DatabaseSilent(_)
        | RelayError::Replication(_)
        | RelayError::StreamEnded
        | RelayError::LogSilent(_)
        | RelayError::LogIdle(_)
        | RelayError::Malformed(_)
        | RelayError::Kafka(_)
        | RelayError::KafkaSilent(_)
        | RelayError::KafkaClientLost
        | RelayError::Sink(_) => Decision::Retry,
    }
}

/// Wrong address, wrong password, no such database, no such table, no permission: the same in a minute. Everything
/// else (no connection, shutting down, starting up, too many clients, out of disk) passes.
fn needs_a_person(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Configuration(_) => true,
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| ["28", "3D", "42"].iter().any(|class| code.starts_with(class)))
        }
        _ => false,
    }
}

/// Wrong password, no attribute REPLICATION. The server's errors come as text with their code.
fn will_not_let_us_in(error: &PgWireError) -> bool {
    matches!(error, PgWireError::Server(text) if ["SQLSTATE 28", "SQLSTATE 42501"].iter().any(|code| text.contains(code)))
}

/// Pauses that double from `first` to `longest`, each shortened by a random part, so that many do not return at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest: longest.max(first) }
    }

    /// The pause after this many failures in a row.
    pub(crate) fn pause(self, failures: u32) -> Duration {
        self.ceiling(failures).mul_f64(rand::random_range(0.5..=1.0))
    }

    fn ceiling(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DestinationError;

    #[test]
    fn pauses_double_from_the_first_to_the_longest_with_jitter() {
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(5));
        let ceilings: Vec<_> = (1..=4).map(|failures| backoff.ceiling(failures).as_millis()).collect();
        assert_eq!(ceilings, [10, 20, 40, 80]);
        assert_eq!(backoff.ceiling(u32::MAX), Duration::from_secs(5));
        for failures in 1..50 {
            let (pause, ceiling) = (backoff.pause(failures), backoff.ceiling(failures));
            assert!(pause <= ceiling && pause >= ceiling / 2, "{failures}: {pause:?} of {ceiling:?}");
        }
    }

    #[test]
    fn only_a_row_of_its_own_fault_becomes_a_dead_letter() {
        let unreadable = protocol::Command::parse("shout", "{}").map(|_| ()).unwrap_err();
        assert_eq!(decide(&unreadable.into()), Decision::DeadLetter);
        assert_eq!(decide(&RelayError::Rejected { code: 102, reason: String::new() }), Decision::DeadLetter);
        assert_eq!(decide(&RelayError::Unreachable(DestinationError::new("down"))), Decision::Retry);
        assert_eq!(decide(&RelayError::Overdue(Duration::ZERO)), Decision::Retry);
    }

    #[test]
    fn a_lost_connection_is_retried_and_a_wrong_setting_is_not() {
        assert_eq!(decide(&sqlx::Error::PoolTimedOut.into()), Decision::Retry);
        assert_eq!(decide(&sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into()).into()), Decision::Retry);
        assert_eq!(decide(&sqlx::Error::Configuration("no host".into()).into()), Decision::Stop);
        assert_eq!(decide(&RelayError::NotMigrated), Decision::Stop);
        let replication = |text: &str| decide(&PgWireError::Server(text.to_owned()).into());
        assert_eq!(replication("permission denied to start WAL sender (SQLSTATE 42501)"), Decision::Stop);
        assert_eq!(replication("the database system is starting up (SQLSTATE 57P03)"), Decision::Retry);
    }
}

//! The two processes by name.

use std::fmt;

/// One of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The broker.
    Kafka,
    /// The worker that runs Debezium.
    Connect,
}

impl Part {
    /// Both.
    pub const ALL: [Part; 2] = [Part::Kafka, Part::Connect];

    /// In file names.
    pub(super) fn word(self) -> &'static str {
        match self {
            Part::Kafka => "kafka",
            Part::Connect => "connect",
        }
    }

    pub(super) fn main_class(self) -> &'static str {
        match self {
            Part::Kafka => "kafka.Kafka",
            Part::Connect => "org.apache.kafka.connect.cli.ConnectDistributed",
        }
    }

    pub(super) fn settings_file(self) -> &'static str {
        match self {
            Part::Kafka => "broker.properties",
            Part::Connect => "worker.properties",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Kafka => "Kafka",
            Part::Connect => "Kafka Connect",
        })
    }
}

//! Where a stack is, for commands beside the program that runs it.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{Part, directory, ports::Ports};

/// Where the parts of a stack are reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Kafka, for clients.
    pub bootstrap_servers: String,
    /// Connect's REST interface.
    pub connect_url: String,
}

impl Addresses {
    pub(super) fn of(ports: Ports) -> Self {
        Self {
            bootstrap_servers: format!("127.0.0.1:{}", ports.kafka),
            connect_url: format!("http://127.0.0.1:{}", ports.connect),
        }
    }

    /// Of the stack that another program runs on `data_dir` right now.
    pub fn of_running(data_dir: &Path) -> Option<Self> {
        let data_dir = fs::canonicalize(data_dir).ok()?;
        directory::pid_of(&data_dir, Part::Connect)?;
        serde_json::from_str(&fs::read_to_string(data_dir.join(directory::ADDRESSES_FILE)).ok()?).ok()
    }
}

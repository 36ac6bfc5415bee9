//! By which way the news of a message travels from its transaction to the hub: chosen per message, by the writer.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A broadcast mode. Everywhere written as its name: in rows, in settings, in publications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The backend publishes after the commit: the dual write, which loses what a crash cuts off.
    Api,
    /// A row of `chat_outbox`, which the relay carries and deletes.
    #[default]
    Outbox,
    /// A row of `chat_cdc`, by Debezium and Kafka.
    Cdc,
    /// As [`Mode::Cdc`], and published after the commit as well: the hub drops the repeat.
    ApiCdc,
    /// A logical message in the write-ahead log, by Debezium and Kafka: an outbox without a table.
    Message,
    /// A row of `chat_cdc`, read by the relay from the write-ahead log itself.
    Wal,
}

/// Why a text is not a mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown mode \"{0}\" (known: api, outbox, cdc, api_cdc, message, wal)")]
pub struct UnknownMode(String);

impl Mode {
    /// Every mode, in the order in which people are offered them.
    pub const ALL: [Self; 6] = [Self::Api, Self::Outbox, Self::Cdc, Self::ApiCdc, Self::Message, Self::Wal];

    /// Whether the backend itself publishes after the commit.
    pub fn is_direct(self) -> bool {
        matches!(self, Self::Api | Self::ApiCdc)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Outbox => "outbox",
            Self::Cdc => "cdc",
            Self::ApiCdc => "api_cdc",
            Self::Message => "message",
            Self::Wal => "wal",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or_else(|| UnknownMode(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_has_one_name_in_text_and_in_json() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
            assert_eq!(serde_json::to_string(&mode).unwrap(), format!("\"{mode}\""));
        }
        assert!("CDC".parse::<Mode>().unwrap_err().to_string().contains("api_cdc"));
    }
}

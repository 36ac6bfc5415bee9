//! The destination `kafka`: commands become records of the topic that every hub's tail reads.

use async_trait::async_trait;
use protocol::Command;
use rdkafka::error::KafkaError;

use super::{
    EngineConfig,
    appender::{Appender, Open, Sent, never_passes},
    record::records,
};
use crate::{Destination, DestinationError, Verdict};

/// Publishes commands to all hubs by way of Kafka. A command is delivered when its record is acknowledged.
pub struct Publications(Appender);

impl Publications {
    /// Connects with the first command.
    pub fn new(config: EngineConfig) -> Self {
        let (topic, patience) = (config.publications(), config.patience);
        Self(Appender::new(config, topic, patience, "publications"))
    }
}

#[async_trait]
impl Destination for Publications {
    async fn deliver(&self, commands: &[Command]) -> Result<Vec<Verdict>, DestinationError> {
        let open = self.0.open().await.map_err(|error| DestinationError::new(format!("Kafka: {error}")))?;
        // All are on their way before the first is waited for: they travel together, in this order.
        let mut under_way = Vec::with_capacity(commands.len());
        for command in commands {
            under_way.push(hand_over(&open, command).await);
        }
        let mut verdicts = Vec::with_capacity(commands.len());
        for parts in under_way {
            let outcome = async { arrived(parts?).await }.await;
            verdicts.push(match outcome {
                Ok(()) => {
                    self.0.passes();
                    Verdict::Accepted
                }
                Err(failure) => failure.into_verdict(|error| self.0.fails(&open, error)),
            });
        }
        if let [Verdict::Retry { reason }, rest @ ..] = verdicts.as_slice()
            && rest.iter().all(|verdict| matches!(verdict, Verdict::Retry { .. }))
        {
            return Err(DestinationError::new(reason.clone()));
        }
        Ok(verdicts)
    }
}

/// Why a command did not arrive.
enum Failure {
    Unwritable(serde_json::Error),
    Kafka(KafkaError),
}

async fn hand_over(open: &Open, command: &Command) -> Result<Vec<Sent>, Failure> {
    let mut sent = Vec::with_capacity(1);
    for record in records(command, open.partitions).map_err(Failure::Unwritable)? {
        sent.push(open.append(&record).await.map_err(Failure::Kafka)?);
    }
    Ok(sent)
}

/// All parts, or the first that failed: then all of them come again, and the hubs drop what they have.
async fn arrived(parts: Vec<Sent>) -> Result<(), Failure> {
    for part in parts {
        part.arrived().await.map_err(Failure::Kafka)?;
    }
    Ok(())
}

impl Failure {
    fn into_verdict(self, failed: impl FnOnce(&KafkaError)) -> Verdict {
        match self {
            Self::Unwritable(error) => {
                Verdict::Rejected { code: 107, reason: format!("no record can say it: {error}") }
            }
            Self::Kafka(error) => match error.rdkafka_error_code() {
                Some(code) if never_passes(code) => {
                    Verdict::Rejected { code: (code as i32).unsigned_abs(), reason: format!("Kafka: {code}") }
                }
                _ => {
                    failed(&error);
                    Verdict::Retry { reason: format!("Kafka: {error}") }
                }
            },
        }
    }
}

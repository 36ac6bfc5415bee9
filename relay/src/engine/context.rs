//! What librdkafka tells the engine beside records: its log, and that there is nobody left to talk to.

use std::sync::Arc;

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};
use tracing::debug;

use super::state::State;
use crate::source::kafka::client;

/// Listens to a producer.
pub(super) struct Quiet;

/// Listens to a tail's consumer.
pub(super) struct Heard(pub Arc<State>);

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, "Kafka: {reason}");
    }
}

impl ClientContext for Heard {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, "Kafka: {reason}");
        // One broker of several, or a connection that was idle, is nothing to tell: the next look knows.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.0.suffers(format!("no broker of Kafka can be reached: {reason}"));
        }
    }
}

impl ConsumerContext for Heard {}

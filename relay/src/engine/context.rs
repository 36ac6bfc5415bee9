//! What librdkafka tells the engine beside records: its log, and that there is nobody left to talk to.

use std::sync::Arc;

use rdkafka::{
    ClientContext, Statistics,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};
use tracing::debug;

use super::state::State;
use crate::clients::{self, Pulse};

/// Listens to a producer.
pub(super) struct Quiet(pub Arc<Pulse>);

/// Listens to a tail's consumer.
pub(super) struct Heard {
    pub state: Arc<State>,
    pub pulse: Arc<Pulse>,
}

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        clients::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, "Kafka: {reason}");
    }

    fn stats(&self, statistics: Statistics) {
        self.0.take(&statistics);
    }
}

impl ClientContext for Heard {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        clients::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, "Kafka: {reason}");
        // One broker of several, or a connection that was idle, is nothing to tell: the next look knows.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.state.suffers(format!("no broker of Kafka can be reached: {reason}"));
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.pulse.take(&statistics);
    }
}

impl ConsumerContext for Heard {}

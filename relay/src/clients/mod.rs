//! Clients of Kafka: what all of them are told, and when one is thrown away.
//!
//! librdkafka gets over brokers that go and come back, but not always. A broker that has just started answers before it
//! counts itself among the brokers; whoever asks in this moment is told of none, forgets every address that it has, those
//! from its settings too, and never connects again (seen with 2.12.1; `metadata.recovery.strategy` does not help). Whatever
//! the reason: a client that has had no success for a bound, while another one is answered, is of no more use. Who owns it
//! makes another and goes on where it stood.

mod outage;
mod pulse;

use std::{collections::BTreeMap, time::Duration};

use protocol::silence;
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use tracing::{debug, info, warn};

pub(crate) use self::{
    outage::Outage,
    pulse::{Pulse, watch},
};

/// A client tells about itself once a second, and a request may have to be sent twice.
const SHORTEST: Duration = Duration::from_secs(5);

/// How long a connection may take. The address of a broker that is away may swallow what is sent there.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a client may go without an answer.
pub(crate) fn bound() -> Duration {
    silence::bound().max(SHORTEST)
}

/// Of this name, with what all clients have in common. What they are told by whoever installs them comes last: [`told`].
pub(crate) fn named(name: &str, brokers: &str) -> ClientConfig {
    let millis = |duration: Duration| duration.as_millis().to_string();
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", brokers)
        .set("client.id", name)
        // Where others make the topics, they shall not be made with wrong settings.
        .set("allow.auto.create.topics", "false")
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        // A name is looked up again for each connection: a broker may come back with another address.
        .set("broker.address.ttl", "0")
        .set("socket.connection.setup.timeout.ms", millis(CONNECT))
        .set("socket.timeout.ms", millis(bound()))
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        // What a `Pulse` is told.
        .set("statistics.interval.ms", "1000");
    client
}

/// With other settings of librdkafka, by their names there.
pub(crate) fn told(mut client: ClientConfig, settings: &BTreeMap<String, String>) -> ClientConfig {
    for (name, value) in settings {
        client.set(name, value);
    }
    client
}

/// What librdkafka says, as loud as it is for us.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            warn!(facility, "librdkafka: {message}");
        }
        RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => info!(facility, "librdkafka: {message}"),
        // Errors are each attempt to connect; that there is trouble is told once, by whom it troubles.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            debug!(facility, "librdkafka: {message}");
        }
    }
}

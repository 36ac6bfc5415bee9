//! How publications reach the hubs: from relay to hub directly, or by way of Kafka.

use clap::Args;
use relay::engine::EngineConfig;

/// How publications reach the hubs.
#[derive(Args, Debug, Clone)]
pub struct EngineSettings {
    /// What joins hubs: `memory` is none, each hub is told everything by its --hub; kafka://host:port makes many hubs
    /// one, as relays and backends publish to Kafka and every hub reads there. Several brokers with commas; a path is
    /// the beginning of the topics' names, `roomcast` unless given. To be the same for backends, relays and hubs
    #[arg(long, env = "ROOMCAST_ENGINE", default_value = "memory", value_parser = engine)]
    pub engine: Engine,
}

/// What joins hubs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Nothing: each of them is told everything.
    Memory,
    /// Topics of Kafka.
    Kafka {
        /// `host:port`, several with commas.
        brokers: String,
        /// What their names begin with.
        prefix: String,
    },
}

impl EngineSettings {
    /// Where to publish to and to read from, if that is Kafka.
    pub fn kafka(&self) -> Option<EngineConfig> {
        match &self.engine {
            Engine::Memory => None,
            Engine::Kafka { brokers, prefix } => {
                Some(EngineConfig { prefix: prefix.clone(), ..EngineConfig::new(brokers) })
            }
        }
    }
}

/// `memory`, or `kafka://host:port,host:port/prefix`.
fn engine(text: &str) -> Result<Engine, String> {
    let wrong = || format!("\"{text}\" must be memory or look like kafka://host:port");
    if text == "memory" {
        return Ok(Engine::Memory);
    }
    let address = text.strip_prefix("kafka://").ok_or_else(wrong)?;
    let (brokers, prefix) = address.split_once('/').unwrap_or((address, ""));
    let is_broker = |broker: &str| {
        let parts = broker.rsplit_once(':');
        parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    if !brokers.split(',').all(is_broker) {
        return Err(wrong());
    }
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if prefix.len() > 200 || !prefix.bytes().all(named) {
        return Err(format!("\"{prefix}\" cannot begin a topic's name: letters, digits, '.', '_' and '-' can"));
    }
    let prefix = if prefix.is_empty() { "roomcast" } else { prefix };
    Ok(Engine::Kafka { brokers: brokers.to_owned(), prefix: prefix.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka(brokers: &str, prefix: &str) -> Engine {
        Engine::Kafka { brokers: brokers.to_owned(), prefix: prefix.to_owned() }
    }

    #[test]
    fn an_engine_is_memory_or_an_address_of_kafka() {
        assert_eq!(engine("memory"), Ok(Engine::Memory));
        assert_eq!(engine("kafka://one:9092,two:9092"), Ok(kafka("one:9092,two:9092", "roomcast")));
        assert_eq!(engine("kafka://127.0.0.1:9092/chat-2"), Ok(kafka("127.0.0.1:9092", "chat-2")));
        for wrong in
            ["", "kafka", "kafka://", "kafka://host", "kafka://:9092", "kafka://a:1,b", "redis://a:1", "kafka://a:1/ä"]
        {
            assert!(engine(wrong).is_err(), "{wrong}");
        }
    }
}

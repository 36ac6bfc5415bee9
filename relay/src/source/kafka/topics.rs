//! Makes sure that topics exist, before anybody reads them: Debezium makes a topic only with its first record, and until
//! then nobody could tell a topic that comes later from one that never does.
//!
//! A topic that is there stays as it is. One that may not be made here (a cluster where others make the topics) is waited
//! for by its readers. Brokers that are away are the caller's matter.

use std::{collections::BTreeMap, thread, time::Duration};

use rdkafka::{
    ClientContext,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::{Client, DefaultClientContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    metadata::MetadataPartition,
};
use tracing::{debug, info, warn};

use crate::clients;

/// What the brokers have as their default: 1 in the demo, 3 in production.
const REPLICATION: TopicReplication<'static> = TopicReplication::Fixed(-1);

/// As in the connectors' files: whoever is first makes the same topic.
const SETTINGS: [(&str, &str); 2] = [("cleanup.policy", "delete"), ("max.message.bytes", "10485760")];

/// As in the connectors' files, too.
const WEEK: Duration = Duration::from_hours(7 * 24);

/// How long the brokers may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A topic that should be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many partitions it gets if it is made here.
    pub partitions: i32,
    /// How long it keeps records if it is made here.
    pub keeps: Duration,
}

impl Topic {
    /// A topic with this many partitions that keeps records for a week.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self { name: name.into(), partitions, keeps: WEEK }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let keeps = self.keeps.as_millis().to_string();
        let mut settings = SETTINGS.map(|(name, value)| (name, value.to_owned())).to_vec();
        if self.keeps < WEEK {
            // Only what has left the newest file can go: it is to be closed as soon.
            settings.push(("segment.ms", keeps.clone()));
        }
        settings.push(("retention.ms", keeps));
        settings
    }
}

/// Makes those that are missing, and gives their names. `settings` are librdkafka's, beside the brokers: what it takes to
/// be let in, for example.
pub async fn ensure(
    brokers: &str,
    settings: &BTreeMap<String, String>,
    topics: &[Topic],
) -> Result<Vec<String>, KafkaError> {
    let client: AdminClient<DefaultClientContext> =
        clients::told(clients::named("roomcast-topics", brokers), settings).create()?;
    let settings: Vec<_> = topics.iter().map(Topic::settings).collect();
    let wanted = topics.iter().zip(&settings).map(|(topic, settings)| {
        let wanted = NewTopic::new(&topic.name, topic.partitions, REPLICATION);
        settings.iter().fold(wanted, |wanted, (name, value)| wanted.set(name, value))
    });
    let wanted: Vec<_> = wanted.collect();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let answers = client.create_topics(&wanted, &options).await;
    thread::spawn(move || drop(client)); // which takes its time
    let mut made = Vec::new();
    for answer in answers? {
        match answer {
            Ok(topic) => {
                info!(topic, "made the topic {topic}");
                made.push(topic);
            }
            Err((topic, RDKafkaErrorCode::TopicAlreadyExists)) => debug!(topic, "the topic is there"),
            Err((_, code)) if passes(code) => return Err(KafkaError::AdminOp(code)),
            Err((topic, code)) => {
                warn!(topic, %code, "the topic {topic} cannot be made here; waiting until it is there");
            }
        }
    }
    Ok(made)
}

/// The numbers of a topic's partitions; none if there is no such topic. Blocks.
pub(crate) fn partitions_of<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    patience: Duration,
) -> KafkaResult<Vec<i32>> {
    let metadata = client.fetch_metadata(Some(topic), patience)?;
    let Some(found) = metadata.topics().first() else { return Ok(Vec::new()) };
    match found.error().map(Into::into) {
        None => {}
        Some(RDKafkaErrorCode::UnknownTopicOrPartition) => return Ok(Vec::new()),
        Some(code) => return Err(KafkaError::MetadataFetch(code)),
    }
    let mut numbers: Vec<_> = found.partitions().iter().map(MetadataPartition::id).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// What another try may get over.
fn passes(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::RequestTimedOut
            | Code::NotController
            | Code::OperationTimedOut
            | Code::BrokerTransportFailure
            | Code::LeaderNotAvailable
            | Code::NetworkException
    )
}

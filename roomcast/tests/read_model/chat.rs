//! A chat whose rows Debezium carries to a topic: people, rooms, messages, and what the read model makes of them.

use backend::read_model;
use debezium::{Connector, Kind, Profile};
use embedded_postgres::testkit::TestDatabase;
use relay::{KafkaConfig, events::EventsConfig};
use sqlx::PgPool;

use crate::stack::{database, stack, until};

/// The demo's people and rooms, whose events are in a topic of their own.
pub(crate) struct Chat {
    pub(crate) database: TestDatabase,
    pub(crate) topic: String,
}

impl Chat {
    /// With the events connector under names of its own.
    pub(crate) async fn start(tag: &str) -> Self {
        let own = [
            ("name", format!("events-{tag}")),
            ("slot.name", format!("events_{tag}")),
            ("publication.name", format!("events_{tag}")),
            ("topic.prefix", tag.to_owned()),
            ("predicates.row.pattern", format!("{tag}\\.public\\.chat_cdc")),
            ("transforms.outbox.route.topic.replacement", format!("{tag}.${{routedByValue}}.events")),
        ];
        Self::with(format!("{tag}.room.events"), &own).await
    }

    /// With the connector as it is. One test only.
    pub(crate) async fn start_as_shipped() -> Self {
        Self::with("room.events".to_owned(), &[]).await
    }

    async fn with(topic: String, settings: &[(&str, String)]) -> Self {
        let database = database().await;
        let connector = Connector::render(Kind::Events, Profile::Tuned, &database.url.parse().unwrap()).unwrap();
        let connector = settings.iter().fold(connector, |connector, (key, value)| connector.with(key, value));
        stack().await.connect().apply(&connector).await.unwrap();
        // From the first line on, all goes by the log.
        sqlx::query("select set_broadcast_mode('cdc')").execute(&database.pool).await.unwrap();
        backend::seed::demo(&database.pool).await.unwrap();
        Self { database, topic }
    }

    pub(crate) fn db(&self) -> &PgPool {
        &self.database.pool
    }

    /// A consumer's settings, in a group of its own.
    pub(crate) async fn config(&self) -> EventsConfig {
        let defaults = EventsConfig::new(&self.database.url, stack().await.bootstrap_servers());
        let kafka =
            KafkaConfig { group: format!("{}-group", self.topic), topics: vec![self.topic.clone()], ..defaults.kafka };
        EventsConfig { kafka, probes: None, ..defaults }
    }

    /// In each room, its first member writes this many messages: by cdc, wal and `api_cdc` in turn.
    pub(crate) async fn say(&self, messages: i32) {
        for number in 0..messages {
            let posted = sqlx::query(
                "select post_messages(m.room_id, array[m.user_id], array['message ' || $1], array[gen_random_uuid()],
                                      array[(array['cdc', 'wal', 'api_cdc'])[1 + $1 % 3]])
                   from (select room_id, min(user_id) as user_id from members group by room_id) m",
            );
            posted.bind(number).execute(self.db()).await.unwrap();
        }
    }

    /// Until the read model is as the truth.
    pub(crate) async fn is_true(&self) {
        until(async || read_model::differences(self.db()).await.unwrap().is_empty()).await;
    }

    /// The table, each row as JSON.
    pub(crate) async fn rows(&self) -> Vec<serde_json::Value> {
        sqlx::query_scalar("select to_jsonb(v) from room_view v order by room_id").fetch_all(self.db()).await.unwrap()
    }

    pub(crate) async fn count(&self, of: &'static str) -> i64 {
        sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {of}")))
            .fetch_one(self.db())
            .await
            .unwrap()
    }
}

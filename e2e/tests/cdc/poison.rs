//! Records that can never be rows, written straight into the topic.

use std::time::Duration;

use e2e::{App, Part, Shape, TestClient, eventually, run};
use rdkafka::{
    ClientConfig,
    producer::{FutureProducer, FutureRecord},
};
use serde_json::json;
use sqlx::PgConnection;

use crate::stage::{PATIENCE, Stage, stage};

const TOPIC: &str = "postgres.public.chat_cdc";

struct Writer(FutureProducer);

impl Writer {
    fn new(stage: &Stage) -> anyhow::Result<Self> {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", stage.stack.bootstrap_servers()).set("message.max.bytes", "10485760");
        Ok(Self(settings.create()?))
    }

    /// Gives the record's offset.
    async fn write(&self, partition: i32, value: &str) -> anyhow::Result<i64> {
        let record = FutureRecord::<str, str>::to(TOPIC).partition(partition).payload(value).key("{}");
        let written = self.0.send(record, PATIENCE).await;
        Ok(written.map_err(|(error, _)| error)?.offset)
    }
}

/// A row as Debezium writes it: news for one user.
fn row(method: &str, user: i64, text: &str) -> String {
    let payload = json!({ "channel": format!("user:{user}"), "data": { "type": "test", "text": text } });
    json!({ "method": method, "payload": payload.to_string(), "partition": 0, "mode": "cdc" }).to_string()
}

#[derive(sqlx::FromRow)]
struct Letter {
    id: i64,
    source_id: i64,
    payload: String,
    reason: String,
}

async fn letters(db: &mut PgConnection, partition: i32) -> sqlx::Result<Vec<Letter>> {
    sqlx::query_as("select id, source_id, payload, reason from dead_letters where source = $1 order by source_id")
        .bind(format!("kafka:{TOPIC}/{partition}"))
        .fetch_all(db)
        .await
}

/// Kafka's partition of a room's rows: the connector spreads them by our partition.
fn partition_of(room: i64) -> anyhow::Result<i32> {
    Ok(i32::try_from(room % 16 % 8)?)
}

async fn hears(client: &mut TestClient, user: i64, text: &str) -> bool {
    client.sees(&format!("user:{user}"), PATIENCE, |journal| journal.news.iter().any(|news| news["text"] == text)).await
}

#[tokio::test]
async fn poison_is_put_aside_with_its_place_and_reason_and_its_partition_goes_on_and_replay_works() -> anyhow::Result<()>
{
    let stage = stage().await?;
    let app = stage.plan(Shape::OneProcess).start().await?;
    let alice = app.person("alice").await?;
    let room = alice.create_room("Poison").await?;
    let mut client = TestClient::connect(&alice, &app.websocket()).await?;
    alice.say_by(Some("cdc"), room, "before the poison").await?; // also makes the topic
    client.caught_up(&format!("room:{room}"), 2, PATIENCE).await?;

    let (writer, partition) = (Writer::new(&stage)?, partition_of(room)?);
    let poison =
        ["{not JSON".to_owned(), row("shout", alice.id, "misspelt"), row("publish", alice.id, &"x".repeat(2 << 20))];
    let mut offsets = Vec::new();
    for value in &poison {
        offsets.push(writer.write(partition, value).await?);
    }
    writer.write(partition, &row("publish", alice.id, "behind the poison")).await?;
    alice.say_by(Some("cdc"), room, "after the poison").await?;
    assert!(hears(&mut client, alice.id, "behind the poison").await, "the same partition goes on");
    client.caught_up(&format!("room:{room}"), 3, PATIENCE).await?;
    assert_eq!(client.journal(&format!("room:{room}")).faults, Vec::<String>::new());

    let mut db = stage.database().await?;
    let mut put_aside = Vec::new();
    eventually("all three are put aside", PATIENCE, async || {
        put_aside = letters(&mut db, partition).await?;
        Ok(put_aside.len() == poison.len())
    })
    .await?;
    assert_eq!(put_aside.iter().map(|letter| letter.source_id).collect::<Vec<_>>(), offsets);
    for (letter, reason) in put_aside.iter().zip(["not JSON", "unknown method \"shout\"", "the limit is 1048576"]) {
        assert!(letter.reason.contains(reason), "{}", letter.reason);
    }
    assert_eq!(put_aside[0].payload, poison[0], "kept as it came");

    replay(&app, &mut client, alice.id, &stage.database_url, &mut db, partition).await?;
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

/// A person corrects what can be corrected, puts it back, and throws the rest away.
async fn replay(
    app: &App,
    client: &mut TestClient,
    user: i64,
    database: &str,
    db: &mut PgConnection,
    partition: i32,
) -> anyhow::Result<()> {
    let put_aside = letters(db, partition).await?;
    sqlx::query("update dead_letters set method = 'publish' where id = $1")
        .bind(put_aside[1].id)
        .execute(&mut *db)
        .await?;
    let of = |letter: &Letter| letter.id.to_string();
    run(&["dead-letters", "replay", &of(&put_aside[1]), "--database-url", database]).await?;
    assert!(hears(client, user, "misspelt").await, "{}", app.log(Part::Relay));

    let refused = run(&["dead-letters", "replay", &of(&put_aside[0]), "--database-url", database]).await;
    assert!(format!("{refused:?}").contains("not JSON"), "{refused:?}");
    run(&["dead-letters", "discard", &of(&put_aside[0]), &of(&put_aside[2]), "--database-url", database]).await?;
    eventually("nothing is left", Duration::from_secs(30), async || Ok(letters(db, partition).await?.is_empty())).await
}

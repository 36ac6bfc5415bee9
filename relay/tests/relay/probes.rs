//! Whether a way works is known by what comes through it: with Kafka, Connect and Debezium, and by the log alone.

use std::time::Duration;

use debezium::{Connector, Kind, Profile, Stack};
use embedded_postgres::testkit::{self, TestDatabase};
use relay::{KafkaConfig, RelayConfig, RelayStatus, SlotStatus, Way};
use sqlx::PgPool;

use crate::{
    logs::{announce, drop_slot, slot_name, wal_config},
    recorder::Recorder,
    running::{MIGRATOR, Running, config, database, letters, until},
    stack::{Topic, stack_alone_with_connect},
};

/// Rooms whose messages go by the other way; partitions follow each other as the rooms do.
const OTHERS: i64 = 1_000_000;

async fn apply(stack: &Stack, db: &TestDatabase) {
    for kind in Kind::ALL {
        let connector = Connector::render(kind, Profile::Tuned, &db.url.parse().unwrap()).unwrap();
        stack.connect().apply(&connector).await.unwrap();
    }
}

/// A relay that reads what the product's connectors write, and is sooner in doubt than usual.
fn config_on(stack: &Stack, db: &TestDatabase) -> RelayConfig {
    let kafka = KafkaConfig { session_timeout: Duration::from_secs(6), ..KafkaConfig::new(stack.bootstrap_servers()) };
    RelayConfig { outbox: false, kafka: Some(kafka), probe_interval: Duration::from_secs(1), ..config(db) }
}

async fn carriers(db: &PgPool) -> Vec<String> {
    sqlx::query_scalar("select distinct source from carriers order by source").fetch_all(db).await.unwrap()
}

async fn emit(db: &PgPool, room: i64, version: i64) {
    sqlx::query(
        "select pg_logical_emit_message(true, 'roomcast.' || partition_of($1), jsonb_build_object(
            'method', 'publish', 'partition', partition_of($1), 'mode', 'message', 'payload', jsonb_build_object(
                'channel', 'room:' || $1, 'version', $2::bigint, 'version_epoch', 'e', 'data', '{}'::jsonb))::text)",
    )
    .bind(room)
    .bind(version)
    .execute(db)
    .await
    .unwrap();
}

fn slot<'a>(status: &'a RelayStatus, name: &str) -> Option<&'a SlotStatus> {
    status.slots.iter().find(|slot| slot.name == name)
}

#[tokio::test]
async fn a_way_is_offered_while_probes_come_through_whatever_says_that_it_runs() {
    let stack = stack_alone_with_connect().await;
    let (server, recorder) = (testkit::private_server().await, Recorder::new());
    let db = testkit::database_on(&server.url("postgres"), &MIGRATOR).await;
    let relay = Running::start_beside(config_on(&stack, &db), recorder.clone());
    relay.carrying("kafka").await;
    relay.until(|status| slot(status, "roomcast_rows").is_some_and(|slot| slot.trouble.is_some())).await;
    let status = relay.handle.status();
    assert!(!status.is_ready() && slot(&status, "roomcast_events").is_none(), "{status:?}");
    assert!(
        slot(&status, "roomcast_rows").unwrap().trouble.as_ref().unwrap().contains("connectors apply"),
        "{status:?}"
    );

    // The topics are there before any row, and the modes can be chosen before any message.
    apply(&stack, &db).await;
    relay.until(RelayStatus::is_ready).await;
    until(async || carriers(&db.pool).await == ["cdc", "message"]).await;
    let status = relay.handle.status();
    for way in [Way::Cdc, Way::Message] {
        let probe = status.probes.iter().find(|probe| probe.source == way).unwrap();
        assert!(
            probe.works && probe.sent_at.is_some() && probe.took_seconds.is_some_and(|took| took > 0.0),
            "{probe:?}"
        );
    }
    relay.until(|status| status.slots.len() == 3 && status.slots.iter().all(|slot| slot.active)).await;
    assert!(recorder.seen().is_empty());
    every_way_spreads_its_rooms(&stack, &db.pool, &recorder).await;
    assert_eq!(letters(&db.pool).await, 0, "probes are no dead letters");

    // Nobody tells the relay that Connect is gone: no probe does.
    stack.stop_connect().await;
    relay.until(|status| !status.is_ready() && status.probes.iter().all(|probe| !probe.works)).await;
    let doubt = relay.handle.status().source("kafka").unwrap().last_error.clone().unwrap();
    assert!(doubt.contains("no probe of cdc came through in the last 6s"), "{doubt}");
    until(async || offered(&db.pool).await.is_empty()).await;
    sqlx::query("select pg_drop_replication_slot('roomcast_rows')").execute(&db.pool).await.unwrap();
    relay.until(|status| slot(status, "roomcast_rows").is_some_and(|slot| slot.trouble.is_some())).await;
    let status = relay.handle.status();
    let trouble = slot(&status, "roomcast_rows").unwrap().trouble.as_ref().unwrap();
    assert!(trouble.contains("was there and is gone: run `roomcast connectors remove` and then `apply`"), "{trouble}");

    stack.start_connect().await.unwrap();
    let rows = Connector::render(Kind::Rows, Profile::Tuned, &db.url.parse().unwrap()).unwrap();
    stack.connect().remove(&rows, &db.pool).await.unwrap();
    stack.connect().apply(&rows).await.unwrap();
    relay.until(RelayStatus::is_ready).await;
    announce(&db.pool, "cdc", 1, 100).await;
    recorder.arrived_one("room:1", 100).await;
    relay.stop().await;
    for kind in Kind::ALL {
        let connector = Connector::render(kind, Profile::Tuned, &db.url.parse().unwrap()).unwrap();
        stack.connect().remove(&connector, &db.pool).await.unwrap();
    }
    drop(server);
}

/// What was said lately: it is repeated every 5 s.
async fn offered(db: &PgPool) -> Vec<String> {
    sqlx::query_scalar("select source from carriers where seen_at > clock_timestamp() - interval '15 seconds'")
        .fetch_all(db)
        .await
        .unwrap()
}

/// A room of each of the 16 partitions: rows are placed by their partition, messages by the hash of their prefix.
async fn every_way_spreads_its_rooms(stack: &Stack, db: &PgPool, recorder: &Recorder) {
    let topics = ["postgres.public.chat_cdc", "messages.message"].map(|name| Topic::named(stack, name.to_owned()));
    let before = [topics[0].records(8), topics[1].records(8)];
    let rooms: Vec<i64> =
        sqlx::query_scalar("select distinct on (partition_of(n)) n from generate_series(1::bigint, 1000) n")
            .fetch_all(db)
            .await
            .unwrap();
    assert_eq!(rooms.len(), 16);
    for (room, version) in rooms.iter().flat_map(|room| (1..=3).map(move |version| (*room, version))) {
        announce(db, "cdc", room, version).await;
        emit(db, OTHERS + room, version).await;
    }
    for room in &rooms {
        recorder.arrived_one(&format!("room:{room}"), 3).await;
    }
    recorder.arrived(96).await;
    recorder.in_order();
    let new = |topic: usize| -> Vec<i64> {
        topics[topic].records(8).iter().zip(&before[topic]).map(|(after, before)| after - before).collect()
    };
    let (rows, messages) = (new(0), new(1));
    assert!(rows.iter().all(|records| *records >= 3), "none of 8 partitions is left empty: {rows:?}");
    assert!(messages.iter().filter(|records| **records >= 3).count() >= 5, "the hash of 16 prefixes: {messages:?}");
    let probes = Topic::named(stack, "probe.events".to_owned()).records(8);
    assert!(probes.iter().sum::<i64>() > 0, "probes have a topic of their own for the read model");
}

#[tokio::test]
async fn the_log_alone_is_probed_too_and_its_slot_is_watched() {
    let (db, name, recorder) = (database().await, slot_name(), Recorder::new());
    let relay = Running::start_beside(wal_config(&db, &name), recorder.clone());
    relay.until(RelayStatus::is_ready).await;
    relay.until(|status| slot(status, &name).is_some_and(|slot| slot.active && slot.trouble.is_none())).await;
    let status = relay.handle.status();
    assert_eq!(status.probes.len(), 1);
    assert!(status.probes[0].works && status.probes[0].took_seconds.is_some(), "{:?}", status.probes);
    assert!(recorder.seen().is_empty());
    relay.stop().await;

    // What stands in the table from before there is a slot is carried, but not its probes.
    drop_slot(&db.pool, &name).await;
    announce(&db.pool, "wal", 1, 1).await;
    let relay = Running::start_beside(wal_config(&db, &name), recorder.clone());
    recorder.arrived(1).await;
    relay.until(RelayStatus::is_ready).await;
    assert_eq!((recorder.seen().len(), letters(&db.pool).await), (1, 0));
    relay.stop().await;
    drop_slot(&db.pool, &name).await;
}

#[tokio::test]
async fn a_probe_is_a_command_to_others_and_one_of_the_old_method_is_still_a_probe() {
    let (db, name, recorder) = (database().await, slot_name(), Recorder::new());
    let relay = Running::start_beside(wal_config(&db, &name), recorder.clone());
    relay.until(RelayStatus::is_ready).await;
    let sent: Vec<(String, String)> =
        sqlx::query_as("select method, payload::text from chat_cdc where aggregate_type = 'probe'")
            .fetch_all(&db.pool)
            .await
            .unwrap();
    for (method, payload) in &sent {
        match protocol::Command::parse(method, payload).unwrap() {
            protocol::Command::Refresh(refresh) => assert_eq!(refresh.client.as_deref(), Some("roomcast.probe")),
            other => panic!("{other:?}"),
        }
    }
    assert!(!sent.is_empty());
    sqlx::query(
        "insert into chat_cdc (method, payload, partition, aggregate_type, aggregate_id, event_type, mode)
         select 'probe', payload, partition, aggregate_type, aggregate_id, event_type, mode from chat_cdc",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    announce(&db.pool, "wal", 1, 1).await;
    recorder.arrived_one("room:1", 1).await;
    assert_eq!((recorder.seen().len(), letters(&db.pool).await), (1, 0), "no probe of either kind is carried");
    relay.stop().await;
    drop_slot(&db.pool, &name).await;
}

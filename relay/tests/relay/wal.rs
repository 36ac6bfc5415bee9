//! The write-ahead log as a source, against a real server: exactly the committed rows, in order, whoever dies.

use std::{collections::HashMap, time::Duration};

use embedded_postgres::testkit;
use relay::{KafkaConfig, RelayConfig, RelayError, Verdict, WalConfig, dead_letter};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::time::sleep;

use crate::{
    logs::{announce, announce_in, announce_raw, confirmed, drop_slot, end_of_log, slot, slot_name, wal_config},
    recorder::Recorder,
    running::{MIGRATOR, Running, config, database, letters, until},
};

const ROOMS: i64 = 10;
/// The rooms of these tests have no lines: any number of a room's row counts what was announced, under its lock.
const NEXT_VERSION: &str =
    "update rooms set member_count = member_count + 1 where id = $1 returning member_count::bigint";
const VERSIONS: &str = "select 'room:' || id, member_count::bigint from rooms where member_count > 0";

async fn post(db: &PgPool, room: i64) {
    let mut tx = db.begin().await.unwrap();
    let version: i64 = sqlx::query_scalar(NEXT_VERSION).bind(room).fetch_one(&mut *tx).await.unwrap();
    announce_in(&mut *tx, "wal", room, version).await;
    sleep(Duration::from_millis(rand::random_range(0..4))).await;
    if rand::random_ratio(1, 10) {
        tx.rollback().await.unwrap();
    } else {
        tx.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_writers_committing_out_of_id_order_lose_nothing_and_keep_the_order_of_each_room() {
    let (db, name) = (database().await, slot_name());
    sqlx::query("insert into rooms (name) select 'room ' || n from generate_series(1, $1) n")
        .bind(ROOMS)
        .execute(&db.pool)
        .await
        .unwrap();
    let recorder = Recorder::new();
    let relay = Running::start_beside(wal_config(&db, &name), recorder.clone());
    relay.carrying("wal").await;

    let pool = PgPoolOptions::new().max_connections(30).connect(&db.url).await.unwrap();
    let writers = (0..30).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                post(&pool, rand::random_range(1..=ROOMS)).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    pool.close().await;
    confirmed(&db.pool, &name, end_of_log(&db.pool).await).await;

    let committed: Vec<(String, i64)> = sqlx::query_as(VERSIONS).fetch_all(&db.pool).await.unwrap();
    let committed: HashMap<String, u64> =
        committed.into_iter().map(|(room, v)| (room, u64::try_from(v).unwrap())).collect();
    assert_eq!(recorder.in_order(), committed);
    assert_eq!(recorder.seen().len() as u64, committed.values().sum::<u64>(), "nothing was repeated");
    relay.stop().await;
    drop_slot(&db.pool, &name).await;
}

#[tokio::test]
async fn what_the_table_held_before_there_was_a_slot_comes_first_and_other_modes_never() {
    let (db, name) = (database().await, slot_name());
    announce(&db.pool, "wal", 1, 1).await;
    announce(&db.pool, "cdc", 2, 1).await;
    let recorder = Recorder::new();
    let relay = Running::start_beside(wal_config(&db, &name), recorder.clone());
    relay.carrying("wal").await;
    assert_eq!(recorder.in_order(), HashMap::from([("room:1".to_owned(), 1)]));

    announce(&db.pool, "api_cdc", 2, 2).await;
    let mut tx = db.pool.begin().await.unwrap();
    for version in 2..=500 {
        announce_in(&mut *tx, "wal", 1, version).await;
    }
    tx.commit().await.unwrap();
    recorder.arrived(500).await;
    // What is not ours is confirmed as well.
    announce(&db.pool, "cdc", 2, 3).await;
    confirmed(&db.pool, &name, end_of_log(&db.pool).await).await;
    assert_eq!(recorder.in_order(), HashMap::from([("room:1".to_owned(), 500)]));
    relay.stop().await;
    drop_slot(&db.pool, &name).await;
}

#[tokio::test]
async fn a_column_added_while_it_reads_changes_nothing() {
    let (db, name) = (database().await, slot_name());
    let recorder = Recorder::new();
    let relay = Running::start_beside(wal_config(&db, &name), recorder.clone());
    relay.carrying("wal").await;
    announce(&db.pool, "wal", 1, 1).await;
    recorder.arrived(1).await;
    sqlx::raw_sql(
        "alter table chat_cdc add column mood text default 'fine'; alter table chat_cdc drop column event_id",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    announce(&db.pool, "wal", 1, 2).await;
    recorder.arrived_one("room:1", 2).await;
    relay.stop().await;
    drop_slot(&db.pool, &name).await;
}

#[tokio::test]
async fn an_orderly_stop_repeats_nothing_and_a_crash_only_what_was_not_confirmed() {
    let (db, name) = (database().await, slot_name());
    let recorder = Recorder::new();
    let relay = Running::start_beside(wal_config(&db, &name), recorder.clone());
    relay.carrying("wal").await;
    for version in 1..=20 {
        announce(&db.pool, "wal", 1, version).await;
    }
    recorder.arrived(20).await;
    relay.stop().await;

    let relay = Running::start_beside(wal_config(&db, &name), recorder.clone());
    relay.carrying("wal").await;
    recorder.shut_behind();
    announce(&db.pool, "wal", 1, 21).await;
    recorder.entered().await;
    announce(&db.pool, "wal", 1, 22).await;
    assert_eq!(recorder.seen().len(), 21, "nothing came again after the stop");
    relay.kill().await;

    recorder.open();
    let relay = Running::start_beside(wal_config(&db, &name), recorder.clone());
    recorder.arrived(23).await;
    assert_eq!(recorder.seen()[20..].iter().map(|(_, version)| *version).collect::<Vec<_>>(), [21, 21, 22]);
    relay.stop().await;
    drop_slot(&db.pool, &name).await;
}

#[tokio::test]
async fn a_second_relay_stands_by_and_takes_over_when_the_first_dies() {
    let (db, name) = (database().await, slot_name());
    let recorder = Recorder::new();
    let first = Running::start_beside(wal_config(&db, &name), recorder.clone());
    first.carrying("wal").await;
    let second = Running::start_beside(wal_config(&db, &name), recorder.clone());
    second.until(|status| status.source("wal").is_some_and(|wal| wal.phase == relay::Phase::StandingBy)).await;
    second.until(relay::RelayStatus::is_ready).await; // to stand by is its work
    announce(&db.pool, "wal", 1, 1).await;
    recorder.arrived(1).await;
    first.kill().await;
    announce(&db.pool, "wal", 1, 2).await;
    recorder.arrived_one("room:1", 2).await;
    second.carrying("wal").await;
    assert_eq!(recorder.in_order()["room:1"], 2);
    second.stop().await;
    drop_slot(&db.pool, &name).await;
}

#[tokio::test]
async fn a_killed_server_repeats_but_loses_nothing() {
    let mut server = testkit::private_server().await;
    let db = testkit::database_on(&server.url("postgres"), &MIGRATOR).await;
    let recorder = Recorder::new();
    let relay = Running::start_beside(wal_config(&db, "roomcast_wal"), recorder.clone());
    relay.carrying("wal").await;
    for version in 1..=50 {
        announce(&db.pool, "wal", 1, version).await;
    }
    recorder.arrived(50).await;

    let server = tokio::task::spawn_blocking(move || {
        server.kill().unwrap();
        server.restart().unwrap();
        server
    })
    .await
    .unwrap();
    let pool = PgPoolOptions::new().max_connections(2).connect(&db.url).await.unwrap();
    relay.carrying("wal").await;
    for version in 51..=60 {
        announce(&pool, "wal", 1, version).await;
    }
    recorder.arrived_one("room:1", 60).await;
    confirmed(&pool, "roomcast_wal", end_of_log(&pool).await).await;
    assert_eq!(recorder.in_order()["room:1"], 60);
    relay.until(|status| status.source("wal").is_some_and(|wal| wal.last_error.is_none())).await;
    relay.stop().await;
    pool.close().await;
    drop(server);
}

#[tokio::test]
async fn a_slot_that_was_dropped_is_made_anew_and_the_table_fills_the_gap() {
    let (db, name) = (database().await, slot_name());
    let recorder = Recorder::new();
    let relay = Running::start_beside(wal_config(&db, &name), recorder.clone());
    relay.carrying("wal").await;
    announce(&db.pool, "wal", 1, 1).await;
    recorder.arrived(1).await;
    relay.stop().await;
    announce(&db.pool, "wal", 1, 2).await;
    drop_slot(&db.pool, &name).await;
    announce(&db.pool, "wal", 1, 3).await;

    let relay = Running::start_beside(wal_config(&db, &name), recorder.clone());
    relay.carrying("wal").await;
    announce(&db.pool, "wal", 1, 4).await;
    recorder.arrived_one("room:1", 4).await;
    assert_eq!(recorder.in_order()["room:1"], 4);

    // Under its feet: the connection is ended and the slot gone before it can come back.
    drop_while_active(&db.pool, &name).await;
    announce(&db.pool, "wal", 1, 5).await;
    recorder.arrived_one("room:1", 5).await;
    assert_eq!(recorder.in_order()["room:1"], 5);
    relay.until(|status| status.source("wal").is_some_and(|wal| wal.notice.is_some())).await;
    let notice = relay.handle.status().source("wal").unwrap().notice.clone().unwrap();
    assert!(notice.contains("was gone and is made anew") && notice.contains("the hub's backlog"), "{notice}");
    relay.stop().await;
    drop_slot(&db.pool, &name).await;
}

/// One statement, and again until it wins against the relay that wants the slot back.
async fn drop_while_active(db: &PgPool, name: &str) {
    until(async || {
        let dropped = sqlx::query(
            "select pg_terminate_backend(active_pid, 5000), pg_drop_replication_slot(slot_name)
               from pg_replication_slots where slot_name = $1 and active_pid is not null",
        );
        dropped.bind(name).execute(db).await.is_ok_and(|dropped| dropped.rows_affected() == 1)
    })
    .await;
}

#[tokio::test]
async fn a_slot_that_the_server_gave_up_is_made_anew_and_one_of_debezium_is_told_loudly() {
    let server = testkit::private_server().await;
    let db = testkit::database_on(&server.url("postgres"), &MIGRATOR).await;
    let recorder = Recorder::new();
    let relay = Running::start_beside(wal_config(&db, "roomcast_wal"), recorder.clone());
    relay.carrying("wal").await;
    announce(&db.pool, "wal", 1, 1).await;
    recorder.arrived(1).await;
    relay.stop().await;

    sqlx::query("select pg_create_logical_replication_slot('roomcast_rows', 'pgoutput')")
        .execute(&db.pool)
        .await
        .unwrap();
    announce(&db.pool, "wal", 1, 2).await;
    sqlx::query("alter system set max_slot_wal_keep_size = '1MB'").execute(&db.pool).await.unwrap();
    sqlx::query("select pg_reload_conf()").execute(&db.pool).await.unwrap();
    until(async || {
        for statement in ["select pg_logical_emit_message(true, 'noise', 'x')", "select pg_switch_wal()", "checkpoint"]
        {
            sqlx::query(statement).execute(&db.pool).await.unwrap();
        }
        let lost = sqlx::query_scalar("select bool_and(wal_status = 'lost') from pg_replication_slots");
        lost.fetch_one(&db.pool).await.unwrap()
    })
    .await;

    let kafka = Some(KafkaConfig::new("127.0.0.1:1"));
    let relay = Running::start_beside(RelayConfig { kafka, ..wal_config(&db, "roomcast_wal") }, recorder.clone());
    relay.carrying("wal").await;
    announce(&db.pool, "wal", 1, 3).await;
    recorder.arrived_one("room:1", 3).await;
    assert_eq!(recorder.in_order()["room:1"], 3);
    let trouble = "the replication slot roomcast_rows was given up by the server (see max_slot_wal_keep_size): run \
                   `roomcast connectors remove` and then `apply`";
    let told = |slot: &relay::SlotStatus| slot.trouble.as_ref().is_some_and(|told| told.starts_with(trouble));
    relay.until(|status| status.slots.iter().any(told)).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_slot_of_ours_that_nobody_reads_is_a_notice_whatever_runs_here() {
    let server = testkit::private_server().await;
    let db = testkit::database_on(&server.url("postgres"), &MIGRATOR).await;
    for name in ["roomcast_rows", "roomcast_wal", "a_strangers"] {
        let create = sqlx::query("select pg_create_logical_replication_slot($1, 'pgoutput')");
        create.bind(name).execute(&db.pool).await.unwrap();
    }
    let hurried = |config| RelayConfig { unread_after: Duration::from_millis(500), ..config };
    let about = |status: &relay::RelayStatus| -> Vec<String> {
        status.notices.iter().map(|notice| notice.about.clone()).collect()
    };
    // Neither Kafka nor the log is read here.
    let relay = Running::start(hurried(config(&db)), Recorder::new()).await;
    relay.until(|status| about(status) == ["slot roomcast_rows", "slot roomcast_wal"]).await;
    let status = relay.handle.status();
    assert!(status.is_ready(), "{status:?}");
    assert!(status.notices[0].remedy.contains("`roomcast slots remove roomcast_rows`"), "{:?}", status.notices);
    relay.stop().await;

    let relay = Running::start_beside(hurried(wal_config(&db, "roomcast_wal")), Recorder::new());
    relay.until(|status| about(status) == ["slot roomcast_rows"]).await;
    drop_slot(&db.pool, "roomcast_rows").await;
    relay.until(|status| status.notices.is_empty()).await;
    relay.stop().await;
}

#[tokio::test]
async fn an_idle_relay_on_a_busy_database_keeps_no_log() {
    let (db, name) = (database().await, slot_name());
    let relay = Running::start_beside(wal_config(&db, &name), Recorder::new());
    relay.carrying("wal").await;
    sqlx::query("create table noise as select n, repeat('x', 100) as text from generate_series(1, 20000) n")
        .execute(&db.pool)
        .await
        .unwrap();
    confirmed(&db.pool, &name, end_of_log(&db.pool).await).await;
    relay.until(|status| status.source("wal").is_some_and(|wal| wal.lag.retained_bytes.is_some())).await;
    relay.stop().await;
    drop_slot(&db.pool, &name).await;
}

#[tokio::test]
async fn a_row_that_is_not_accepted_holds_its_partition_and_no_other_and_nothing_behind_it_is_confirmed() {
    let (db, name) = (database().await, slot_name());
    let recorder = Recorder::new();
    let relay = Running::start_beside(wal_config(&db, &name), recorder.clone());
    relay.carrying("wal").await;
    recorder.judge(|publish| {
        let refused = publish.channel.as_str() == "room:1";
        if refused { Verdict::Retry { reason: "shard is behind".into() } } else { Verdict::Accepted }
    });
    announce(&db.pool, "wal", 1, 1).await;
    let refused = end_of_log(&db.pool).await;
    announce(&db.pool, "wal", 2, 1).await;
    for version in 2..=5 {
        announce(&db.pool, "wal", 1, version).await;
        announce(&db.pool, "wal", 2, version).await;
    }
    recorder.arrived_one("room:2", 5).await;
    let (_, confirmed_now) = slot(&db.pool, &name).await.unwrap();
    assert!(confirmed_now < refused, "{confirmed_now} is behind {refused}");
    relay.until(|status| status.source("wal").is_some_and(|wal| wal.last_error.is_some())).await;

    recorder.judge(|_| Verdict::Accepted);
    recorder.arrived_one("room:1", 5).await;
    confirmed(&db.pool, &name, end_of_log(&db.pool).await).await;
    assert_eq!(recorder.in_order(), HashMap::from([("room:1".to_owned(), 5), ("room:2".to_owned(), 5)]));
    relay.stop().await;
    drop_slot(&db.pool, &name).await;
}

#[tokio::test]
async fn a_destination_that_is_away_holds_the_log_and_makes_no_dead_letter() {
    let (db, name) = (database().await, slot_name());
    let recorder = Recorder::new();
    let wal = WalConfig { queue_rows: 4, ..wal_config(&db, &name).wal.unwrap() };
    let relay = Running::start_beside(RelayConfig { wal: Some(wal), ..wal_config(&db, &name) }, recorder.clone());
    relay.carrying("wal").await;
    recorder.down(true);
    let mut tx = db.pool.begin().await.unwrap();
    for version in 1..=200 {
        announce_in(&mut *tx, "wal", 1, version).await;
    }
    tx.commit().await.unwrap();
    recorder.asked(5).await;
    assert_eq!((recorder.seen().len(), letters(&db.pool).await), (0, 0));
    recorder.down(false);
    recorder.arrived(200).await;
    confirmed(&db.pool, &name, end_of_log(&db.pool).await).await;
    assert_eq!(recorder.in_order()["room:1"], 200);
    relay.stop().await;
    drop_slot(&db.pool, &name).await;
}

#[tokio::test]
async fn a_row_that_can_never_pass_is_put_aside_and_the_rest_goes_on() {
    let (db, name) = (database().await, slot_name());
    let recorder = Recorder::new();
    let config = RelayConfig { largest_payload: 1000, ..wal_config(&db, &name) };
    let relay = Running::start_beside(config, recorder.clone());
    relay.carrying("wal").await;
    announce_raw(&db.pool, "wal", "shout", "{}").await;
    announce_raw(&db.pool, "wal", "publish", &format!(r#"{{"channel": "room:1", "data": "{}"}}"#, "x".repeat(2000)))
        .await;
    announce_raw(&db.pool, "pigeon", "publish", "{}").await;
    announce(&db.pool, "wal", 1, 1).await;
    recorder.arrived(1).await;
    confirmed(&db.pool, &name, end_of_log(&db.pool).await).await;

    let letters = dead_letter::list(&db.pool, 0, 10).await.unwrap();
    let reasons: Vec<_> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert!(reasons.iter().any(|reason| reason.starts_with("unknown method \"shout\"")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("the limit is 1000")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("unknown mode \"pigeon\"")), "{reasons:?}");
    assert!(letters.iter().all(|letter| letter.source == "wal"), "{letters:?}");
    relay.stop().await;
    drop_slot(&db.pool, &name).await;
}

/// As the mode `message` writes it.
async fn emit(db: &PgPool, transactional: bool, room: i64, version: i64) {
    sqlx::query(
        "select pg_logical_emit_message($1, 'roomcast.' || partition_of($2), jsonb_build_object(
            'method', 'publish', 'partition', partition_of($2), 'mode', 'message', 'payload', jsonb_build_object(
                'channel', 'room:' || $2, 'version', $3::bigint, 'version_epoch', 'e', 'data', '{}'::jsonb))::text)",
    )
    .bind(transactional)
    .bind(room)
    .bind(version)
    .execute(db)
    .await
    .unwrap();
}

#[tokio::test]
async fn logical_messages_are_carried_where_that_is_asked_for() {
    let (db, name) = (database().await, slot_name());
    let recorder = Recorder::new();
    let relay = Running::start_beside(wal_config(&db, &name), recorder.clone());
    relay.carrying("wal").await;
    emit(&db.pool, true, 1, 1).await;
    announce(&db.pool, "wal", 2, 1).await;
    recorder.arrived_one("room:2", 1).await;
    assert_eq!(recorder.seen().len(), 1, "not unless it is asked for");
    relay.stop().await;

    let wal = WalConfig { messages: true, ..wal_config(&db, &name).wal.unwrap() };
    let relay = Running::start_beside(RelayConfig { wal: Some(wal), ..wal_config(&db, &name) }, recorder.clone());
    relay.carrying("wal").await;
    emit(&db.pool, true, 1, 1).await;
    emit(&db.pool, false, 1, 2).await; // outside of any transaction
    sqlx::query(
        "select pg_logical_emit_message(true, 'somebody', 'else'), pg_logical_emit_message(true, 'roomcast.1', '{')",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    let mut tx = db.pool.begin().await.unwrap();
    sqlx::query("select pg_logical_emit_message(true, 'roomcast.1', 'rolled back')").execute(&mut *tx).await.unwrap();
    tx.rollback().await.unwrap();
    emit(&db.pool, true, 1, 3).await;
    recorder.arrived_one("room:1", 3).await;
    confirmed(&db.pool, &name, end_of_log(&db.pool).await).await;
    assert_eq!(recorder.in_order()["room:1"], 3);
    let letters = dead_letter::list(&db.pool, 0, 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].source.as_str(), letters[0].payload.as_str()), (1, "wal:message", "{"));
    relay.stop().await;
    drop_slot(&db.pool, &name).await;
}

#[tokio::test]
async fn what_can_only_be_wrong_ends_the_start_with_what_to_do() {
    let db = database().await;
    let ended = async |config: RelayConfig| -> RelayError {
        Running::start_beside(config, Recorder::new()).ended().await.unwrap_err()
    };
    let other = database().await;
    let name = slot_name();
    sqlx::query("select pg_create_logical_replication_slot($1, 'pgoutput')")
        .bind(&name)
        .execute(&other.pool)
        .await
        .unwrap();
    let error = ended(wal_config(&db, &name)).await.to_string();
    assert!(error.contains("slots of one server need different names"), "{error}");
    drop_slot(&db.pool, &name).await;

    let wal = WalConfig { publication: "nowhere".to_owned(), ..WalConfig::default() };
    let error = ended(RelayConfig { wal: Some(wal), ..config(&db) }).await.to_string();
    assert!(error.contains("no publication nowhere: run `roomcast migrate`"), "{error}");
    let error = ended(wal_config(&db, "no; drop")).await.to_string();
    assert!(error.contains("a-z, 0-9 and _"), "{error}");
    let error = ended(RelayConfig { outbox: false, ..config(&db) }).await.to_string();
    assert!(error.contains("needs a source"), "{error}");
}

//! Claims begin behind what was carried, also while somebody's snapshot keeps the dead rows there; and yet every row is
//! carried, however late it commits and whatever was done to its id.

use std::time::Duration;

use embedded_postgres::testkit::TestDatabase;
use relay::Verdict;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::time::sleep;

use crate::{
    recorder::Recorder,
    running::{NEVER, Running, config, database, drained, until, write, write_many},
};

/// Rooms of one partition.
const ROOM: i64 = 1;
const NEIGHBOUR: i64 = 17;

/// Until the relay has looked this often for what is closed.
async fn surveyed(db: &PgPool, times: usize) {
    let mut looks = std::collections::HashSet::new();
    while looks.len() < times {
        let look: Option<Option<String>> = sqlx::query_scalar(
            "select query_start::text from pg_stat_activity
              where datname = current_database() and application_name = 'roomcast relay survey'",
        )
        .fetch_optional(db)
        .await
        .unwrap();
        looks.extend(look.flatten());
        sleep(Duration::from_millis(5)).await;
    }
}

/// Versions 1 to `count` of one room.
async fn write_room(db: &PgPool, room: i64, count: i64) {
    sqlx::query(
        "insert into chat_outbox (method, partition, payload)
         select 'publish', partition_of($1), jsonb_build_object(
            'channel', 'room:' || $1, 'version', n, 'version_epoch', 'e', 'data', '{}'::jsonb)
           from generate_series(1, $2) n",
    )
    .bind(room)
    .bind(count)
    .execute(db)
    .await
    .unwrap();
}

/// More than enough for the floors to move wherever they are going to.
const LOOKS: usize = 12;

/// Somebody who has taken an id and does not commit.
async fn dawdler(db: &TestDatabase, room: i64, version: i64) -> PgConnection {
    let mut dawdler = PgConnection::connect(&db.url).await.unwrap();
    run(&mut dawdler, "begin").await;
    run(
        &mut dawdler,
        &format!(
            "insert into chat_outbox (method, partition, payload) values ('publish', partition_of({room}),
                 jsonb_build_object('channel', 'room:{room}', 'version', {version}, 'version_epoch', 'e', 'data', '{{}}'::jsonb))"
        ),
    )
    .await;
    dawdler
}

async fn run(connection: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await.unwrap();
}

/// A dump, an analyst, a forgotten psql.
async fn snapshot(db: &TestDatabase) -> PgConnection {
    let mut holder = PgConnection::connect(&db.url).await.unwrap();
    run(&mut holder, "begin isolation level repeatable read; select 1").await;
    holder
}

/// Entries of the outbox's index that were read so far.
async fn entries_read(db: &PgPool) -> i64 {
    sleep(Duration::from_millis(1100)).await; // sessions report what they read once a second
    sqlx::query_scalar("select idx_tup_read from pg_stat_user_indexes where indexrelname = 'chat_outbox_pkey'")
        .fetch_one(db)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_a_claim_walks_over_does_not_grow_while_somebody_holds_a_snapshot() {
    const DEAD: i64 = 30_000;
    const ROWS: i64 = 100;
    let db = database().await;
    let recorder = Recorder::new();
    let relay = Running::start(config(&db), recorder.clone()).await;
    let holder = snapshot(&db).await;
    write_many(&db.pool, 100, DEAD).await;
    drained(&db.pool).await;
    surveyed(&db.pool, LOOKS).await;

    let before = entries_read(&db.pool).await;
    for version in 1..=ROWS {
        write(&db.pool, 1000, version).await;
        recorder.arrived_one("room:1000", version.try_into().unwrap()).await;
    }
    let read = entries_read(&db.pool).await - before;
    // The slow look below the floors may walk over all of them, once.
    assert!(read < 2 * DEAD, "{read} entries were read for {ROWS} rows beside {DEAD} dead ones");
    holder.close().await.unwrap();
    relay.stop().await;
}

#[tokio::test]
async fn whoever_takes_over_begins_where_the_floors_were_left() {
    const DEAD: i64 = 30_000;
    let db = database().await;
    let recorder = Recorder::new();
    let relay = Running::start(config(&db), recorder.clone()).await;
    let holder = snapshot(&db).await;
    write_many(&db.pool, 16, DEAD).await;
    drained(&db.pool).await;
    until(async || kept(&db.pool).await == 16).await;
    relay.kill().await;
    until(async || sessions(&db.pool).await == 0).await;

    let before = entries_read(&db.pool).await;
    let relay = Running::start(config(&db), recorder.clone()).await;
    write(&db.pool, ROOM, 1 + DEAD / 16).await;
    recorder.arrived_one("room:1", (1 + DEAD / 16).try_into().unwrap()).await;
    let read = entries_read(&db.pool).await - before;
    assert!(read < DEAD, "{read} entries were read after a takeover");
    holder.close().await.unwrap();
    relay.stop().await;
}

async fn kept(db: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from outbox_floors where floor >= 20000").fetch_one(db).await.unwrap()
}

async fn sessions(db: &PgPool) -> i64 {
    sqlx::query_scalar(
        "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'roomcast relay%'",
    )
    .fetch_one(db)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_row_that_commits_long_after_higher_ids_were_carried_is_carried() {
    let db = database().await;
    let recorder = Recorder::new();
    let relay = Running::start(config(&db), recorder.clone()).await;
    let mut late = dawdler(&db, ROOM, 1).await;
    for version in 1..=50 {
        write(&db.pool, NEIGHBOUR, version).await;
    }
    recorder.arrived(50).await;
    surveyed(&db.pool, LOOKS).await;

    run(&mut late, "commit").await;
    write(&db.pool, ROOM, 2).await;
    recorder.arrived(52).await;
    assert_eq!(recorder.in_order()["room:1"], 2);
    drained(&db.pool).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_row_of_a_transaction_that_is_prepared_and_commits_later_is_carried() {
    let db = database().await;
    let recorder = Recorder::new();
    let relay = Running::start(config(&db), recorder.clone()).await;
    let name = format!("late {}", crate::running::name(&db).await);
    let mut late = dawdler(&db, ROOM, 1).await;
    write(&db.pool, NEIGHBOUR, 1).await;
    surveyed(&db.pool, LOOKS).await; // waits for it by its first name
    run(&mut late, &format!("prepare transaction '{name}'")).await;
    for version in 2..=50 {
        write(&db.pool, NEIGHBOUR, version).await;
    }
    recorder.arrived(50).await;
    surveyed(&db.pool, LOOKS).await;

    run(&mut late, &format!("commit prepared '{name}'")).await;
    write(&db.pool, ROOM, 2).await;
    recorder.arrived(52).await;
    assert_eq!(recorder.in_order()["room:1"], 2);
    drained(&db.pool).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_row_that_waits_for_the_destination_stays_above_its_floor() {
    let db = database().await;
    let recorder = Recorder::new();
    let refused = |channel: &str| channel == "room:1";
    recorder.judge(move |publish| {
        if refused(publish.channel.as_str()) { Verdict::Retry { reason: "full".into() } } else { Verdict::Accepted }
    });
    let relay = Running::start(config(&db), recorder.clone()).await;
    write(&db.pool, ROOM, 1).await;
    for version in 1..=50 {
        write(&db.pool, 2, version).await;
    }
    recorder.arrived(50).await;
    surveyed(&db.pool, LOOKS).await;
    recorder.judge(|_| Verdict::Accepted);
    recorder.arrived_one("room:1", 1).await;
    drained(&db.pool).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_relay_that_starts_beside_a_late_commit_carries_it() {
    let db = database().await;
    let mut late = dawdler(&db, ROOM, 1).await;
    for room in 2..=16 {
        write_room(&db.pool, room, 1700).await; // enough for floors to be kept
    }
    let recorder = Recorder::new();
    let relay = Running::start(config(&db), recorder.clone()).await;
    drained(&db.pool).await;
    surveyed(&db.pool, LOOKS).await;
    relay.kill().await;

    let relay = Running::start(config(&db), recorder.clone()).await;
    surveyed(&db.pool, LOOKS).await;
    let before = recorder.seen().len();
    run(&mut late, "commit").await;
    write(&db.pool, ROOM, 2).await;
    recorder.arrived(before + 2).await;
    assert_eq!(recorder.in_order()["room:1"], 2);
    relay.stop().await;
}

#[tokio::test]
async fn ids_that_were_reset_are_carried() {
    let db = database().await;
    let recorder = Recorder::new();
    let relay = Running::start(config(&db), recorder.clone()).await;
    write_many(&db.pool, 16, 1600).await;
    drained(&db.pool).await;
    surveyed(&db.pool, LOOKS).await;
    sqlx::query("truncate chat_outbox restart identity").execute(&db.pool).await.unwrap();
    write(&db.pool, ROOM, 101).await;
    recorder.arrived_one("room:1", 101).await;
    drained(&db.pool).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_row_with_an_id_of_somebodys_own_making_is_carried() {
    let db = database().await;
    let recorder = Recorder::new();
    let relay = Running::start(relay::RelayConfig { listen: false, ..config(&db) }, recorder.clone()).await;
    write_many(&db.pool, 16, 1600).await;
    drained(&db.pool).await;
    surveyed(&db.pool, LOOKS).await;
    sqlx::query(
        "insert into chat_outbox (id, method, partition, payload) overriding system value values (7, 'publish', 1,
             jsonb_build_object('channel', 'room:1', 'version', 101, 'version_epoch', 'e', 'data', '{}'::jsonb))",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    recorder.arrived_one("room:1", 101).await;
    drained(&db.pool).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_backlog_above_a_batch_drains_whole_behind_its_floors() {
    let db = database().await;
    let recorder = Recorder::new();
    let config = relay::RelayConfig { batch_size: 50, poll_interval: NEVER, ..config(&db) };
    let relay = Running::start(config, recorder.clone()).await;
    for turn in 0..4 {
        relay.handle.pause();
        sqlx::query(
            "insert into chat_outbox (method, partition, payload)
             select 'publish', partition_of(1 + n % 64), jsonb_build_object(
                'channel', 'room:' || (1 + n % 64), 'version', 1 + $1 * 50 + n / 64, 'version_epoch', 'e', 'data', '{}'::jsonb)
               from generate_series(0, 3199) n",
        )
        .bind(turn)
        .execute(&db.pool)
        .await
        .unwrap();
        relay.handle.resume();
        relay.wakeup.wake_all();
        drained(&db.pool).await;
    }
    assert_eq!(recorder.seen().len(), 12_800, "nothing was repeated");
    assert!(recorder.in_order().values().all(|version| *version == 200));
    relay.stop().await;
}

#[tokio::test]
async fn whoever_holds_a_snapshot_for_long_is_named_until_it_is_over() {
    let db = database().await;
    let config = relay::RelayConfig { snapshot_notice: Duration::from_millis(500), ..config(&db) };
    let relay = Running::start(config, Recorder::new()).await;
    let mut holder = snapshot(&db).await;
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut holder).await.unwrap();
    let named =
        |status: &relay::RelayStatus, name: &str| status.notices.iter().any(|notice| notice.notice.contains(name));
    relay.until(|status| named(status, &format!("session {pid} "))).await;
    assert!(relay.handle.status().is_ready());
    run(&mut holder, "commit").await;
    relay.until(|status| !named(status, "session")).await;

    // It holds one as well, and has no session.
    let name = format!("forgotten {}", crate::running::name(&db).await);
    let mut prepared = dawdler(&db, ROOM, 1).await;
    run(&mut prepared, &format!("prepare transaction '{name}'")).await;
    relay.until(|status| named(status, &name)).await;
    run(&mut prepared, &format!("rollback prepared '{name}'")).await;
    relay.until(|status| status.notices.is_empty()).await;
    relay.stop().await;
}

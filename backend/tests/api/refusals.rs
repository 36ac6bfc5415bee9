//! A database that says "not now": each answer is 503 with a code of its own and the time to come back, readiness is honest,
//! and everything goes on by itself afterwards.

use std::time::Duration;

use embedded_postgres::testkit::{self, TestDatabase};
use futures_util::future::join_all;
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::app::{App, Person, Reply};

/// More than the pause between two looks at a database that refuses, on a busy machine.
const SOON: Duration = Duration::from_secs(30);

async fn run(db: &PgPool, sql: &'static str) {
    sqlx::raw_sql(sql).execute(db).await.unwrap();
}

/// Ends the sessions of the backend, as a failover does.
async fn end_sessions(db: &PgPool) {
    run(
        db,
        "select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and application_name = 'roomcast backend'",
    )
    .await;
}

/// A refusal, whole: its code, and when to come back.
fn refused(reply: Reply, code: &str) {
    assert!(reply.headers.contains_key("retry-after"), "{reply:?}");
    reply.expect_problem(503, code);
}

async fn is_ready_again(app: &App) {
    let ready = async {
        while backend::ready(&app.state).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, ready).await.expect("it is ready again");
}

#[tokio::test]
async fn a_database_that_takes_no_writes_says_so_and_is_written_to_as_soon_as_it_does() {
    let app = App::start().await;
    let author = app.person("author").await;
    let (room, other) = (author.create("room").await, author.create("other").await);
    run(&app.db, "do $$ begin execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$").await;
    end_sessions(&app.db).await;

    // Whoever meets a session that has just ended hears that the database is away.
    while author.get("/api/rooms").await.status != 200 {}
    for _ in 0..5 {
        refused(author.say_as(room, "now?", Uuid::new_v4()).await, "database_read_only");
    }
    refused(author.post(&format!("/api/rooms/{other}/leave"), Value::Null).await, "database_read_only");
    author.get("/api/rooms").await.expect(200);
    let reason = backend::ready(&app.state).await.unwrap_err().to_string();
    assert!(reason.contains("read-only"), "{reason}");

    // The sessions that were opened meanwhile would stay read-only for ever.
    run(&app.db, "do $$ begin execute format('alter database %I reset default_transaction_read_only', current_database()); end $$").await;
    is_ready_again(&app).await;
    for _ in 0..8 {
        author.say(room, "now").await;
    }
    app.assert_timelines_are_whole().await;
}

#[tokio::test]
async fn a_server_that_is_killed_is_unavailable_and_served_from_again_when_it_is_back() {
    let mut server = testkit::private_server().await;
    let database = testkit::database_on(&server.url("postgres"), &backend::MIGRATOR).await;
    let app = App::on(database, |_| ()).await;
    let author = app.person("author").await;
    let room = author.create("room").await;
    server.kill().unwrap();
    let answers = join_all((0..8).map(|_| author.say_as(room, "now?", Uuid::new_v4()))).await;
    for answer in answers {
        refused(answer, "database_unavailable");
    }
    refused(author.get("/api/rooms").await, "database_unavailable");
    assert!(backend::ready(&app.state).await.is_err());
    let server = tokio::task::spawn_blocking(move || server.restart().map(|()| server)).await.unwrap().unwrap();
    is_ready_again(&app).await;
    author.say(room, "now").await;
    app.assert_timelines_are_whole().await;
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}

#[tokio::test]
async fn sessions_that_are_ended_are_nobodys_failure() {
    let app = App::start().await;
    let author = app.person("author").await;
    let room = author.create("room").await;
    for _ in 0..5 {
        end_sessions(&app.db).await;
        author.say(room, "all the same").await;
    }
    app.assert_timelines_are_whole().await;
}

#[tokio::test]
async fn a_server_without_a_free_connection_is_busy() {
    let database = testkit::database(&backend::MIGRATOR).await;
    let role = format!("limited_{:016x}", rand::random::<u64>());
    let sql = format!(
        "create role {role} login password 'limited';
         grant all on all tables in schema public to {role};
         grant all on all sequences in schema public to {role};"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&database.pool).await.unwrap();
    let limit = async |connections: i32| {
        let sql = format!("alter role {role} connection limit {connections}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&database.pool).await.unwrap();
    };
    let (_, address) = database.url.split_once('@').unwrap();
    let url = format!("postgres://{role}:limited@{address}");
    let app = App::on(TestDatabase { pool: database.pool.clone(), url }, |_| ()).await;
    let author = app.person("author").await;
    let room = author.create("room").await;
    limit(0).await;
    end_sessions(&app.db).await;
    refused(author.say_as(room, "now?", Uuid::new_v4()).await, "database_busy");
    limit(-1).await;
    author.say(room, "now").await;
}

#[tokio::test]
async fn what_another_transaction_was_in_the_way_of_is_tried_again_inside() {
    let app = App::start().await;
    let (owner, guest) = (app.person("owner").await, app.person("guest").await);
    let room = owner.create("room").await;
    run(
        &app.db,
        "create sequence tries;
         create function clash() returns trigger language plpgsql as $$ begin
             if nextval('tries') % 3 <> 0 then
                 raise exception 'in the way' using errcode = case currval('tries') % 2 when 0 then '40P01' else '40001' end;
             end if;
             return null;
         end $$;
         create trigger clash after insert or delete on members for each row execute function clash();
         create trigger clash after insert on messages for each row when (new.kind = 0) execute function clash();",
    )
    .await;
    guest.join(room).await;
    guest.say(room, "through").await;
    guest.leave(room).await;
    owner.create("another").await;
    app.assert_timelines_are_whole().await;
}

/// Holds the lock of a room, as a migration or a forgotten psql does.
async fn forgotten(db: &PgPool, room: i64) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut tx = db.begin().await.unwrap();
    let conn: &mut PgConnection = &mut tx;
    sqlx::query("select from rooms where id = $1 for update").bind(room).execute(conn).await.unwrap();
    tx
}

#[tokio::test]
async fn a_room_that_somebody_has_locked_holds_up_no_other_room_and_no_readiness() {
    let app = App::start().await; // its pool has four connections
    let owner = app.person("owner").await;
    let (locked, open) = (owner.create("locked").await, owner.create("open").await);
    let guests = app.people(40).await;
    let held = forgotten(&app.db, locked).await;

    let path = format!("/api/rooms/{locked}/join");
    let joins = async { join_all(guests.iter().map(|guest: &Person| guest.post(&path, Value::Null))).await };
    let posts = async { join_all((0..4).map(|_| owner.say_as(locked, "patience", Uuid::new_v4()))).await };
    let others = async {
        app.waiting_for_a_lock(2).await;
        for number in 0..30 {
            let others = async {
                owner.say(open, &format!("nobody waits {number}")).await;
                owner.read(open, number).await;
                owner.get(&format!("/api/rooms/{open}/messages")).await.expect(200);
                backend::ready(&app.state).await.unwrap();
            };
            timeout(Duration::from_secs(1), others).await.expect("other rooms go on");
        }
    };
    let (joins, posts, ()) = tokio::join!(joins, posts, others);
    for reply in joins.into_iter().chain(posts) {
        refused(reply, "room_busy");
    }
    held.rollback().await.unwrap();
    join_all(guests.iter().map(|guest| guest.join(locked))).await;
    owner.say(locked, "at last").await;
    app.assert_timelines_are_whole().await;
}

#[tokio::test]
async fn a_table_that_somebody_has_locked_is_waited_for_but_not_for_ever() {
    let app = App::start().await;
    let author = app.person("author").await;
    let room = author.create("room").await;
    let mut tx = app.db.begin().await.unwrap();
    sqlx::raw_sql("lock table messages in access exclusive mode").execute(&mut *tx).await.unwrap();
    let answers = timeout(SOON, join_all((0..8).map(|_| author.get("/api/rooms")))).await.expect("all are answered");
    let locked = answers.into_iter().filter(|answer| answer.status == 503).count();
    assert_eq!(locked, 8, "nobody waits for ever");
    tx.rollback().await.unwrap();
    is_ready_again(&app).await;
    author.say(room, "now").await;
}

#[tokio::test]
async fn a_disk_that_is_full_is_told_and_written_to_as_soon_as_there_is_room() {
    let Some(disk) = testkit::Disk::mount(200) else { return };
    let server = testkit::private_server_in(&disk.path().join("data")).await;
    let database = testkit::database_on(&server.url("postgres"), &backend::MIGRATOR).await;
    let app = App::on(database, |_| ()).await;
    let author = app.person("author").await;
    let room = author.create("room").await;
    let ballast = disk.fill();

    // Long and not to be compressed: the tables grow with every other message.
    let long =
        || (0..120).map(|_| Uuid::new_v4().to_string()).collect::<String>().chars().take(4000).collect::<String>();
    let refusal = async {
        loop {
            let reply = author.say_as(room, &long(), Uuid::new_v4()).await;
            if reply.status != 201 {
                return reply;
            }
        }
    };
    refused(timeout(SOON, refusal).await.expect("the disk is full some time"), "database_full");
    let reason = backend::ready(&app.state).await.unwrap_err().to_string();
    assert!(reason.contains("No space left"), "{reason}");
    author.get(&format!("/api/rooms/{room}/messages")).await.expect(200);

    std::fs::remove_file(ballast).unwrap();
    is_ready_again(&app).await;
    for _ in 0..20 {
        author.say_as(room, &long(), Uuid::new_v4()).await.expect(201);
    }
    app.assert_timelines_are_whole().await;
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}

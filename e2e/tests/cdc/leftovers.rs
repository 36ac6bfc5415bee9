//! A demo ran with Kafka, runs without it, and with it again: no log is kept for nobody, and nobody misses a line.

use debezium::Kind;
use e2e::{App, Load, OwnServer, Plan, eventually};
use embedded_postgres::{Options, Server, testkit};
use sqlx::{Connection, PgConnection};

use crate::{
    connect::drop_slot,
    stage::{PATIENCE, settled_load, stage},
};

const MESSAGES: usize = 60;
const OF_THE_LOG: &str = "roomcast_wal";

async fn slots(server: &OwnServer) -> anyhow::Result<Vec<String>> {
    let mut db = PgConnection::connect(&server.url()?).await?;
    let names = "select slot_name::text from pg_replication_slots where wal_status <> 'lost' order by slot_name";
    Ok(sqlx::query_scalar(names).fetch_all(&mut db).await?)
}

fn all_slots() -> Vec<&'static str> {
    let mut all: Vec<_> = Kind::ALL.map(Kind::slot_name).into_iter().chain([OF_THE_LOG]).collect();
    all.sort_unstable();
    all
}

/// The mode `cdc` for all, and some messages by each way through a log.
async fn write_by_logs(app: &App, load: &mut Load) -> anyhow::Result<()> {
    app.person("alice").await?.switch_to("cdc").await?;
    load.travels_by(&["cdc", "message", "wal"]);
    load.write(MESSAGES).await?;
    load.check().await
}

async fn mode(server: &OwnServer) -> anyhow::Result<String> {
    let mut db = PgConnection::connect(&server.url()?).await?;
    Ok(sqlx::query_scalar("select value from settings where name = 'broadcast_mode'").fetch_one(&mut db).await?)
}

/// What the server does with slots whose readers are away for too long.
async fn give_up_slots(server: &OwnServer) -> anyhow::Result<()> {
    let settings = vec![("max_slot_wal_keep_size".to_owned(), "1MB".to_owned())];
    let options = Options { settings, ..Options::durable(server.data_dir()) };
    let start = move || anyhow::Ok(Server::start(&testkit::binaries()?, &options)?);
    let started = tokio::task::spawn_blocking(start).await??;
    let mut db = PgConnection::connect(&started.url("roomcast")).await?;
    eventually("all slots are lost", PATIENCE, async || {
        for statement in ["select pg_logical_emit_message(true, 'noise', 'x')", "select pg_switch_wal()", "checkpoint"]
        {
            sqlx::query(statement).execute(&mut db).await?;
        }
        let lost = "select bool_and(wal_status = 'lost') from pg_replication_slots";
        Ok(sqlx::query_scalar(lost).fetch_one(&mut db).await?)
    })
    .await?;
    db.close().await?;
    Ok(tokio::task::spawn_blocking(move || started.stop()).await?)
}

#[tokio::test]
async fn a_demo_without_kafka_keeps_no_log_for_it_and_a_later_one_with_it_begins_anew() -> anyhow::Result<()> {
    let _alone = stage().await?; // there is room for few JVMs
    let server = OwnServer::new()?;
    let plain = Plan::with_own_server(&server);
    let mut with_kafka = plain.clone();
    with_kafka.relay_args.push("--cdc".to_owned());

    let app = with_kafka.clone().start().await?;
    let mut load = settled_load(&app, 4).await?;
    write_by_logs(&app, &mut load).await?;
    assert_eq!(slots(&server).await?, all_slots());
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");

    let app = plain.start().await?;
    assert_eq!(slots(&server).await?, [OF_THE_LOG]);
    assert_eq!(mode(&server).await?, "outbox", "nobody carries what mode cdc would write");
    load.travels_by(&[]);
    load.write(MESSAGES).await?;
    load.check().await?;
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");

    let app = with_kafka.clone().start().await?;
    write_by_logs(&app, &mut load).await?;
    assert_eq!(slots(&server).await?, all_slots());
    let mut db = PgConnection::connect(&server.url()?).await?;
    eventually("the slot is gone", PATIENCE, async || drop_slot(&mut db, Kind::Rows.slot_name()).await).await?;
    let mended = async || Ok(slots(&server).await? == all_slots());
    eventually("the running demo makes it anew", PATIENCE, mended).await?;
    write_by_logs(&app, &mut load).await?;
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");

    give_up_slots(&server).await?;
    let app = with_kafka.start().await?;
    write_by_logs(&app, &mut load).await?;
    assert_eq!(slots(&server).await?, all_slots(), "as good as new");
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

//! What was said stays said: a name in a message is the name at the commit, however late the message is read.

use e2e::{Person, Shape, TestClient};
use sqlx::PgConnection;

use crate::stage::{PATIENCE, stage};

/// Nobody renames anybody in the product yet; the database can.
async fn rename(db: &mut PgConnection, user: i64, name: &str, room: i64, room_name: &str) -> sqlx::Result<()> {
    sqlx::query("update users set name = $2 where id = $1").bind(user).bind(name).execute(&mut *db).await?;
    sqlx::query("update rooms set name = $2 where id = $1").bind(room).bind(room_name).execute(db).await?;
    Ok(())
}

/// Who takes only the ids from an event and asks for the names when reading it.
async fn joined_at_read_time(db: &mut PgConnection, user: i64, room: i64) -> sqlx::Result<(String, String)> {
    sqlx::query_as("select u.name, r.name from users u, rooms r where u.id = $1 and r.id = $2")
        .bind(user)
        .bind(room)
        .fetch_one(db)
        .await
}

#[tokio::test]
async fn a_message_keeps_the_names_of_its_commit_where_a_join_at_read_time_shows_later_ones() -> anyhow::Result<()> {
    let stage = stage().await?;
    let app = stage.plan(Shape::OneProcess).start().await?;
    let author = Person::register(&app.http(), &format!("blue_{}", std::process::id()), "Blue-Black").await?;
    let room = author.create_room("The dress").await?;
    let channel = format!("room:{room}");
    let mut client = TestClient::connect(&author, &app.websocket()).await?;
    client.caught_up(&channel, 1, PATIENCE).await?;

    let ways = ["cdc", "message", "wal", "outbox"];
    let mut db = stage.database().await?;
    stage.stack.stop_connect().await; // so that something is under way for as long as we like
    for way in ways {
        author.say_by(Some(way), room, "what colour is it?").await?;
    }
    rename(&mut db, author.id, "White-Gold", room, "The other dress").await?;
    author.say_by(Some("cdc"), room, "and now?").await?;
    stage.stack.start_connect().await?;
    client.caught_up(&channel, 6, PATIENCE).await?;

    let journal = client.journal(&channel);
    assert_eq!(journal.faults, Vec::<String>::new());
    let now = joined_at_read_time(&mut db, author.id, room).await?;
    for line in &journal.lines[..ways.len()] {
        let then = (line.author.name.clone(), line.room_name.clone());
        assert_eq!(then, ("Blue-Black".to_owned(), "The dress".to_owned()), "{}", line.mode);
        assert_ne!(then, now, "a join at read time tells what nobody had said");
    }
    let last = &journal.lines[ways.len()];
    assert_eq!((last.author.name.clone(), last.room_name.clone()), now, "from the commit on it is the new name");
    assert_eq!(author.timeline(room).await?[1..], journal.lines[..], "the timeline says the same as the way did");
    assert!(app.stop().await?, "everything stops cleanly on Ctrl-C");
    Ok(())
}

//! The write path under fifty writers at once.

use std::{collections::BTreeSet, sync::Arc};

use backend::{MessageText, NewPost, Outcome, PostError, Poster, PosterLimits};
use embedded_postgres::testkit::TestDatabase;
use futures_util::{
    future::{join_all, try_join_all},
    poll,
};
use protocol::{ClientMessageId, RoomId, UserId};
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::app::{App, Person, Wakeups};

const WRITERS: usize = 50;

/// A room with fifty members: 1 line for its creation, 49 for those who joined.
async fn crowd(app: &App) -> (i64, Vec<Person>) {
    let people = app.people(WRITERS).await;
    let room = people[0].create("crowd").await;
    for person in &people[1..] {
        person.join(room).await;
    }
    (room, people)
}

fn a_post(room: i64, author: UserId, text: &str) -> NewPost {
    NewPost {
        room: RoomId(room),
        author,
        text: MessageText::parse(text).unwrap(),
        client_id: ClientMessageId(Uuid::new_v4()),
        mode: None,
    }
}

/// Holds a room's lock until it is committed or dropped.
async fn hold(db: &PgPool, room: i64) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut tx = db.begin().await.unwrap();
    let conn: &mut PgConnection = &mut tx;
    sqlx::query("select from rooms where id = $1 for no key update").bind(room).execute(conn).await.unwrap();
    tx
}

#[tokio::test]
async fn fifty_writers_leave_no_gap_and_the_outbox_has_the_order_of_the_versions() {
    let app = App::start().await;
    let (room, people) = crowd(&app).await;
    let each = 10;
    let versions = join_all(people.iter().map(|person| async move {
        let mut versions = Vec::new();
        for number in 0..each {
            let message = person.say(room, &format!("message {number}")).await;
            versions.push(message["version"].as_i64().unwrap());
        }
        assert!(versions.is_sorted(), "an author's own messages keep their order");
        versions
    }))
    .await;

    let versions: BTreeSet<i64> = versions.into_iter().flatten().collect();
    let first = i64::try_from(WRITERS).unwrap() + 1;
    let last = first + i64::try_from(WRITERS * each).unwrap() - 1;
    assert_eq!(
        versions,
        (first..=last).collect::<BTreeSet<_>>(),
        "each answer has a version of its own, without a gap"
    );
    assert_eq!(people[0].room(room).await["version"], last);
    app.assert_timelines_are_whole().await;
    let rising: bool = sqlx::query_scalar(
        "select bool_and(created_at >= before) from
            (select created_at, lag(created_at, 1, created_at) over (order by version) as before from messages) m",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert!(rising, "times follow versions");
    assert!(app.wakeups.count() > WRITERS, "the relay hears of commits");
}

#[tokio::test]
async fn a_repeat_of_a_client_id_makes_no_second_row_and_no_hole() {
    let app = App::start().await;
    let (room, people) = crowd(&app).await;
    let author = &people[7];
    let before = app.count("messages").await;
    for _ in 0..5 {
        let client_id = Uuid::new_v4();
        // Half of them name another text: what was written first is the answer.
        let replies = join_all(
            (0..WRITERS)
                .map(|number| async move { author.say_as(room, ["once", "twice"][number % 2], client_id).await }),
        )
        .await;
        let new = replies.iter().filter(|reply| reply.status == 201).count();
        let repeats = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!((new, repeats), (1, WRITERS - 1));
        assert!(replies.iter().all(|reply| reply.body == replies[0].body), "all hear the same answer");
        assert!(replies.iter().all(|reply| reply.headers.contains_key("roomcast-committed-at")));
    }
    assert_eq!(app.count("messages").await, before + 5);
    app.assert_timelines_are_whole().await;

    // The same client_id of another author, or in another room, is another message.
    let client_id = Uuid::new_v4();
    let other_room = author.create("another").await;
    author.say_as(room, "mine", client_id).await.expect(201);
    people[8].say_as(room, "also mine", client_id).await.expect(201);
    author.say_as(other_room, "elsewhere", client_id).await.expect(201);
}

#[tokio::test]
async fn a_member_who_was_removed_while_the_post_waited_is_refused() {
    let app = App::start().await;
    let (room, people) = crowd(&app).await;
    let before = (app.count("messages").await, app.count("chat_outbox").await);

    // Fifty posts; those of one backend wait for each other, those of four wait for the room.
    let mut removal = hold(&app.db, room).await;
    let posts: Vec<_> = (0..4)
        .map(|number| {
            let poster = Poster::new(app.state.db.clone(), Arc::new(Wakeups::default()), PosterLimits::default());
            let author = people[number].id;
            tokio::spawn(async move {
                let posts = (0..13).map(|_| poster.post(a_post(room, author, "am I still here?")));
                try_join_all(posts).await.unwrap()
            })
        })
        .collect();
    app.waiting_for_a_lock(4).await;
    sqlx::query("delete from members where room_id = $1").bind(room).execute(&mut *removal).await.unwrap();
    sqlx::query("update rooms set member_count = 0 where id = $1").bind(room).execute(&mut *removal).await.unwrap();
    removal.commit().await.unwrap();

    for post in posts {
        for outcome in post.await.unwrap() {
            assert!(matches!(outcome, Outcome::Denied), "{outcome:?}");
        }
    }
    assert_eq!((app.count("messages").await, app.count("chat_outbox").await), before, "the refused leave no trace");
    people[0].say_as(room, "and now?", Uuid::new_v4()).await.expect_problem(403, "not_member");
    app.assert_timelines_are_whole().await;
}

#[tokio::test]
async fn one_bad_message_never_fails_its_neighbours() {
    let app = App::start().await;
    let (room, people) = crowd(&app).await;
    // A reason that nobody foresaw: the database refuses a text that the API finds good.
    for statement in [
        "create function refuse() returns trigger language plpgsql as
            $$ begin raise exception 'not this one' using errcode = '23514'; end $$",
        "create trigger refuse before insert on messages for each row when (new.text = 'poison') execute function refuse()",
    ] {
        sqlx::query(statement).execute(&app.db).await.unwrap();
    }

    // All of them wait while the first is in flight, so that they are one batch.
    let held = hold(&app.db, room).await;
    let mut posts: Vec<_> = people
        .iter()
        .enumerate()
        .map(|(number, person)| {
            let text = if number % 10 == 5 { "poison" } else { "food" };
            Box::pin(app.state.poster.post(a_post(room, person.id, text)))
        })
        .collect();
    for post in &mut posts {
        assert!(poll!(post).is_pending());
    }
    held.commit().await.unwrap();
    let answers = join_all(posts).await;

    for (number, answer) in answers.iter().enumerate() {
        if number % 10 == 5 {
            assert!(matches!(answer, Err(PostError::Failed(_))), "{answer:?}");
        } else {
            assert!(matches!(answer, Ok(Outcome::New(_))), "{answer:?}");
        }
    }
    app.assert_timelines_are_whole().await;
    people[0].say_as(room, "poison", Uuid::new_v4()).await.expect_problem(500, "internal");
    people[0].say(room, "food").await;
}

/// Rooms with one author, and a poster with one writer: what arrives while that writes is one transaction.
async fn rooms_and_one_writer(app: &App, count: usize) -> (Vec<i64>, Person, Poster) {
    let author = app.person("author").await;
    let mut rooms = Vec::new();
    for number in 0..count {
        rooms.push(author.create(&format!("room {number}")).await);
    }
    let limits = PosterLimits { writers: 1, ..PosterLimits::default() };
    (rooms, author, Poster::new(app.state.db.clone(), Arc::new(Wakeups::default()), limits))
}

#[tokio::test]
async fn what_waits_for_several_rooms_shares_a_transaction() {
    let app = App::start().await;
    let (rooms, author, poster) = rooms_and_one_writer(&app, 12).await;
    let mut posts: Vec<_> =
        rooms.iter().map(|&room| Box::pin(poster.post(a_post(room, author.id, "together")))).collect();
    for post in &mut posts {
        assert!(poll!(post).is_pending());
    }
    for answer in join_all(posts).await {
        assert!(matches!(answer, Ok(Outcome::New(_))), "{answer:?}");
    }
    let transactions: i64 =
        sqlx::query_scalar("select count(distinct xmin::text) from messages where text = 'together'")
            .fetch_one(&app.db)
            .await
            .unwrap();
    assert_eq!(transactions, 2, "the first at once, all others by the next");
    app.assert_timelines_are_whole().await;
}

#[tokio::test]
async fn a_room_that_somebody_has_locked_holds_up_no_other_of_its_transaction() {
    let app = App::start().await;
    let (rooms, author, poster) = rooms_and_one_writer(&app, 6).await;
    let (locked, open) = rooms.split_first().unwrap();
    let held = hold(&app.db, *locked).await;
    let mut waiting = Box::pin(poster.post(a_post(*locked, author.id, "patience")));
    for _ in 0..3 {
        let mut posts: Vec<_> =
            open.iter().map(|&room| Box::pin(poster.post(a_post(room, author.id, "now")))).collect();
        assert!(poll!(&mut waiting).is_pending());
        for post in &mut posts {
            assert!(poll!(post).is_pending());
        }
        for answer in join_all(posts).await {
            assert!(matches!(answer, Ok(Outcome::New(_))), "{answer:?}");
        }
    }
    assert!(poll!(&mut waiting).is_pending());
    held.commit().await.unwrap();
    let answer = waiting.await;
    assert!(matches!(answer, Ok(Outcome::New(_))), "{answer:?}");
    app.assert_timelines_are_whole().await;
}

#[tokio::test]
async fn a_bad_message_fails_no_other_room_of_its_transaction() {
    let app = App::start().await;
    let (rooms, author, poster) = rooms_and_one_writer(&app, 8).await;
    sqlx::query("alter table messages add constraint unforeseen check (text <> 'poison')")
        .execute(&app.db)
        .await
        .unwrap();
    let texts =
        |number: usize| if number % 3 == 1 { ["food", "poison", "more food"] } else { ["food", "bread", "salt"] };
    let mut posts = Vec::new();
    for (number, &room) in rooms.iter().enumerate() {
        for text in texts(number) {
            posts.push((text, Box::pin(poster.post(a_post(room, author.id, text)))));
        }
    }
    for (_, post) in &mut posts {
        assert!(poll!(post).is_pending());
    }
    let (texts, posts): (Vec<_>, Vec<_>) = posts.into_iter().unzip();
    for (text, answer) in texts.into_iter().zip(join_all(posts).await) {
        match text {
            "poison" => assert!(matches!(answer, Err(PostError::Failed(_))), "{answer:?}"),
            _ => assert!(matches!(answer, Ok(Outcome::New(_))), "{text}: {answer:?}"),
        }
    }
    app.assert_timelines_are_whole().await;
}

#[tokio::test]
async fn a_post_makes_no_new_version_of_the_rows_that_a_held_snapshot_would_keep() {
    let app = App::start().await;
    let (room, people) = crowd(&app).await;
    let place = || async {
        let place: String = sqlx::query_scalar("select ctid::text from rooms where id = $1")
            .bind(room)
            .fetch_one(&app.db)
            .await
            .unwrap();
        place
    };
    let before = place().await;
    for person in &people {
        person.say(room, "hello").await;
    }
    assert_eq!(place().await, before, "the row of the room was written anew");
    assert_eq!(people[0].room(room).await["texts"], WRITERS);
}

#[tokio::test]
async fn posts_for_many_rooms_never_deadlock_with_joins_renames_and_switches() {
    let app = App::start().await;
    let people = app.people(8).await;
    let mut rooms = Vec::new();
    for number in 0..6 {
        rooms.push(people[0].create(&format!("room {number}")).await);
    }
    for person in &people[1..4] {
        join_all(rooms.iter().map(|&room| person.join(room))).await;
    }
    let limits = PosterLimits { writers: 2, ..PosterLimits::default() };
    let posters: Vec<_> =
        (0..2).map(|_| Poster::new(app.state.db.clone(), Arc::new(Wakeups::default()), limits)).collect();
    let posting = join_all((0..32_usize).map(|writer| {
        let (poster, author, rooms) = (&posters[writer % 2], people[writer % 4].id, &rooms);
        async move {
            for number in 0..12 {
                let outcome = poster.post(a_post(rooms[(writer + number) % rooms.len()], author, "hello")).await;
                assert!(matches!(outcome, Ok(Outcome::New(_))), "{outcome:?}");
            }
        }
    }));
    let moving = join_all(people[4..].iter().map(|person| {
        let rooms = &rooms;
        async move {
            for &room in rooms {
                person.join(room).await;
                person.leave(room).await;
            }
        }
    }));
    let switching = async {
        for (number, mode) in ["wal", "outbox", "api", "cdc", "outbox"].into_iter().enumerate() {
            sqlx::query("select set_broadcast_mode($1)").bind(mode).execute(&app.db).await.unwrap();
            sqlx::query("update rooms set name = name || $1").bind(number.to_string()).execute(&app.db).await.unwrap();
        }
    };
    tokio::join!(posting, moving, switching);

    let (gaps, deadlocks): (i64, i64) = sqlx::query_as(
        "select (select count(*) from room_heads r where version <> (select count(*) from messages where room_id = r.id)),
                (select deadlocks from pg_stat_database where datname = current_database())",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!((gaps, deadlocks), (0, 0));
}

#[tokio::test]
async fn what_arrived_during_a_write_is_written_by_the_next_in_the_order_of_arrival() {
    let app = App::start().await;
    let author = app.person("author").await;
    let room = author.create("hot").await;
    let held = hold(&app.db, room).await;
    let mut posts: Vec<_> =
        (0..100).map(|number| Box::pin(app.state.poster.post(a_post(room, author.id, &number.to_string())))).collect();
    for post in &mut posts {
        assert!(poll!(post).is_pending());
    }
    let wakeups = app.wakeups.count();
    held.commit().await.unwrap();
    for (number, answer) in join_all(posts).await.into_iter().enumerate() {
        let Ok(Outcome::New(posted)) = answer else { panic!("{answer:?}") };
        assert_eq!(posted.message.text, number.to_string());
        assert_eq!(posted.message.version.0, 2 + number as u64);
    }
    assert_eq!(app.wakeups.count(), wakeups + 2, "one transaction for the first, one for all the others");
}

#[tokio::test]
async fn two_backends_over_the_same_rooms_neither_deadlock_nor_leave_gaps() {
    let app = App::start().await;
    let database = TestDatabase { pool: app.db.clone(), url: app.database_url.clone() };
    let other = App::on(database, |_| ()).await;
    let people = app.people(WRITERS).await;
    let mut rooms = Vec::new();
    for number in 0..8 {
        rooms.push(people[0].create(&format!("room {number}")).await);
    }
    // Who joins and leaves takes the same locks.
    join_all(people.iter().enumerate().map(|(number, person)| {
        let person = if number % 2 == 0 { person.clone() } else { other.seat(person) };
        let rooms = &rooms;
        async move {
            for (turn, &room) in rooms.iter().cycle().skip(number).take(8).enumerate() {
                person.join(room).await;
                person.say(room, "hello").await;
                let version = person.say(room, "and again").await["version"].as_i64().unwrap();
                person.read(room, version).await;
                if turn % 3 == 0 && number != 0 {
                    person.leave(room).await;
                }
            }
        }
    }))
    .await;
    app.assert_timelines_are_whole().await;
    let deadlocks: i64 =
        sqlx::query_scalar("select deadlocks from pg_stat_database where datname = current_database()")
            .fetch_one(&app.db)
            .await
            .unwrap();
    assert_eq!(deadlocks, 0);
}

#[tokio::test]
async fn a_full_queue_is_told_with_the_time_to_come_back() {
    let app = App::with(|config| config.poster = PosterLimits { room: 2, total: 4, ..PosterLimits::default() }).await;
    let author = app.person("author").await;
    let (busy, quiet) = (author.create("busy").await, author.create("quiet").await);
    let held = hold(&app.db, busy).await;
    let mut posts: Vec<_> =
        (0..3).map(|_| Box::pin(app.state.poster.post(a_post(busy, author.id, "patience")))).collect();
    for post in &mut posts {
        assert!(poll!(post).is_pending());
    }

    let reply = author.say_as(busy, "one too many", Uuid::new_v4()).await;
    assert_eq!(reply.headers["retry-after"], "1");
    reply.expect_problem(503, "busy");
    author.say(quiet, "another room has its own queue").await;
    held.commit().await.unwrap();
    join_all(posts).await;
    author.say(busy, "room again").await;
    app.assert_timelines_are_whole().await;
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_nothing_and_a_stop_waits_for_the_write() {
    let app = App::start().await;
    let author = app.person("author").await;
    let room = author.create("room").await;
    let held = hold(&app.db, room).await;
    let request = {
        let author = author.clone();
        tokio::spawn(async move { author.say_as(room, "sent", Uuid::new_v4()).await })
    };
    app.waiting_for_a_lock(1).await;
    let mut second = Box::pin(app.state.poster.post(a_post(room, author.id, "queued")));
    assert!(poll!(&mut second).is_pending());
    request.abort();
    drop(second);

    let mut stop = Box::pin(app.state.stop());
    assert!(poll!(&mut stop).is_pending(), "accepted messages are waited for");
    author.say_as(room, "too late", Uuid::new_v4()).await.expect_problem(503, "stopping");
    held.commit().await.unwrap();
    stop.await;
    let texts: Vec<String> = sqlx::query_scalar("select text from messages where kind = 0 order by version")
        .fetch_all(&app.db)
        .await
        .unwrap();
    assert_eq!(texts, ["sent", "queued"]);
}

#[tokio::test]
async fn connections_that_died_fail_no_message() {
    let app = App::start().await;
    let author = app.person("author").await;
    let room = author.create("room").await;
    for round in 0..3 {
        join_all((0..WRITERS).map(|number| author.say(room, ["a", "b"][number % 2]))).await;
        sqlx::query(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity
              where datname = current_database() and application_name = 'roomcast backend'",
        )
        .execute(&app.db)
        .await
        .unwrap();
        // Through the poster, as the session is remembered for as long as this takes.
        let outcome = app.state.poster.post(a_post(room, author.id, &format!("after round {round}"))).await;
        assert!(matches!(outcome, Ok(Outcome::New(_))), "{outcome:?}");
    }
    app.assert_timelines_are_whole().await;
}

#[tokio::test]
async fn texts_are_trimmed_and_limited_before_they_are_queued() {
    let app = App::start().await;
    let author = app.person("author").await;
    let room = author.create("room").await;
    assert_eq!(author.say(room, "\r\n  two\r\nlines \n").await["text"], "  two\nlines");
    assert_eq!(author.say(room, &"😀".repeat(4000)).await["text"].as_str().unwrap().chars().count(), 4000);
    for text in [" \n ".to_owned(), "a\0b".to_owned(), "x".repeat(4001)] {
        let problem = author.say_as(room, &text, Uuid::new_v4()).await.expect_problem(422, "invalid");
        assert_eq!(problem["errors"][0]["field"], "text");
    }
    let problem = author.post(&format!("/api/rooms/{room}/messages"), json!({})).await.expect_problem(422, "invalid");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2, "all that is wrong is said at once");
    assert_eq!(author.room(room).await["version"], 3);
}

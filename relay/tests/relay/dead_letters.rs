//! Rows that can never pass are put aside with their reason; people read them, put them back or throw them away.

use relay::{
    Verdict,
    dead_letter::{self, DeadLetter, DeadLetterError, Selection},
};
use sqlx::PgPool;

use crate::{
    recorder::Recorder,
    running::{Running, config, database, drained, letters, waiting, write, write_raw},
};

async fn all(db: &PgPool) -> Vec<DeadLetter> {
    dead_letter::list(db, 0, 100).await.unwrap()
}

#[tokio::test]
async fn rows_that_can_never_pass_are_put_aside_with_their_reason_and_the_rest_goes_on() {
    let db = database().await;
    let recorder = Recorder::new();
    write(&db.pool, 1, 1).await;
    write_raw(&db.pool, "shout", 1, "{}").await;
    write_raw(&db.pool, "publish", 1, r#"{"data": 1}"#).await;
    write_raw(&db.pool, "publish", 1, r#"{"channel": "room:1", "data": 1, "version": "two"}"#).await;
    write_raw(&db.pool, "publish", 1, "null").await;
    write(&db.pool, 1, 2).await;
    let relay = Running::start(config(&db), recorder.clone()).await;
    recorder.arrived(2).await;
    drained(&db.pool).await;

    assert_eq!(recorder.in_order()["room:1"], 2);
    let letters = all(&db.pool).await;
    let reasons: Vec<_> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert!(reasons[0].starts_with("unknown method \"shout\""), "{reasons:?}");
    assert!(reasons[1].contains("missing field `channel`"), "{reasons:?}");
    assert!(reasons[2].contains("invalid type: string \"two\""), "{reasons:?}");
    assert!(reasons[3].contains("the payload is not a publish request"), "{reasons:?}");
    assert!(letters.iter().all(|letter| letter.attempts == 1 && letter.source == "outbox"));
    assert_eq!(letters[1].payload, r#"{"data": 1}"#);
    relay.stop().await;
}

#[tokio::test]
async fn a_row_of_no_known_partition_is_put_aside() {
    let db = database().await;
    let relay = Running::start(config(&db), Recorder::new()).await;
    for partition in [-1, 16, i16::MAX] {
        write_raw(&db.pool, "publish", partition, r#"{"channel": "room:1", "data": 1}"#).await;
    }
    drained(&db.pool).await;
    let letters = all(&db.pool).await;
    let mut partitions: Vec<_> = letters.iter().map(|letter| letter.partition.0).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [-1, 16, i16::MAX]);
    assert!(letters[0].reason.contains("does not exist: there are 0 to 15"), "{}", letters[0].reason);
    assert_eq!(letters[0].attempts, 0, "nobody ever tried it");
    relay.stop().await;
}

#[tokio::test]
async fn a_rejected_row_tells_how_often_it_was_tried_and_can_be_replayed_once_the_reason_is_gone() {
    let db = database().await;
    let recorder = Recorder::new();
    let mut answers = [
        Verdict::Retry { reason: "full".into() },
        Verdict::Retry { reason: "full".into() },
        Verdict::Rejected { code: 102, reason: "unknown channel\0".into() },
    ]
    .into_iter();
    recorder.judge(move |_| answers.next().unwrap_or(Verdict::Accepted));
    let relay = Running::start(config(&db), recorder.clone()).await;
    write(&db.pool, 1, 1).await;
    drained(&db.pool).await;

    let letter = all(&db.pool).await.remove(0);
    assert_eq!((letter.reason.as_str(), letter.attempts), ("rejected: unknown channel\u{fffd} (code 102)", 3));
    assert_eq!(dead_letter::show(&db.pool, letter.id).await.unwrap().payload, letter.payload);

    let replayed = dead_letter::replay(&db.pool, Selection::One(letter.id)).await.unwrap();
    assert_eq!(replayed.rows, 1);
    recorder.arrived_one("room:1", 1).await;
    assert_eq!(letters(&db.pool).await, 0);
    relay.stop().await;
}

/// A letter of a source whose payloads need not be JSON.
async fn put_aside(db: &PgPool, source_id: i64, partition: i16, payload: &str) {
    sqlx::query(
        "insert into dead_letters (source, source_id, method, payload, partition, reason, attempts, created_at)
         values ('outbox', $1, 'publish', $3, $2, 'for a test', 1, now())",
    )
    .bind(source_id)
    .bind(partition)
    .bind(payload)
    .execute(db)
    .await
    .unwrap();
}

#[tokio::test]
async fn a_replay_finds_a_partition_for_every_letter_and_keeps_what_is_not_json() {
    let db = database().await;
    for (source_id, partition) in (1..).zip([-1, 3, 16, i16::MAX, i16::MIN]) {
        put_aside(&db.pool, source_id, partition, r#"{"channel": "room:1", "data": 1}"#).await;
    }
    put_aside(&db.pool, 6, 0, "{oops").await;
    let replayed = dead_letter::replay(&db.pool, Selection::All).await.unwrap();
    assert_eq!((replayed.rows, letters(&db.pool).await), (5, 1));
    assert!(matches!(replayed.refused[..], [DeadLetterError::NotJson { .. }]), "{:?}", replayed.refused);
    let partitions: Vec<i16> =
        sqlx::query_scalar("select partition from chat_outbox order by id").fetch_all(&db.pool).await.unwrap();
    assert_eq!(partitions, [15, 3, 0, 15, 0]);
}

#[tokio::test]
async fn letters_are_discarded_one_by_one_or_all_and_missing_ones_are_named() {
    let db = database().await;
    for source_id in 1..=3 {
        put_aside(&db.pool, source_id, 0, "{}").await;
    }
    let first = all(&db.pool).await[0].id;
    assert_eq!(dead_letter::discard(&db.pool, Selection::One(first)).await.unwrap(), 1);
    for missing in [
        dead_letter::discard(&db.pool, Selection::One(first)).await.map(|_| ()),
        dead_letter::show(&db.pool, first).await.map(|_| ()),
        dead_letter::replay(&db.pool, Selection::One(first)).await.map(|_| ()),
    ] {
        assert_eq!(missing.unwrap_err().to_string(), format!("there is no dead letter {first}"));
    }
    assert_eq!(all(&db.pool).await.len(), 2);
    assert_eq!(dead_letter::discard(&db.pool, Selection::All).await.unwrap(), 2);
    assert_eq!((letters(&db.pool).await, waiting(&db.pool).await), (0, 0));
}

//! A destination that fails: nothing is lost, nothing is put aside, order is kept.

use std::{collections::HashMap, time::Duration};

use relay::{RelayConfig, Verdict};

use crate::{
    recorder::Recorder,
    running::{Running, config, database, drained, letters, waiting, write, write_many},
};

#[tokio::test]
async fn a_destination_that_is_down_for_a_while_gets_everything_afterwards() {
    let db = database().await;
    let recorder = Recorder::new();
    recorder.down(true);
    let relay = Running::start(config(&db), recorder.clone()).await;
    write_many(&db.pool, 32, 640).await;
    recorder.asked(20).await; // ten times what it takes to reach the longest pause
    assert_eq!((waiting(&db.pool).await, letters(&db.pool).await), (640, 0));
    let status = relay.handle.status();
    assert_eq!(status.last_error.as_deref(), Some("the destination failed: connection refused"));

    recorder.down(false);
    recorder.arrived(640).await;
    drained(&db.pool).await;
    assert_eq!((recorder.seen().len(), letters(&db.pool).await), (640, 0));
    assert!(recorder.in_order().values().all(|version| *version == 20));
    relay.until(|status| status.last_error.is_none()).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_refused_row_holds_its_partition_in_order_and_no_other() {
    let db = database().await;
    let recorder = Recorder::new();
    let mut refusals = 5;
    recorder.judge(move |publish| {
        let refused = publish.channel.as_str() == "room:1" && publish.version.is_some_and(|v| v.0 == 3) && refusals > 0;
        refusals -= i32::from(refused);
        if refused { Verdict::Retry { reason: "shard is behind".into() } } else { Verdict::Accepted }
    });
    for version in 1..=6 {
        write(&db.pool, 1, version).await;
        write(&db.pool, 2, version).await;
    }
    let relay = Running::start(config(&db), recorder.clone()).await;
    drained(&db.pool).await;

    let seen = recorder.seen();
    let of = |room: &str| seen.iter().filter(|(c, _)| c == room).map(|(_, v)| *v).collect::<Vec<_>>();
    // While 3 is refused the destination takes 4 to 6 each time, and they come again each time: the last time in order.
    let mut expected = vec![1, 2];
    expected.extend((0..5).flat_map(|_| [4, 5, 6]));
    expected.extend([3, 4, 5, 6]);
    assert_eq!(of("room:1"), expected);
    assert_eq!(of("room:2"), [1, 2, 3, 4, 5, 6], "the other partition did not wait or repeat");
    assert_eq!(letters(&db.pool).await, 0);
    relay.stop().await;
}

#[tokio::test]
async fn a_crash_between_publish_and_delete_only_repeats() {
    let db = database().await;
    let recorder = Recorder::new();
    recorder.shut_behind();
    write_many(&db.pool, 1, 5).await;
    let relay = Running::start_beside(config(&db), recorder.clone());
    recorder.entered().await;
    relay.kill().await;
    assert_eq!((recorder.seen().len(), waiting(&db.pool).await), (5, 5));

    recorder.open();
    let relay = Running::start_beside(config(&db), recorder.clone());
    drained(&db.pool).await;
    assert_eq!(recorder.seen().len(), 10, "each row came twice");
    assert_eq!(recorder.in_order(), HashMap::from([("room:1".to_owned(), 5)]));
    relay.stop().await;
}

#[tokio::test]
async fn a_destination_that_never_answers_counts_as_down() {
    let db = database().await;
    let recorder = Recorder::new();
    recorder.shut_behind();
    let config = RelayConfig { deliver_timeout: Duration::from_millis(20), ..config(&db) };
    let relay = Running::start(config, recorder.clone()).await;
    write(&db.pool, 1, 1).await;
    recorder.asked(3).await;
    assert_eq!((waiting(&db.pool).await, letters(&db.pool).await), (1, 0));
    recorder.open();
    drained(&db.pool).await;
    relay.stop().await;
}

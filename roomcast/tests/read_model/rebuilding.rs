//! The topic again from the beginning, over what is there and after it was emptied, beside a consumer that runs.

use std::sync::Arc;

use backend::read_model;
use relay::events::{Position, positions, replay};
use roomcast::adapters::RoomList;
use tokio::select;

use crate::{chat::Chat, running::Running, stack::until};

#[tokio::test]
async fn the_topic_again_from_the_beginning_changes_nothing() {
    let chat = Chat::start("again").await;
    let config = chat.config().await;
    let consumer = Running::start(config.clone(), chat.db());
    chat.say(40).await;
    chat.is_true().await;
    // Read positions and subscriptions come after the last lines, perhaps.
    until(async || positions(&config.kafka).await.unwrap().iter().map(Position::lag).sum::<i64>() == 0).await;
    let (rows, events) = (chat.rows().await, chat.count("inbox_events").await);
    assert_eq!((rows.len(), events), (5, chat.count("messages").await), "every line went through the topic");

    let sink = || Arc::new(RoomList(chat.db().clone()));
    let total = chat.count("chat_cdc").await;
    let replayed = replay(&config, sink(), |_| ()).await.unwrap();
    // More, if Connect moved the connector meanwhile: it repeats what it has not noted.
    assert!(replayed.records >= u64::try_from(total).unwrap() && replayed.dead_letters == 0, "{replayed:?}");
    assert_eq!((chat.rows().await, chat.count("inbox_events").await), (rows.clone(), events));

    // As after the retention of the ids: versions guard alone.
    read_model::forget(chat.db(), std::time::Duration::ZERO).await.unwrap();
    replay(&config, sink(), |_| ()).await.unwrap();
    assert_eq!((chat.rows().await, chat.count("inbox_events").await), (rows.clone(), events));

    read_model::rebuild_begin(chat.db()).await.unwrap();
    assert_eq!(chat.rows().await.len(), 0);
    replay(&config, sink(), |_| ()).await.unwrap();
    assert_eq!((chat.rows().await, chat.count("inbox_events").await), (rows, events));
    consumer.stop().await;
}

#[tokio::test]
async fn a_rebuild_under_load_beside_a_consumer_ends_as_the_truth() {
    let chat = Chat::start("load").await;
    let config = chat.config().await;
    let consumer = Running::start(config.clone(), chat.db());
    let rebuild = async || {
        read_model::rebuild_begin(chat.db()).await.unwrap();
        replay(&config, Arc::new(RoomList(chat.db().clone())), |_| ()).await.unwrap()
    };
    chat.say(20).await;
    let rebuilds = async {
        loop {
            rebuild().await;
        }
    };
    select! { () = chat.say(200) => {}, () = rebuilds => {} } // the last one ends in the middle
    assert_eq!(rebuild().await.dead_letters, 0);
    chat.is_true().await;
    assert_eq!(chat.count("dead_letters").await, 0);
    consumer.stop().await;
}

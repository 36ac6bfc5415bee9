//! Connectors applied, refused, mended and removed.

use debezium::{Applied, Error, State};

use crate::harness::{database, left_in_postgres, records, rows_as, stack, write_rows};

#[tokio::test]
async fn applying_again_changes_nothing_and_a_changed_value_is_applied() {
    let (stack, database) = (stack().await, database().await);
    let connect = stack.connect();
    let connector = rows_as("again", &database);
    assert_eq!(connect.apply(&connector).await.unwrap(), Applied::Created);
    assert_eq!(connect.apply(&connector).await.unwrap(), Applied::Unchanged);

    let elsewhere =
        connector.clone().with("transforms.after.type", "org.apache.kafka.connect.transforms.InsertField$Value");
    let changed = elsewhere.with("transforms.after.static.field", "mark").with("transforms.after.static.value", "new");
    let Err(Error::Lint { findings, .. }) = connect.apply(&changed).await else {
        panic!("a key of another class passed")
    };
    assert!(findings[0].to_string().contains("transforms.after.field"), "{findings:?}");

    let changed = connector.clone().with("transforms.after.field", "source");
    assert_eq!(connect.apply(&changed).await.unwrap(), Applied::Changed);
    write_rows(&database, "row ", 1).await;
    let records = records(&stack, "again.public.chat_cdc", 1).await;
    assert_eq!(records[0].value["table"], "chat_cdc", "the old settings are still at work");

    connect.restart(connector.name()).await.unwrap();
    assert!(connect.names().await.unwrap().iter().any(|name| name == connector.name()));
    connect.remove(&changed, &database.pool).await.unwrap();
}

#[tokio::test]
async fn a_misspelt_key_does_not_reach_connect_and_the_one_that_was_meant_is_named() {
    let (stack, database) = (stack().await, database().await);
    let connector = rows_as("misspelt", &database).with("tombstone.on.delete", "false");
    let error = stack.connect().apply(&connector).await.unwrap_err();
    assert!(matches!(error, Error::Lint { .. }), "{error}");
    assert!(error.to_string().contains("did you mean `tombstones.on.delete`?"), "{error}");
    assert!(matches!(stack.connect().status(connector.name()).await, Err(Error::Missing(_))));
}

#[tokio::test]
async fn what_connect_refuses_is_explained_and_a_running_connector_stays_as_it_was() {
    let (stack, database) = (stack().await, database().await);
    let connect = stack.connect();
    let connector = rows_as("refused", &database);
    connect.apply(&connector).await.unwrap();

    for (key, value, reason) in [
        ("snapshot.mode", "never", "'snapshot.mode' value is invalid"),
        ("database.port", "1", "refused"),
        ("database.password", "guess", "password authentication failed"),
    ] {
        let error = connect.apply(&connector.clone().with(key, value)).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }

    assert_eq!(connect.apply(&connector).await.unwrap(), Applied::Unchanged);
    connect.remove(&connector, &database.pool).await.unwrap();
}

#[tokio::test]
async fn a_task_that_fails_says_why_and_applying_again_mends_it() {
    let (stack, database) = (stack().await, database().await);
    let connect = stack.connect();
    let connector = rows_as("failing", &database);
    sqlx::query("alter table chat_cdc rename to not_yet").execute(&database.pool).await.unwrap();
    let error = connect.apply(&connector).await.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error}");
    assert!(error.to_string().contains("apply the migrations first"), "{error}");
    let status = connect.status(connector.name()).await.unwrap();
    assert_eq!((status.connector, status.tasks[0].state), (State::Running, State::Failed));

    sqlx::query("alter table not_yet rename to chat_cdc").execute(&database.pool).await.unwrap();
    assert_eq!(connect.apply(&connector).await.unwrap(), Applied::Unchanged);
    assert!(connect.status(connector.name()).await.unwrap().is_running());
    connect.remove(&connector, &database.pool).await.unwrap();
}

#[tokio::test]
async fn removing_leaves_nothing_in_postgres_and_can_be_repeated() {
    let (stack, database) = (stack().await, database().await);
    let connect = stack.connect();
    let connector = rows_as("removed", &database);
    connect.apply(&connector).await.unwrap();
    assert_eq!(left_in_postgres(&database, "rows_removed").await, 2, "a slot and a publication");

    connect.remove(&connector, &database.pool).await.unwrap();

    assert_eq!(left_in_postgres(&database, "rows_removed").await, 0);
    assert!(matches!(connect.status(connector.name()).await, Err(Error::Missing(_))));
    connect.remove(&connector, &database.pool).await.unwrap();
    assert!(matches!(connect.restart(connector.name()).await, Err(Error::Missing(_))));
}

//! A supervisor beside connectors whose tasks fail.

use debezium::{Stack, Supervisor, SupervisorHandle};
use tokio::sync::oneshot;

use crate::harness::{database, eventually, records, rows_as, stack, write_rows};

/// Watches one connector until the sender is dropped.
pub(crate) fn watching(stack: &Stack, name: &str) -> (SupervisorHandle, oneshot::Sender<()>) {
    let supervisor = Supervisor::new(stack.connect(), [name]);
    let (handle, (ending, ended)) = (supervisor.handle(), oneshot::channel());
    tokio::spawn(supervisor.run(async move { ended.await.unwrap_or_default() }));
    (handle, ending)
}

/// The failure is a table that comes after its connector: one that lasts, and that a restart mends once it is there. (A
/// broker that goes between the two questions by which Connect makes a topic has the same effect, but cannot be forced.)
#[tokio::test]
async fn a_task_that_failed_is_restarted_once_what_it_lacked_is_there() {
    let (stack, database) = (stack().await, database().await);
    let connector = rows_as("watched", &database);
    let (supervisor, _watched) = watching(&stack, connector.name());
    let says = async |what: &str| {
        eventually(what, async || supervisor.report().to_string().contains(what)).await;
    };
    says("roomcast connectors apply").await;
    sqlx::query("alter table chat_cdc rename to not_yet").execute(&database.pool).await.unwrap();
    stack.connect().apply(&connector).await.unwrap_err();
    says("apply the migrations first").await;

    sqlx::query("alter table not_yet rename to chat_cdc").execute(&database.pool).await.unwrap();

    eventually("it runs again", async || supervisor.report().is_ready()).await;
    assert!(supervisor.report().of(connector.name()).unwrap().restarts > 0);
    write_rows(&database, "the first ", 1).await;
    assert_eq!(records(&stack, "watched.public.chat_cdc", 1).await[0].text(), "the first 0");
    stack.connect().remove(&connector, &database.pool).await.unwrap();
}

//! A consumer in this process.

use std::sync::Arc;

use relay::{
    RelayError,
    events::{EventConsumer, EventsConfig},
};
use roomcast::adapters::RoomList;
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), RelayError>>,
}

impl Running {
    pub(crate) fn start(config: EventsConfig, db: &PgPool) -> Self {
        let consumer = EventConsumer::new(config, Arc::new(RoomList(db.clone())));
        let shutdown = CancellationToken::new();
        Self { task: tokio::spawn(consumer.run(shutdown.clone())), shutdown }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

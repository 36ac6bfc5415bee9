//! Hears NOTIFY from other processes and wakes the workers of this one. Where LISTEN is not possible, it says so once
//! and keeps trying; the poll carries on meanwhile.

use std::sync::Arc;

use protocol::{Partition, silence};
use sqlx::{
    Executor,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    select,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{CHANNEL, Wakeup};
use crate::{
    RelayConfig, RelayError, WakeSource,
    retry::Backoff,
    source::session::{self, within},
    status::State,
};

pub(crate) struct Listener {
    pub config: Arc<RelayConfig>,
    pub wakeup: Wakeup,
    pub state: Arc<State>,
}

impl Listener {
    /// Runs until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        select! {
            () = shutdown.cancelled() => {}
            () = self.listen_for_ever() => {}
        }
    }

    async fn listen_for_ever(&self) {
        let backoff = Backoff::new(self.config.first_backoff, self.config.longest_backoff);
        let mut failures = 0;
        loop {
            let error = match self.connect().await {
                Ok(mut listener) => {
                    info!("listening on {CHANNEL}");
                    failures = 0;
                    self.state.wakes_by(WakeSource::Listening);
                    self.wakeup.wake_all(); // what was announced while nobody listened
                    self.attend(&mut listener).await
                }
                Err(error) => error,
            };
            self.state.wakes_by(WakeSource::Polling);
            failures += 1;
            if failures == 1 {
                let poll = self.config.poll_interval;
                warn!(%error, "cannot listen on {CHANNEL}: rows of other processes wait for the poll every {poll:?}");
            } else {
                debug!(%error, failures, "still cannot listen on {CHANNEL}");
            }
            sleep(backoff.pause(failures)).await;
        }
    }

    async fn connect(&self) -> Result<PgListener, RelayError> {
        let options = session::options(&self.config.database_url, "roomcast relay listener")?;
        let pool = PgPoolOptions::new().max_connections(1).connect_with(options);
        let mut listener = PgListener::connect_with(&within(pool).await?).await?;
        listener.eager_reconnect(false);
        within(listener.listen(CHANNEL)).await?;
        Ok(listener)
    }

    /// Wakes until the connection is lost.
    async fn attend(&self, listener: &mut PgListener) -> RelayError {
        loop {
            // try_recv is cancel-safe: it takes nothing from its buffer before a message is whole.
            let heard = select! {
                heard = listener.try_recv() => heard,
                () = sleep(silence::half()) => match ask(listener).await {
                    Ok(()) => continue,
                    Err(error) => return error,
                },
            };
            match heard {
                Ok(Some(notification)) => self.wake(notification.payload()),
                Ok(None) => return sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()).into(),
                Err(error) => return error.into(),
            }
        }
    }

    fn wake(&self, payload: &str) {
        for partition in payload.split(',') {
            match partition.parse() {
                Ok(partition) => self.wakeup.wake(Partition(partition)),
                Err(_) => self.wakeup.wake_all(),
            }
        }
    }
}

/// A connection over which nothing comes may be dead without a word. What is heard meanwhile is kept for later.
async fn ask(listener: &mut PgListener) -> Result<(), RelayError> {
    match timeout(silence::half(), listener.execute("select")).await {
        Ok(answered) => Ok(answered.map(drop)?),
        Err(_) => Err(RelayError::DatabaseSilent(silence::bound())),
    }
}

//! What every part of a running hub shares.

use std::{
    future::Future,
    sync::{Arc, atomic::AtomicU32},
};

use protocol::Complaint;
use tokio::{runtime, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    admission::Gate,
    authority::{Authority, AuthorityError},
    config::HubConfig,
    emulation::Sessions,
    nodes::Nodes,
    registry::Registry,
    token::Tokens,
};

pub(crate) struct Context {
    pub(crate) config: HubConfig,
    pub(crate) authority: Arc<dyn Authority>,
    /// The authority does not answer.
    pub(crate) silence: Complaint,
    pub(crate) tokens: Tokens,
    pub(crate) registry: Registry,
    pub(crate) gate: Gate,
    /// Clients without a socket.
    pub(crate) sessions: Sessions,
    /// The other nodes, if the hub has any.
    pub(crate) nodes: Option<Nodes>,
    /// The number that the next channel is given.
    pub(crate) next_channel: AtomicU32,
    /// The runtime that started the hub. The authority is asked there: its database connections belong to it.
    pub(crate) runtime: runtime::Handle,
    /// Questions to the authority and upgrades under way.
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: CancellationToken,
}

impl Context {
    /// Has the authority asked on its runtime, for as long as it may take.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl Future<Output = Result<T, AuthorityError>> + Send + 'static,
    ) -> Result<T, AuthorityError> {
        let patience = self.config.authority_timeout;
        let stopping = self.stopping.clone();
        let question = async move { stopping.run_until_cancelled(timeout(patience, question)).await };
        match self.tasks.spawn_on(question, &self.runtime).await {
            Ok(Some(Ok(answer))) => self.heard(answer),
            Ok(Some(Err(elapsed))) => self.heard(Err(AuthorityError::unavailable(elapsed))),
            Ok(None) => Err(AuthorityError::unavailable("the hub is stopping")),
            Err(panicked) => self.heard(Err(AuthorityError::unavailable(panicked))),
        }
    }

    /// Tells that the authority does not answer, and that it does again: once, however many ask.
    pub(crate) fn heard<T>(&self, answer: Result<T, AuthorityError>) -> Result<T, AuthorityError> {
        match &answer {
            Err(error @ AuthorityError::Unavailable(_)) => {
                if let Some(trouble) = self.silence.happened() {
                    let error = error as &dyn std::error::Error;
                    warn!(
                        error,
                        "cannot ask who may hear what, or for what was missed: clients stay, and ask again{trouble}"
                    );
                }
            }
            Ok(_) | Err(AuthorityError::NoSuchChannel) => {
                if let Some(relief) = self.silence.over() {
                    info!("the authority answers again, {relief}");
                }
            }
        }
        answer
    }
}

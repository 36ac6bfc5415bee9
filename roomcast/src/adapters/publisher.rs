//! How the backend itself publishes after a commit, in the modes `api` and `api_cdc`: through the same hubs, with the
//! same verdicts, as the relay.

use anyhow::anyhow;
use async_trait::async_trait;
use backend::{PublishError, Publisher};
use protocol::Command;
use relay::{Destination, Verdict};

/// Publishes to where a relay would deliver.
pub struct Direct<D>(pub D);

#[async_trait]
impl<D: Destination> Publisher for Direct<D> {
    async fn publish(&self, commands: Vec<Command>) -> Result<(), PublishError> {
        let verdicts = self.0.deliver(&commands).await.map_err(|error| PublishError::Unavailable(error.into()))?;
        verdicts.into_iter().try_for_each(|verdict| match verdict {
            Verdict::Accepted => Ok(()),
            Verdict::Retry { reason } => Err(PublishError::Unavailable(anyhow!(reason).into())),
            Verdict::Rejected { code, reason } => Err(PublishError::Refused(anyhow!("{code}: {reason}").into())),
        })
    }
}

//! Where the relay delivers: the hub in this process, or hubs over their server API.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use hub::Hub;
use protocol::Command;
use relay::{Destination, DestinationError, Verdict};
use serde::{Deserialize, Serialize};

use super::{http, roster::Roster};

/// Error code of the server API for "try again"; every other code says that the command can never pass.
const INTERNAL: u32 = 100;

/// The hub of this process.
pub struct LocalHub(pub Hub);

#[async_trait]
impl Destination for LocalHub {
    async fn deliver(&self, commands: &[Command]) -> Result<Vec<Verdict>, DestinationError> {
        let outcomes = self.0.execute(commands.to_vec()).await;
        Ok(outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Ok(_) => Verdict::Accepted,
                Err(rejection) => verdict(rejection.code, rejection.message),
            })
            .collect())
    }
}

fn verdict(code: u32, reason: String) -> Verdict {
    if code == INTERNAL { Verdict::Retry { reason } } else { Verdict::Rejected { code, reason } }
}

/// Hubs elsewhere. Each serves every room, so each gets every command; a batch has arrived when all have it.
pub struct RemoteHubs {
    http: reqwest::Client,
    hubs: Roster,
    api_key: String,
}

#[derive(Serialize)]
struct Batch<'a> {
    commands: &'a [Command],
}

#[derive(Deserialize)]
struct Replies {
    replies: Vec<Reply>,
}

#[derive(Deserialize)]
struct Reply {
    error: Option<ReplyError>,
}

#[derive(Deserialize)]
struct ReplyError {
    code: u32,
    message: String,
}

impl RemoteHubs {
    /// A hub that does not answer within this time is down; the batch is sent again.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Hubs at these origins, such as `http://127.0.0.1:8001`, or behind names, such as `dns+http://hubs:8001`.
    pub fn new(hubs: &[String], api_key: String) -> anyhow::Result<Self> {
        Ok(Self { http: http::client(Self::PATIENCE)?, hubs: Roster::of(hubs), api_key })
    }

    async fn deliver_to(&self, hub: &str, commands: &[Command]) -> Result<Vec<Verdict>, DestinationError> {
        let down = |error: reqwest::Error| {
            DestinationError::new(format!("{:#}", anyhow::Error::from(error).context(format!("hub {hub}"))))
        };
        let replies: Replies = self
            .http
            .post(format!("{hub}/api/batch"))
            .header("x-api-key", &self.api_key)
            .json(&Batch { commands })
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(down)?
            .json()
            .await
            .map_err(down)?;
        if replies.replies.len() != commands.len() {
            let (replies, commands) = (replies.replies.len(), commands.len());
            return Err(DestinationError::new(format!("hub {hub}: {replies} replies to {commands} commands")));
        }
        Ok(replies
            .replies
            .into_iter()
            .map(|reply| reply.error.map_or(Verdict::Accepted, |error| verdict(error.code, error.message)))
            .collect())
    }
}

#[async_trait]
impl Destination for RemoteHubs {
    async fn deliver(&self, commands: &[Command]) -> Result<Vec<Verdict>, DestinationError> {
        let hubs = self.hubs.present().map_err(DestinationError::new)?;
        let each = try_join_all(hubs.iter().map(|hub| self.deliver_to(hub, commands))).await?;
        Ok(each.into_iter().reduce(all_of).unwrap_or_default())
    }
}

/// Accepted only where both accepted; a rejection waits until nobody asks for another try.
fn all_of(one: Vec<Verdict>, other: Vec<Verdict>) -> Vec<Verdict> {
    one.into_iter()
        .zip(other)
        .map(|pair| match pair {
            (retry @ Verdict::Retry { .. }, _) | (_, retry @ Verdict::Retry { .. }) => retry,
            (rejected @ Verdict::Rejected { .. }, _) | (_, rejected @ Verdict::Rejected { .. }) => rejected,
            (Verdict::Accepted, Verdict::Accepted) => Verdict::Accepted,
        })
        .collect()
}

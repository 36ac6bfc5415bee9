//! A read of a channel's past from the authority, outside the shard. Its answer comes back through the shard's queue.

use std::sync::Arc;

use protocol::{Channel, Offset, Position};
use tokio::{sync::mpsc, time::timeout};

use super::ShardCommand;
use crate::{
    authority::{AuthorityError, Backlog},
    context::Context,
    frame::{Publication, Said},
};

/// An answered read.
pub(crate) struct BacklogRead {
    pub(super) channel: Channel,
    /// What was asked for; `None`: the position alone.
    pub(super) after: Option<Offset>,
    pub(super) answer: Result<Past, AuthorityError>,
}

/// A channel's past, encoded.
pub(super) struct Past {
    pub(super) position: Position,
    pub(super) publications: Vec<Publication>,
}

impl Past {
    /// True if it goes on beyond `missing` without having it: then nobody has it.
    pub(super) fn skips(&self, missing: Offset) -> bool {
        let not_before = self.publications.iter().find(|publication| publication.offset >= missing);
        not_before.is_some_and(|publication| publication.offset != missing)
    }
}

/// Asks the authority for what comes after `after`, or for the position alone.
pub(super) fn read(context: &Arc<Context>, queue: mpsc::Sender<ShardCommand>, channel: Channel, after: Option<Offset>) {
    let shared = Arc::clone(context);
    let question = async move {
        let answer = ask(&shared, &channel, after).await.map(|backlog| encode(&channel, backlog));
        // The shard has gone: so have those who wanted to know.
        queue.send(ShardCommand::Backlog(Box::new(BacklogRead { channel, after, answer }))).await.ok();
    };
    let stopping = context.stopping.clone();
    context.tasks.spawn_on(async move { stopping.run_until_cancelled(question).await }, &context.runtime);
}

async fn ask(context: &Context, channel: &Channel, after: Option<Offset>) -> Result<Backlog, AuthorityError> {
    let limit = if after.is_some() { context.config.recovery_limit } else { 0 };
    let after = after.unwrap_or(Offset(i64::MAX.unsigned_abs()));
    let answer = timeout(context.config.authority_timeout, context.authority.backlog(channel, after, limit)).await;
    context.heard(answer.unwrap_or_else(|elapsed| Err(AuthorityError::unavailable(elapsed))))
}

fn encode(channel: &Channel, backlog: Backlog) -> Past {
    let encode = |(offset, data)| Publication::encode(channel, offset, &Said::from(data));
    Past { position: backlog.position, publications: backlog.publications.into_iter().map(encode).collect() }
}

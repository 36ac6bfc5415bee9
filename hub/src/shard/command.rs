//! What a shard can be told, through its queue and in order.

use std::{collections::BTreeMap, sync::Arc};

use protocol::{Channel, Epoch, Position};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::{Join, backlog::BacklogRead};
use crate::{connection::Connection, frame::Publication};

pub(crate) enum ShardCommand {
    Publish(Publishing),
    Join(Box<Join>),
    /// The client unsubscribes, or has gone.
    Leave {
        connection: Arc<Connection>,
        channel: Channel,
        done: Option<oneshot::Sender<()>>,
    },
    /// The server adds a channel.
    Subscribe {
        channel: Channel,
        target: Target,
        done: Option<oneshot::Sender<()>>,
    },
    /// The server takes a channel away.
    Unsubscribe {
        channel: Channel,
        target: Target,
        done: Option<oneshot::Sender<()>>,
    },
    /// The authority has answered.
    Backlog(Box<BacklogRead>),
    /// Which channels are heard, and by how many?
    Channels(oneshot::Sender<Vec<(Channel, usize)>>),
    Stop,
}

/// Whom a command of the server means.
pub(crate) enum Target {
    /// Every connection of the user; those that are connecting remember it for later.
    User(Arc<str>),
    /// One connection that had remembered it.
    Connection(Arc<Connection>),
}

/// One publication on its way to its channel.
pub(crate) struct Publishing {
    pub(crate) channel: Channel,
    pub(crate) counted: Counted,
    pub(crate) idempotency_key: Option<Box<str>>,
    /// Set where the caller cannot know the position before: when the hub counts.
    pub(crate) answer: Option<oneshot::Sender<Position>>,
}

/// Who has counted the publication. It is encoded before it gets here wherever its offset is known.
pub(crate) enum Counted {
    Truth { epoch: Epoch, publication: Publication },
    Hub { data: Box<RawValue>, tags: BTreeMap<String, String> },
    Nobody { publication: Publication },
}

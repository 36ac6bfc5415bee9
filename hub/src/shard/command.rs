//! What a shard can be told, through its queue and in order.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use bytes::Bytes;
use protocol::{Channel, Epoch, Offset, Position};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Join, backlog::BacklogRead};
use crate::{
    codes::ErrorCode,
    connection::Connection,
    frame::{Kind, Publication, Said},
    standing::Invitation,
};

pub(crate) enum ShardCommand {
    Publish(Publishing),
    Join(Box<Join>),
    /// The client unsubscribes, or has gone.
    Leave {
        connection: Arc<Connection>,
        channel: Channel,
        done: Option<oneshot::Sender<()>>,
    },
    /// A subscription token was refreshed: the subscription ends at another time. Answers whether there is one.
    Extend {
        connection: Arc<Connection>,
        channel: Channel,
        expires_at: Option<Instant>,
        answer: oneshot::Sender<bool>,
    },
    /// The server adds a channel.
    Subscribe {
        invitation: Box<Invitation>,
        target: Target,
        done: Option<oneshot::Sender<()>>,
    },
    /// The server takes a channel away.
    Unsubscribe {
        channel: Channel,
        target: Target,
        done: Option<oneshot::Sender<()>>,
    },
    /// Who is in the channel?
    Presence(Channel, oneshot::Sender<Presence>),
    /// How many are in the channel?
    Census(Channel, oneshot::Sender<Census>),
    /// Who are they that are in the channel?
    Crowd(Channel, oneshot::Sender<Crowd>),
    /// What was said in the channel?
    History(Channel, HistoryQuestion, oneshot::Sender<Result<HistoryPage, ErrorCode>>),
    /// Forget what was said.
    ForgetHistory(Channel),
    /// Publications may have been lost on their way here.
    LostTrack,
    /// The authority has answered.
    Backlog(Box<BacklogRead>),
    /// Which channels are heard, and by how many?
    Channels(oneshot::Sender<Vec<(Channel, usize)>>),
    /// How many channels are heard, and by how many in all?
    Size(oneshot::Sender<(usize, usize)>),
    /// Somebody has come or gone on another node.
    Announce {
        channel: Channel,
        kind: Kind,
        who: Arc<str>,
    },
    Stop,
}

/// Whom a command of the server means.
pub(crate) enum Target {
    /// Every connection of the user, or the one of this name; those that are connecting remember it for later.
    User { user: Arc<str>, client: Option<Uuid> },
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
    Truth {
        epoch: Epoch,
        publication: Publication,
    },
    /// `version`, in an epoch of its own, is where the publisher stands: what is not newer is dropped.
    Hub {
        said: Said,
        version: Option<(Epoch, Offset)>,
    },
    Nobody {
        publication: Publication,
    },
}

/// The clients in a channel by their names, each as others see it.
pub(crate) type Presence = Vec<(Uuid, Bytes)>;

/// How many connections are in a channel, and of how many users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) clients: usize,
    pub(crate) users: usize,
}

/// How many connections are in a channel, and which users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crowd {
    pub(crate) clients: usize,
    pub(crate) users: BTreeSet<String>,
}

/// Which part of a channel's history is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HistoryQuestion {
    /// Only what comes after this position; before it, in reverse.
    pub(crate) since: Option<Position>,
    pub(crate) limit: usize,
    pub(crate) reverse: bool,
}

/// A part of a channel's history, and where the channel stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct HistoryPage {
    pub(crate) publications: Vec<Bytes>,
    pub(crate) position: Position,
}

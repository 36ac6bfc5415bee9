//! A connection that wants to hear a channel, and what it can be told now.
//!
//! Deciding is pure. A join that cannot be answered yet waits in its channel for the position, for publications that
//! the client has seen elsewhere, or for the backlog.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use protocol::{Channel, Offset, Position};
use tokio::sync::oneshot;

use crate::{
    codes::ErrorCode,
    connection::Connection,
    frame::{self, Publication, Subscribed},
    standing::{Invitation, Side},
    stream::Stream,
    terms::{Grant, Terms, Wishes},
};

pub(crate) struct Join {
    pub(crate) connection: Arc<Connection>,
    pub(crate) channel: Channel,
    pub(crate) grant: Grant,
    pub(crate) wishes: Wishes,
    /// Decided by the channel when the join begins.
    pub(crate) terms: Terms,
    /// The last publication that the client has seen, if it comes back.
    pub(crate) recover: Option<Position>,
    /// The client would rather have an error than miss something.
    pub(crate) strict: bool,
    pub(crate) answer: Answer,
    pub(crate) since: Instant,
    /// How often the backlog has been read for it.
    pub(crate) reads: u8,
}

/// How the outcome is told.
pub(crate) enum Answer {
    /// As the reply to the client's command with this id, before the channel's first push.
    Reply { id: u32, done: oneshot::Sender<()> },
    /// As part of the connect reply; pushes are held back until it is out.
    Collect(oneshot::Sender<Result<Vec<u8>, ErrorCode>>),
    /// As a `subscribe` push.
    Push,
}

impl Join {
    /// The relay adds a channel to a connection.
    pub(super) fn by_command(connection: Arc<Connection>, invitation: Invitation) -> Self {
        let Invitation { channel, grant, recover } = invitation;
        Self { grant, recover, ..Self::new(connection, channel, Answer::Push) }
    }

    /// Asks for nothing and was granted nothing in particular.
    pub(crate) fn new(connection: Arc<Connection>, channel: Channel, answer: Answer) -> Self {
        Self {
            connection,
            channel,
            grant: Grant::default(),
            wishes: Wishes::default(),
            terms: Terms::default(),
            recover: None,
            strict: false,
            answer,
            since: Instant::now(),
            reads: 0,
        }
    }

    pub(super) fn side(&self) -> Side {
        if matches!(self.answer, Answer::Reply { .. }) { Side::Client } else { Side::Server }
    }

    /// Nobody waits for an answer: it can be tried again for as long as it takes.
    pub(super) fn is_push(&self) -> bool {
        matches!(self.answer, Answer::Push)
    }

    pub(super) fn succeed(self, subscribed: &Subscribed) {
        match self.answer {
            Answer::Reply { id, done } => {
                self.connection.reply(&frame::reply(id, "subscribe", &subscribed.encode()));
                done.send(()).ok();
            }
            Answer::Collect(answer) => {
                answer.send(Ok(subscribed.encode())).ok();
            }
            Answer::Push => self.connection.push(&frame::subscribe_push(&self.channel, subscribed)),
        }
    }

    pub(super) fn fail(self, error: ErrorCode) {
        match self.answer {
            Answer::Reply { id, done } => {
                self.connection.reply(&frame::error(id, error));
                done.send(()).ok();
            }
            Answer::Collect(answer) => {
                answer.send(Err(error)).ok();
            }
            Answer::Push => {}
        }
    }
}

/// What a join can be told.
pub(super) enum Decision {
    /// It hears the channel from the top on.
    Join(Subscribed, Source),
    /// What it missed has to be read first, from after this offset.
    Read(Offset),
    /// It has seen more than has arrived here; that will come, or be fetched as a hole.
    Wait,
}

/// Where the missed publications come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// It did not ask.
    Fresh,
    History,
    Backlog,
    /// They cannot be had.
    Nowhere,
}

/// How much a client that comes back is given.
#[derive(Clone, Copy)]
pub(super) struct RecoveryLimits {
    pub(super) publications: u64,
    pub(super) bytes: usize,
    /// Reads of the backlog for one join; 0 where there is no backlog.
    pub(super) reads: u8,
}

/// What to tell a join to `stream`, given what has just been read from the backlog.
pub(super) fn decide(join: &Join, stream: &Stream, backlog: &[Publication], limits: RecoveryLimits) -> Decision {
    let fresh = || Subscribed {
        recoverable: join.terms.recoverable,
        positioned: join.terms.positioned,
        position: stream.position(),
        ..Subscribed::default()
    };
    let Some(recover) = join.recover.as_ref().filter(|_| join.terms.recoverable) else {
        return Decision::Join(fresh(), Source::Fresh);
    };
    let (after, top) = (recover.offset, stream.top());
    let lost = || Decision::Join(Subscribed { was_recovering: true, ..fresh() }, Source::Nowhere);
    if !recover.epoch.is_empty() && recover.epoch != *stream.epoch() {
        return lost();
    }
    if after > top {
        let exists =
            join.grant.known.as_ref().is_some_and(|known| known.epoch == *stream.epoch() && after <= known.offset);
        return if exists { Decision::Wait } else { lost() };
    }
    if top.0 - after.0 > limits.publications {
        return lost();
    }
    let found = stream
        .since(after)
        .map(|found| (found, Source::History))
        .or_else(|| stream.since_with(after, backlog).map(|found| (found, Source::Backlog)));
    match found {
        Some((found, _)) if found.iter().map(Bytes::len).sum::<usize>() > limits.bytes => lost(),
        Some((publications, source)) => {
            // The client counts up by itself as it takes the publications.
            let position = Position { epoch: stream.epoch().clone(), offset: after };
            let recovered = Subscribed { position, was_recovering: true, recovered: true, publications, ..fresh() };
            Decision::Join(recovered, source)
        }
        None if join.reads < limits.reads => Decision::Read(after),
        None => lost(),
    }
}

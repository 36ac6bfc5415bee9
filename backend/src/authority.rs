//! What the hub asks the truth: which channels a user hears, whether they may hear one, and what was said meanwhile.
//!
//! In one process the hub calls these functions; over HTTP they are `/internal/*`. When thousands come back at once it asks
//! for many of them together.

use std::collections::HashMap;

use protocol::{Channel, ChatEvent, Offset, Position, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sqlx::PgPool;

use crate::store;

/// A channel that a user hears from the moment they connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subscription {
    /// Its name.
    pub channel: Channel,
    /// The newest line, for channels that the truth counts.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

/// May this user hear this channel?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The `sub` of the client's token. Only users of the backend have numbers, and only they may hear anything.
    pub user: String,
    /// The channel.
    pub channel: Channel,
}

/// Whether a user may hear a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Access {
    /// The answer.
    pub granted: bool,
    /// The newest line, for channels that the truth counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

/// Lines of a channel after an offset.
#[derive(Clone, Debug, Serialize)]
pub struct Backlog {
    /// The newest line, whether it is among the publications or not.
    pub position: Position,
    /// Ascending, without a hole.
    pub publications: Vec<Publication>,
}

/// One line as it was announced.
#[derive(Clone, Debug, Serialize)]
pub struct Publication {
    /// Its version.
    pub offset: Offset,
    /// A [`ChatEvent`].
    pub data: Box<RawValue>,
}

/// All channels of each of these users, in their order: everybody's, their own, and their rooms. One query for all.
pub async fn subscriptions(db: &PgPool, users: &[UserId]) -> sqlx::Result<Vec<Vec<Subscription>>> {
    let mut conn = db.acquire().await?;
    let mut rooms: HashMap<UserId, Vec<Subscription>> = HashMap::with_capacity(users.len());
    for (user, room, position) in store::rooms::positions(&mut conn, users).await? {
        rooms.entry(user).or_default().push(Subscription { channel: Channel::room(room), position: Some(position) });
    }
    let of = |user: &UserId| {
        let uncounted = [Channel::everybody(), Channel::user(*user)];
        let uncounted = uncounted.into_iter().map(|channel| Subscription { channel, position: None });
        uncounted.chain(rooms.get(user).into_iter().flatten().cloned()).collect()
    };
    Ok(users.iter().map(of).collect())
}

/// The answers to these questions, in their order; at most one query for all.
///
/// Members may hear their rooms, everybody their own channel and everybody's, nobody anything else.
pub async fn access(db: &PgPool, questions: &[Question]) -> sqlx::Result<Vec<Access>> {
    let member = |question: &Question| question.channel.room_id().zip(question.user.parse().ok());
    let pairs: Vec<(RoomId, UserId)> = questions.iter().filter_map(member).collect();
    let positions = match pairs.as_slice() {
        [] => HashMap::new(),
        pairs => store::rooms::positions_for(&mut *db.acquire().await?, pairs).await?,
    };
    let answer = |question: &Question| {
        let position = member(question).and_then(|pair| positions.get(&pair)).cloned();
        Access { granted: position.is_some() || is_open(question), position }
    };
    Ok(questions.iter().map(answer).collect())
}

/// Channels that no table knows.
fn is_open(Question { user, channel }: &Question) -> bool {
    let Ok(user) = user.parse::<UserId>() else { return false };
    channel.user_id() == Some(user) || *channel == Channel::everybody()
}

/// What was said on a channel after `after`, at most `limit` lines. None: the truth does not count this channel.
pub async fn backlog(db: &PgPool, channel: &Channel, after: Offset, limit: u32) -> sqlx::Result<Option<Backlog>> {
    let Some(room) = channel.room_id() else { return Ok(None) };
    let mut conn = db.acquire().await?;
    let Some(Position { epoch, offset }) = store::rooms::position(&mut conn, room).await? else { return Ok(None) };
    // Read after the position: what was committed between the two is in the timeline, too, and does no harm.
    let page = store::timeline::page(&mut conn, room, None, Some(after), limit).await?;
    let top = page.messages.last().map_or(offset, |line| line.version.max(offset));
    let publications = page.messages.into_iter().map(|line| {
        let offset = line.version;
        let data = to_raw_value(&ChatEvent::Message(line)).map_err(|error| sqlx::Error::Encode(error.into()))?;
        Ok(Publication { offset, data })
    });
    Ok(Some(Backlog {
        position: Position { epoch, offset: top },
        publications: publications.collect::<sqlx::Result<_>>()?,
    }))
}

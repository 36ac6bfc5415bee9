//! What the hub asks the truth: which channels a user hears, whether they may hear one, and what was said meanwhile.
//!
//! In one process the hub calls these functions; over HTTP they are `/internal/*`.

use protocol::{Channel, ChatEvent, Offset, Position, UserId};
use serde::Serialize;
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

/// All channels of a user: everybody's, their own, and their rooms. A name that is no user's id has none.
pub async fn subscriptions(db: &PgPool, user: &str) -> sqlx::Result<Vec<Subscription>> {
    let Ok(user) = user.parse::<UserId>() else { return Ok(Vec::new()) };
    let mut conn = db.acquire().await?;
    let rooms = store::rooms::positions(&mut conn, user).await?;
    let uncounted = [Channel::everybody(), Channel::user(user)];
    let uncounted = uncounted.into_iter().map(|channel| Subscription { channel, position: None });
    let rooms = rooms
        .into_iter()
        .map(|(room, position)| Subscription { channel: Channel::room(room), position: Some(position) });
    Ok(uncounted.chain(rooms).collect())
}

/// Members may hear their rooms, everybody their own channel and everybody's, nobody anything else.
pub async fn access(db: &PgPool, user: &str, channel: &Channel) -> sqlx::Result<Access> {
    let denied = Access { granted: false, position: None };
    let Ok(user) = user.parse::<UserId>() else { return Ok(denied) };
    if let Some(room) = channel.room_id() {
        let mut conn = db.acquire().await?;
        let position = store::rooms::position_for(&mut conn, room, user).await?;
        return Ok(position.map_or(denied, |position| Access { granted: true, position: Some(position) }));
    }
    Ok(Access { granted: channel.user_id() == Some(user) || *channel == Channel::everybody(), ..denied })
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

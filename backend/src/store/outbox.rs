//! Rows for the relay, in the transaction of what they announce. (Messages bring their own: see [`super::messages`].)

use protocol::{
    Channel, ChatEvent, Partition, Publish, ReadEvent, RoomId, Subscribe, TimelineEvent, Unsubscribe, UserId,
};
use serde::Serialize;
use serde_json::value::to_raw_value;
use sqlx::{PgConnection, types::Json};

use super::rooms::Head;

/// A line of a room, for everybody who is in it.
pub async fn line_added(conn: &mut PgConnection, room: &Head, line: &TimelineEvent) -> sqlx::Result<()> {
    let publish = Publish {
        channel: Channel::room(room.id),
        data: to_raw_value(&ChatEvent::Message(line.clone())).map_err(encode)?,
        version: Some(room.version),
        version_epoch: Some(room.epoch.clone()),
        idempotency_key: None,
        tags: std::collections::BTreeMap::new(),
    };
    append(conn, "publish", &publish, room.id).await
}

/// A read position that moved, for the user's own connections.
pub async fn read_moved(conn: &mut PgConnection, user: UserId, read: &ReadEvent) -> sqlx::Result<()> {
    let publish = Publish {
        channel: Channel::user(user),
        data: to_raw_value(&ChatEvent::Read(read.clone())).map_err(encode)?,
        version: None,
        version_epoch: None,
        idempotency_key: None,
        tags: std::collections::BTreeMap::new(),
    };
    append(conn, "publish", &publish, read.room).await
}

/// Every open connection of the user hears the room from here on.
pub async fn subscribe(conn: &mut PgConnection, room: RoomId, user: UserId) -> sqlx::Result<()> {
    append(conn, "subscribe", &Subscribe { user: user.to_string(), channel: Channel::room(room) }, room).await
}

/// No connection of the user hears the room any more.
pub async fn unsubscribe(conn: &mut PgConnection, room: RoomId, user: UserId) -> sqlx::Result<()> {
    append(conn, "unsubscribe", &Unsubscribe { user: user.to_string(), channel: Channel::room(room) }, room).await
}

/// All rows about a room share its partition, so that they arrive in the order in which they were written.
async fn append(
    conn: &mut PgConnection,
    method: &str,
    payload: &(impl Serialize + Sync),
    room: RoomId,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into chat_outbox (method, payload, partition) values ($1, $2, $3)",
        method,
        Json(payload) as _,
        Partition::of(room).0
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn encode(error: serde_json::Error) -> sqlx::Error {
    sqlx::Error::Encode(error.into())
}

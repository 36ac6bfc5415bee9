//! Rows for the relay, in the transaction of what they announce. (Messages bring their own: see [`super::messages`].)

use std::collections::BTreeMap;

use protocol::{
    Channel, ChatEvent, Epoch, Offset, Partition, Publish, ReadEvent, RoomId, Subscribe, TimelineEvent, Unsubscribe,
    UserId,
};
use serde::Serialize;
use serde_json::{Value, value::to_raw_value};
use sqlx::PgConnection;

use super::rooms::Head;

/// A row for the relay: a command of [`protocol::Command`] that is still to be written.
#[derive(Clone, Debug)]
pub struct Row {
    method: &'static str,
    payload: Value,
}

impl Row {
    /// A line of a room, for everybody who is in it.
    pub fn line_added(room: &Head, line: TimelineEvent) -> sqlx::Result<Self> {
        let version = Some((line.version, room.epoch.clone()));
        Self::publish(Channel::room(room.id), &ChatEvent::Message(line), version)
    }

    /// A read position that moved, for the user's own connections.
    pub fn read_moved(user: UserId, read: ReadEvent) -> sqlx::Result<Self> {
        Self::publish(Channel::user(user), &ChatEvent::Read(read), None)
    }

    /// Every open connection of the user hears the room from here on.
    pub fn subscribe(room: RoomId, user: UserId) -> sqlx::Result<Self> {
        Self::new("subscribe", &Subscribe { user: user.to_string(), channel: Channel::room(room) })
    }

    /// No connection of the user hears the room any more.
    pub fn unsubscribe(room: RoomId, user: UserId) -> sqlx::Result<Self> {
        Self::new("unsubscribe", &Unsubscribe { user: user.to_string(), channel: Channel::room(room) })
    }

    fn publish(channel: Channel, event: &ChatEvent, version: Option<(Offset, Epoch)>) -> sqlx::Result<Self> {
        let (version, version_epoch) = version.unzip();
        let data = to_raw_value(event).map_err(encode)?;
        let tags = BTreeMap::new();
        Self::new("publish", &Publish { channel, data, version, version_epoch, idempotency_key: None, tags })
    }

    fn new(method: &'static str, payload: &impl Serialize) -> sqlx::Result<Self> {
        Ok(Self { method, payload: serde_json::to_value(payload).map_err(encode)? })
    }
}

/// Adds rows that are to be heard in this order. All rows about a room share its partition, so that they will be.
pub async fn append<const N: usize>(conn: &mut PgConnection, room: RoomId, rows: [Row; N]) -> sqlx::Result<()> {
    let (methods, payloads): (Vec<String>, Vec<Value>) =
        rows.into_iter().map(|row| (row.method.to_owned(), row.payload)).unzip();
    sqlx::query!(
        "insert into chat_outbox (method, payload, partition)
         select method, payload, $3 from unnest($1::text[], $2::jsonb[]) with ordinality as row (method, payload, n)
          order by n",
        &methods,
        &payloads,
        Partition::of(room).0
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn encode(error: serde_json::Error) -> sqlx::Error {
    sqlx::Error::Encode(error.into())
}

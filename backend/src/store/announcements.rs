//! What a transaction announces about a room, in the carrier of its mode. (Messages bring their own rows: see
//! [`super::messages`].) Which mode leaves which row is the SQL function `announce`, in `migrations/0003_modes.sql`.

use protocol::{
    Channel, ChatEvent, Command, Epoch, Kind, Mode, Offset, Publish, ReadEvent, RoomId, Subscribe, TimelineEvent,
    Unsubscribe, UserId,
};
use serde_json::{Value, value::to_raw_value};
use sqlx::PgConnection;

/// A command for the hub, and what kind of event it is to other readers of the log.
#[derive(Clone, Debug)]
pub struct Announcement {
    event_type: &'static str,
    command: Command,
}

/// What is left to do when the transaction has committed.
#[derive(Clone, Debug)]
#[must_use]
pub struct AfterCommit {
    /// The mode of the transaction.
    pub mode: Mode,
    /// Rows for a relay were left in the outbox: wake it.
    pub wake: bool,
    /// What the backend itself is to publish, in this order.
    pub publish: Vec<Command>,
}

impl Announcement {
    /// A line of a room, for everybody who is in it.
    pub fn line_added(line: TimelineEvent, epoch: Epoch) -> sqlx::Result<Self> {
        let event_type = match line.kind {
            Kind::Text => "message.text",
            Kind::Joined => "message.joined",
            Kind::Left => "message.left",
            Kind::Created => "message.created",
        };
        // As in SQL: what goes by two ways has a key by which the second is recognised.
        let key = (line.mode == Mode::ApiCdc).then(|| format!("{epoch}@{}", line.version));
        let version = Some((line.version, epoch));
        Self::publish(event_type, Channel::room(line.room), &ChatEvent::Message(line), version, key)
    }

    /// A read position that moved, for the user's own connections.
    pub fn read_moved(user: UserId, read: ReadEvent) -> sqlx::Result<Self> {
        // Nobody counts this channel: without a key a repeat would be delivered.
        let key = Some(format!("read@{}:{}", read.room, read.read_version));
        Self::publish("member.read", Channel::user(user), &ChatEvent::Read(read), None, key)
    }

    /// Every open connection of the user hears the room from here on.
    pub fn subscribe(room: RoomId, user: UserId) -> Self {
        let command = Command::Subscribe(Subscribe::new(user.to_string(), Channel::room(room)));
        Self { event_type: "member.subscribe", command }
    }

    /// No connection of the user hears the room any more.
    pub fn unsubscribe(room: RoomId, user: UserId) -> Self {
        let command = Command::Unsubscribe(Unsubscribe::new(user.to_string(), Channel::room(room)));
        Self { event_type: "member.unsubscribe", command }
    }

    /// What the hub is asked to do.
    pub fn into_command(self) -> Command {
        self.command
    }

    fn publish(
        event_type: &'static str,
        channel: Channel,
        event: &ChatEvent,
        version: Option<(Offset, Epoch)>,
        idempotency_key: Option<String>,
    ) -> sqlx::Result<Self> {
        let (version, version_epoch) = version.unzip();
        let data = to_raw_value(event).map_err(encode)?;
        let publish = Publish { version, version_epoch, idempotency_key, ..Publish::new(channel, data) };
        Ok(Self { event_type, command: Command::Publish(publish) })
    }
}

/// Announces, to be heard in this order: all that is about a room shares its partition.
///
/// `mode` is [`super::settings::broadcast_mode`] of the same transaction, asked before any lock was taken.
pub async fn append<const N: usize>(
    conn: &mut PgConnection,
    mode: Mode,
    room: RoomId,
    announcements: [Announcement; N],
) -> sqlx::Result<AfterCommit> {
    let mut columns: (Vec<String>, Vec<String>, Vec<Value>) = Default::default();
    let mut publish = Vec::with_capacity(N);
    let mut wake = mode == Mode::Outbox;
    for Announcement { event_type, command } in announcements {
        let (method, payload) = row(&command)?;
        wake |= mode == Mode::Api && !matches!(command, Command::Publish(_));
        columns.0.push(event_type.to_owned());
        columns.1.push(method.to_owned());
        columns.2.push(payload);
        publish.push(command);
    }
    sqlx::query!(
        "select announce($1, $2, row.event_type, row.method, row.payload)
           from (select * from unnest($3::text[], $4::text[], $5::jsonb[]) with ordinality
                     as rows (event_type, method, payload, n) order by n) row",
        mode.as_str(),
        room.0,
        &columns.0,
        &columns.1,
        &columns.2
    )
    .execute(conn)
    .await?;
    if !mode.is_direct() {
        publish.clear();
    }
    Ok(AfterCommit { mode, wake, publish })
}

/// A command as the two columns of a row.
fn row(command: &Command) -> sqlx::Result<(&'static str, Value)> {
    let (method, payload) = match command {
        Command::Publish(payload) => ("publish", serde_json::to_value(payload)),
        Command::Broadcast(payload) => ("broadcast", serde_json::to_value(payload)),
        Command::Subscribe(payload) => ("subscribe", serde_json::to_value(payload)),
        Command::Unsubscribe(payload) => ("unsubscribe", serde_json::to_value(payload)),
        Command::Refresh(payload) => ("refresh", serde_json::to_value(payload)),
        Command::HistoryRemove(payload) => ("history_remove", serde_json::to_value(payload)),
        Command::Disconnect(payload) => ("disconnect", serde_json::to_value(payload)),
    };
    Ok((method, payload.map_err(encode)?))
}

fn encode(error: serde_json::Error) -> sqlx::Error {
    sqlx::Error::Encode(error.into())
}

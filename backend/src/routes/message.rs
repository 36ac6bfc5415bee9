//! The description of a message. The message itself is `protocol::TimelineEvent`, as in publications and the backlog.

use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// One line of a room's timeline.
///
/// The same JSON as a publication's `data` (which has `type` beside it).
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used; a test compares it with the JSON of TimelineEvent")]
pub struct Message {
    /// Version of this format.
    schema: u16,
    /// The room.
    room: i64,
    /// Its name, as it was then; empty in lines from before it was kept.
    room_name: String,
    /// Place in the timeline, gapless from 1: the publication's offset.
    version: u64,
    /// What kind of line.
    #[schema(inline)]
    kind: Kind,
    /// Who wrote, joined, left or created.
    #[schema(inline)]
    author: Author,
    /// What was written; empty for the other kinds.
    text: String,
    /// The author's id of the message; absent for lines that nobody posted.
    client_id: Option<Uuid>,
    /// Members of the room after this line.
    members: i32,
    /// How many lines are texts, this one included.
    texts: i64,
    /// By which way the news of it travelled.
    #[schema(inline)]
    mode: BroadcastMode,
    /// Clock of the database.
    created_at: OffsetDateTime,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its description is used")]
enum Kind {
    Text,
    Joined,
    Left,
    Created,
}

/// By which way the news of a message travels.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its description is used")]
pub(super) enum BroadcastMode {
    Api,
    Outbox,
    Cdc,
    ApiCdc,
    Message,
    Wal,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
struct Author {
    /// Stable identity.
    id: i64,
    /// Name shown, as it was then.
    name: String,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use protocol::{ClientMessageId, Mode, Offset, RoomId, SCHEMA, TimelineEvent, UserId};
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_description_names_exactly_the_fields_of_the_json() {
        let event = TimelineEvent {
            schema: SCHEMA,
            room: RoomId(1),
            room_name: "one".to_owned(),
            version: Offset(1),
            kind: protocol::Kind::Text,
            author: protocol::Author { id: UserId(1), name: "A".to_owned() },
            text: "hi".to_owned(),
            client_id: Some(ClientMessageId(Uuid::nil())),
            members: 1,
            texts: 1,
            mode: Mode::Outbox,
            created_at: OffsetDateTime::UNIX_EPOCH,
        };
        let json = serde_json::to_value(event).unwrap();
        let api = serde_json::to_value(crate::openapi()).unwrap();
        let described = &api["components"]["schemas"]["Message"]["properties"];
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(described), keys(&json));
        assert_eq!(keys(&described["author"]["allOf"][0]["properties"]), keys(&json["author"]));
        let modes = &described["mode"]["allOf"][0]["enum"];
        assert_eq!(*modes, serde_json::to_value(Mode::ALL).unwrap(), "{described}");
    }
}

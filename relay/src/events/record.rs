//! A record of Kafka as an event.

use std::sync::Arc;

use protocol::Partition;
use rdkafka::{
    Message,
    message::{BorrowedMessage, Headers},
};

use super::sink::Event;
use crate::{letter_box::Letter, source::kafka::appended_at};

/// What a record is.
pub(super) enum Reading {
    Event(Event),
    /// It can be no event, for this reason.
    Poison(Event, String),
    /// A deletion, which is no event.
    Tombstone,
}

/// Reads a record of this topic.
pub(super) fn read(topic: &Arc<str>, record: &BorrowedMessage<'_>) -> Reading {
    let Some(payload) = record.payload() else { return Reading::Tombstone };
    let (id, event_type) = (header(record, "id"), header(record, "eventType"));
    let reason = match (&id, &event_type, std::str::from_utf8(payload)) {
        (None, ..) => Some("the record has no header \"id\"".to_owned()),
        (_, None, _) => Some("the record has no header \"eventType\"".to_owned()),
        (.., Err(error)) => Some(format!("the record is not text: {error}")),
        _ => None,
    };
    let event = Event {
        topic: Arc::clone(topic),
        partition: record.partition(),
        offset: record.offset(),
        id: id.unwrap_or_default(),
        event_type: event_type.unwrap_or_default(),
        payload: String::from_utf8_lossy(payload).into_owned(),
        appended_at: appended_at(record),
    };
    match reason {
        None => Reading::Event(event),
        Some(reason) => Reading::Poison(event, reason),
    }
}

fn header(record: &BorrowedMessage<'_>, name: &str) -> Option<String> {
    let header = record.headers()?.iter().find(|header| header.key == name)?;
    String::from_utf8(header.value?.to_vec()).ok()
}

/// What is put aside of an event. Its source is not the relay's `kafka:`, as no hub ever waits for it.
pub(super) fn letter(event: Event, reason: String) -> Letter {
    Letter {
        source: format!("events:{}/{}", event.topic, event.partition),
        source_id: event.offset,
        method: event.event_type,
        payload: event.payload,
        partition: Partition(0),
        reason,
        attempts: 1,
        created_at: event.appended_at,
    }
}

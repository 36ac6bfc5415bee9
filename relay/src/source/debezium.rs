//! What Debezium says about a row: reads the value of one Kafka record, in each shape that a connector can give it.
//!
//! - the row alone (`ExtractField$Value` with `after`, or `ExtractNewRecordState`);
//! - the envelope with `op`, `before` and `after`;
//! - a logical message: `message.content` in base64, or decoded by the connector and then under `after`;
//! - each of these inside `{"schema", "payload"}`, as a converter with schemas gives it.
//!
//! A payload is JSON inside a text (that is how Debezium renders jsonb) or JSON itself. Fields that nobody knows are
//! ignored, and so is whatever is no news: tombstones, deletions, updates, and snapshots of what was there before.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use protocol::{Mode, Partition, UnknownMode};
use serde::Deserialize;
use serde_json::value::RawValue;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::probe::Probe;

/// Only logical messages with such a prefix are ours; the partition follows.
pub(crate) const MESSAGE_PREFIX: &str = "roomcast.";

/// What a record says.
#[derive(Debug, PartialEq)]
pub(crate) enum Reading {
    Row(Announcement),
    /// Asks for nothing: it only shows that the way works.
    Probe(Probe),
    /// No news; the word is for a counter.
    Ignored(&'static str),
}

/// A row of `chat_cdc`, or the logical message that stands for one.
#[derive(Debug, PartialEq)]
pub(crate) struct Announcement {
    pub method: String,
    pub payload: String,
    pub partition: Partition,
    pub mode: Option<Mode>,
    pub created_at: Option<OffsetDateTime>,
}

/// Why a record is not a row, although it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the record is not JSON of a known shape: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("the content of the logical message is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error("the row has no {0}")]
    Missing(&'static str),
    #[error(transparent)]
    Mode(#[from] UnknownMode),
    #[error("the record is wrapped too often")]
    Nested,
}

/// All fields of all shapes; which are there tells the shape.
#[derive(Deserialize)]
struct Record<'a> {
    schema: Option<serde::de::IgnoredAny>,
    #[serde(borrow)]
    op: Option<Cow<'a, str>>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow, rename = "__op")]
    flat_op: Option<Cow<'a, str>>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    partition: Option<i16>,
    #[serde(borrow)]
    mode: Option<Cow<'a, str>>,
    #[serde(borrow)]
    created_at: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    prefix: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

/// Reads the value of a record; `None` is Kafka's tombstone.
pub(crate) fn read(value: Option<&[u8]>) -> Result<Reading, Unreadable> {
    match value {
        None | Some([]) => Ok(Reading::Ignored("tombstone")),
        Some(value) => unwrap(value, 0),
    }
}

/// `depth` counts what was unwrapped: a schema, an envelope and a message are all there can be.
fn unwrap(value: &[u8], depth: u8) -> Result<Reading, Unreadable> {
    if depth > 3 {
        return Err(Unreadable::Nested);
    }
    let Some(record) = serde_json::from_slice::<Option<Record<'_>>>(value)? else {
        return Ok(Reading::Ignored("tombstone"));
    };
    if record.schema.is_some() && record.method.is_none() {
        return record
            .payload
            .map_or(Ok(Reading::Ignored("tombstone")), |inner| unwrap(inner.get().as_bytes(), depth + 1));
    }
    match record.op.as_deref().or(record.flat_op.as_deref()) {
        Some("d") => Ok(Reading::Ignored("delete")),
        Some("u") => Ok(Reading::Ignored("update")),
        Some("r") => Ok(Reading::Ignored("snapshot")),
        Some("t") => Ok(Reading::Ignored("truncate")),
        _ => match record {
            Record { message: Some(message), after: None, .. } => message.unwrap(depth),
            Record { after: Some(after), .. } => unwrap(text(after)?.as_bytes(), depth + 1),
            Record { op: Some(_), .. } => Err(Unreadable::Missing("after")),
            row => row.into_row(),
        },
    }
}

impl Message<'_> {
    fn unwrap(self, depth: u8) -> Result<Reading, Unreadable> {
        if self.prefix.is_some_and(|prefix| !prefix.starts_with(MESSAGE_PREFIX)) {
            return Ok(Reading::Ignored("foreign message"));
        }
        let content = text(self.content.ok_or(Unreadable::Missing("content"))?)?;
        if content.trim_start().starts_with('{') {
            return unwrap(content.as_bytes(), depth + 1);
        }
        unwrap(&BASE64_STANDARD.decode(content.as_bytes())?, depth + 1)
    }
}

impl Record<'_> {
    fn into_row(self) -> Result<Reading, Unreadable> {
        let method = self.method.ok_or(Unreadable::Missing("method"))?.into_owned();
        let payload = text(self.payload.ok_or(Unreadable::Missing("payload"))?)?.into_owned();
        if let Some(probe) = Probe::of(&method, &payload) {
            return Ok(Reading::Probe(probe?));
        }
        Ok(Reading::Row(Announcement {
            method,
            payload,
            partition: Partition(self.partition.unwrap_or(0)),
            mode: self.mode.map(|mode| mode.parse()).transpose()?,
            created_at: self.created_at.and_then(|at| OffsetDateTime::parse(&text(at).ok()?, &Rfc3339).ok()),
        }))
    }
}

/// JSON, or what stands in a JSON text.
fn text(value: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    if value.get().starts_with('"') {
        Ok(Cow::Owned(serde_json::from_str(value.get())?))
    } else {
        Ok(value.get().into())
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::probe::Way;

    /// As it came from Debezium 3.7 through `ExtractField$Value`: jsonb is a text.
    const ROW: &str = r#"{"id":17,"method":"publish","payload":"{\"data\": {\"text\": \"hi\"}, \"channel\": \"room:7\"}",
        "partition":7,"created_at":"2026-11-22T10:11:12.345678Z","aggregate_type":"room","aggregate_id":"7",
        "event_type":"message.text","event_id":"3ac5e0a0-9df4-4e9c-a5b4-7d3e0f0f6d4e","mode":"cdc"}"#;

    fn announced(value: &str) -> Announcement {
        match read(Some(value.as_bytes())) {
            Ok(Reading::Row(row)) => row,
            other => panic!("{other:?}"),
        }
    }

    fn ignored(value: &str) -> &'static str {
        match read(Some(value.as_bytes())) {
            Ok(Reading::Ignored(kind)) => kind,
            other => panic!("{other:?}"),
        }
    }

    fn refused(value: &str) -> String {
        read(Some(value.as_bytes())).unwrap_err().to_string()
    }

    fn envelope(op: &str, after: &str) -> String {
        format!(r#"{{"before":null,"after":{after},"source":{{"lsn":24,"table":"chat_cdc"}},"op":"{op}","ts_ms":1}}"#)
    }

    fn message(prefix: &str, content: &str) -> String {
        format!(
            r#"{{"op":"m","ts_ms":1,"source":{{"lsn":24,"txId":9}},"message":{{"prefix":"{prefix}","content":{content}}}}}"#
        )
    }

    #[test]
    fn a_row_alone_with_its_payload_as_text() {
        let row = announced(ROW);
        assert_eq!((row.method.as_str(), row.partition, row.mode), ("publish", Partition(7), Some(Mode::Cdc)));
        assert_eq!(row.payload, r#"{"data": {"text": "hi"}, "channel": "room:7"}"#);
        assert_eq!(row.created_at, Some(datetime!(2026-11-22 10:11:12.345678 UTC)));
        protocol::Command::parse(&row.method, &row.payload).unwrap();
    }

    #[test]
    fn the_same_row_in_an_envelope_and_with_schemas() {
        let row = announced(ROW);
        assert_eq!(announced(&envelope("c", ROW)), row);
        let with_schema = |inner: &str| format!(r#"{{"schema":{{"type":"struct","fields":[]}},"payload":{inner}}}"#);
        assert_eq!(announced(&with_schema(ROW)), row);
        assert_eq!(announced(&with_schema(&envelope("c", ROW))), row);
        assert_eq!(announced(&ROW.replacen("\"id\":17", "\"id\":17,\"__op\":\"c\",\"__deleted\":\"false\"", 1)), row);
    }

    #[test]
    fn a_payload_may_be_json_itself_and_is_not_rewritten() {
        let row = announced(r#"{"method":"publish","payload":{ "b":1, "a" : [1.50] },"new_column":{"x":[]}}"#);
        assert_eq!(row.payload, r#"{ "b":1, "a" : [1.50] }"#);
        assert_eq!((row.partition, row.mode, row.created_at), (Partition(0), None, None));
    }

    #[test]
    fn a_logical_message_in_base64_and_decoded() {
        let content = r#"{"method":"publish","payload":{"channel":"room:3","data":1},"partition":3,
            "created_at":"2026-11-22T10:11:12.345678+00:00","mode":"message"}"#;
        let base64 = format!("\"{}\"", BASE64_STANDARD.encode(content));
        let row = announced(&message("roomcast.3", &base64));
        assert_eq!((row.partition, row.mode), (Partition(3), Some(Mode::Message)));
        assert_eq!(row.payload, r#"{"channel":"room:3","data":1}"#);
        assert_eq!(announced(&envelope("c", content)), row, "as DecodeLogicalDecodingMessageContent leaves it");
        assert_eq!(announced(&message("roomcast.3", content)), row);
        assert_eq!(announced(&message("roomcast.3", &serde_json::to_string(content).unwrap())), row);
        assert_eq!(ignored(&message("somebody.else", "\"aGk=\"")), "foreign message");
    }

    #[test]
    fn a_probe_is_recognised_in_a_row_and_in_a_message() {
        let content = r#"{"method":"refresh","payload":{"user":"roomcast.probe","client":"roomcast.probe","probe":"WAY",
            "sent_at":"2026-11-22T10:11:12.345678+00:00"}}"#;
        recognised(content);
        assert!(matches!(read(Some(br#"{"method":"refresh","payload":{"user":"7"}}"#)), Ok(Reading::Row(_))));
        // As they were sent before migration 17, and may still stand in the topics.
        recognised(r#"{"method":"probe","payload":{"probe":"WAY","sent_at":"2026-11-22T10:11:12.345678+00:00"}}"#);
    }

    fn recognised(content: &str) {
        let sent_at = datetime!(2026-11-22 10:11:12.345678 UTC);
        let read = |value: &str| read(Some(value.as_bytes())).unwrap();
        let row = content.replace("WAY", "cdc");
        assert_eq!(read(&row), Reading::Probe(Probe { way: Way::Cdc, sent_at }));
        assert_eq!(read(&envelope("c", &row)), Reading::Probe(Probe { way: Way::Cdc, sent_at }));
        let base64 = format!("\"{}\"", BASE64_STANDARD.encode(content.replace("WAY", "message")));
        assert_eq!(read(&message("roomcast.0", &base64)), Reading::Probe(Probe { way: Way::Message, sent_at }));
        assert!(refused(&content.replace("WAY", "pigeon")).contains("unknown variant `pigeon`"));
    }

    #[test]
    fn what_is_no_news_is_ignored() {
        assert!(matches!(read(None), Ok(Reading::Ignored("tombstone"))));
        assert!(matches!(read(Some(b"")), Ok(Reading::Ignored("tombstone"))));
        assert_eq!(ignored("null"), "tombstone");
        assert_eq!(ignored(r#"{"schema":null,"payload":null}"#.replacen("null", "{}", 1).as_str()), "tombstone");
        assert_eq!(ignored(r#"{"before":{"id":1},"after":null,"op":"d"}"#), "delete");
        assert_eq!(ignored(r#"{"id":1,"method":null,"__op":"d","__deleted":"true"}"#), "delete");
        assert_eq!(ignored(&envelope("r", ROW)), "snapshot");
        assert_eq!(ignored(&envelope("u", ROW)), "update");
        assert_eq!(ignored(r#"{"op":"t","source":{}}"#), "truncate");
    }

    #[test]
    fn what_can_not_be_read_says_why() {
        assert!(refused("{\"method\":\"publish\",").contains("EOF while parsing"));
        assert!(refused("[1]").contains("not JSON of a known shape"));
        assert!(refused(r#"{"payload":"{}"}"#).contains("no method"));
        assert!(refused(r#"{"method":"publish","payload":null}"#).contains("no payload"));
        assert!(refused(r#"{"method":"publish","payload":"{}","mode":"pigeon"}"#).contains("unknown mode \"pigeon\""));
        assert!(refused(r#"{"method":"publish","payload":"{}","partition":99999}"#).contains("i16"));
        assert!(refused(&message("roomcast.1", "\"not base64!\"")).contains("not base64"));
        assert!(refused(&message("roomcast.1", "\"aGk=\"")).contains("not JSON of a known shape"));
        assert!(refused(r#"{"op":"c","after":null}"#).contains("no after"));
        let nested = r#"{"op":"c","after":"#.repeat(9) + "1" + &"}".repeat(9);
        assert!(refused(&nested).contains("too often"));
    }
}

//! The newest lines of a room for a page without JavaScript. The client draws the same with more detail
//! (`client/src/rows.ts`), in the reader's own time zone.

use protocol::{Kind, Mode, Offset, TimelineEvent, UserId};
use time::{Duration, OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339, macros::format_description};

use super::face::Face;

const GROUP: Duration = Duration::minutes(5);

/// What the template draws, in order.
pub(crate) enum Row {
    Day { words: String },
    Unread,
    Quiet { words: String },
    Text { line: Line },
}

/// What somebody wrote.
pub(crate) struct Line {
    pub(crate) version: Offset,
    pub(crate) author: String,
    pub(crate) face: Face,
    pub(crate) text: String,
    /// RFC 3339.
    pub(crate) time: String,
    /// Hours and minutes, UTC: the reader's time zone is known to the client only.
    pub(crate) clock: String,
    pub(crate) own: bool,
    /// The first of its author's group.
    pub(crate) first: bool,
    /// By which way its news travelled.
    pub(crate) mode: Mode,
    /// Another way than that of the text before: its word shows.
    pub(crate) named: bool,
}

/// Days (UTC), the unread line, groups by author.
pub(crate) fn rows(messages: &[TimelineEvent], me: UserId, unread_from: Option<Offset>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut previous: Option<&TimelineEvent> = None;
    let mut unread_from = unread_from;
    let mut mode = None;
    for message in messages {
        if previous.is_none_or(|previous| previous.created_at.date() != message.created_at.date()) {
            rows.push(Row::Day { words: day(message.created_at) });
        }
        if unread_from.is_some_and(|from| message.version >= from) {
            unread_from = None;
            rows.push(Row::Unread);
        }
        rows.push(row(message, previous, mode, me));
        if message.kind == Kind::Text {
            mode = Some(message.mode);
        }
        previous = Some(message);
    }
    rows
}

fn row(message: &TimelineEvent, previous: Option<&TimelineEvent>, before: Option<Mode>, me: UserId) -> Row {
    let name = if message.author.id == me { "You" } else { &message.author.name };
    match message.kind {
        Kind::Joined => Row::Quiet { words: format!("{name} joined") },
        Kind::Left => Row::Quiet { words: format!("{name} left") },
        Kind::Created => Row::Quiet { words: format!("{name} created the room") },
        Kind::Text => Row::Text {
            line: Line {
                version: message.version,
                author: message.author.name.clone(),
                face: Face::new(message.author.id, &message.author.name),
                text: message.text.clone(),
                time: message.created_at.format(&Rfc3339).unwrap_or_default(),
                clock: clock(message.created_at),
                own: message.author.id == me,
                first: previous.is_none_or(|previous| !same_group(previous, message)),
                mode: message.mode,
                named: before != Some(message.mode),
            },
        },
    }
}

fn same_group(previous: &TimelineEvent, message: &TimelineEvent) -> bool {
    previous.kind == Kind::Text
        && previous.author.id == message.author.id
        && previous.created_at.date() == message.created_at.date()
        && message.created_at - previous.created_at < GROUP
}

/// Hours and minutes, UTC.
pub(crate) fn clock(at: OffsetDateTime) -> String {
    at.to_offset(UtcOffset::UTC).format(format_description!("[hour]:[minute]")).unwrap_or_default()
}

fn day(at: OffsetDateTime) -> String {
    at.format(format_description!("[day padding:none] [month repr:long] [year]")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use protocol::{Author, RoomId, SCHEMA};
    use time::macros::datetime;

    use super::*;

    fn line(version: u64, author: i64, kind: Kind, created_at: OffsetDateTime) -> TimelineEvent {
        TimelineEvent {
            schema: SCHEMA,
            room: RoomId(1),
            room_name: "one".to_owned(),
            version: Offset(version),
            kind,
            author: Author { id: UserId(author), name: format!("user {author}") },
            text: "hi".to_owned(),
            client_id: None,
            members: 2,
            texts: 1,
            mode: Mode::Outbox,
            created_at,
        }
    }

    fn shape(rows: &[Row]) -> Vec<String> {
        let word = |row: &Row| match row {
            Row::Day { words } | Row::Quiet { words } => words.clone(),
            Row::Unread => "unread".to_owned(),
            Row::Text { line } => format!("{}{}", line.version, if line.first { " first" } else { "" }),
        };
        rows.iter().map(word).collect()
    }

    #[test]
    fn lines_are_grouped_by_author_within_five_minutes_and_by_day() {
        let messages = [
            line(1, 2, Kind::Created, datetime!(2026-11-21 12:00 UTC)),
            line(2, 2, Kind::Text, datetime!(2026-11-21 12:00 UTC)),
            line(3, 2, Kind::Text, datetime!(2026-11-21 12:04:59 UTC)),
            line(4, 2, Kind::Text, datetime!(2026-11-21 12:10 UTC)),
            line(5, 1, Kind::Text, datetime!(2026-11-22 00:01 UTC)),
        ];
        let shown = shape(&rows(&messages, UserId(1), Some(Offset(5))));
        let expected = [
            "21 November 2026",
            "user 2 created the room",
            "2 first",
            "3",
            "4 first",
            "22 November 2026",
            "unread",
            "5 first",
        ];
        assert_eq!(shown, expected);
    }
}

//! Where a page of a list ended: the key of its last row, opaque to clients. Rows that move meanwhile shift no page.

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use protocol::RoomId;
use time::OffsetDateTime;

/// The text is not a cursor that this server gave.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this list")]
pub struct CursorError;

/// The end of a page of rooms in order of activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByActivity {
    /// Last activity of the last room.
    pub bumped_at: OffsetDateTime,
    /// The last room.
    pub room: RoomId,
}

impl fmt::Display for ByActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.bumped_at.unix_timestamp_nanos() / 1_000, self.room)
    }
}

impl FromStr for ByActivity {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (micros, room) = text.split_once('.').ok_or(CursorError)?;
        let micros: i64 = micros.parse().map_err(|_| CursorError)?;
        Ok(Self {
            bumped_at: OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
                .map_err(|_| CursorError)?,
            room: room.parse().map_err(|_| CursorError)?,
        })
    }
}

/// The end of a page of rooms in alphabetical order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByName(pub String);

impl fmt::Display for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl FromStr for ByName {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let name = String::from_utf8(bytes).map_err(|_| CursorError)?;
        if name.contains('\0') { Err(CursorError) } else { Ok(Self(name)) }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_cursor_survives_the_way_to_the_client_and_back() {
        let activity = ByActivity { bumped_at: datetime!(2026-11-22 11:38:46.693358 UTC), room: RoomId(7) };
        assert_eq!(activity.to_string().parse(), Ok(activity));
        let name = ByName("Zürich/№1".to_owned());
        assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "7", "x.7", "7.x", "99999999999999999999.1", "9223372036854775807.1"] {
            assert_eq!(text.parse::<ByActivity>(), Err(CursorError), "{text}");
        }
        assert_eq!("%%".parse::<ByName>(), Err(CursorError));
        assert_eq!("AA".parse::<ByName>(), Err(CursorError), "a NUL byte would fail in PostgreSQL");
    }
}

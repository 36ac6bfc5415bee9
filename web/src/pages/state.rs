//! What the client starts from: the same data that the page was drawn from, as JSON in a script element that no
//! browser runs.

use std::collections::BTreeMap;

use backend::{
    CurrentUser,
    store::{
        rooms::{Room, Rooms},
        timeline,
    },
};
use protocol::{ModeEvent, RoomId, TimelineEvent, UserId};
use serde::Serialize;

#[derive(Serialize)]
struct Me<'a> {
    id: UserId,
    username: &'a str,
    name: &'a str,
    is_admin: bool,
}

#[derive(Serialize)]
struct Page<'a> {
    messages: &'a [TimelineEvent],
    has_more: bool,
}

#[derive(Serialize)]
struct PageState<'a> {
    me: Me<'a>,
    seat: Option<&'a str>,
    hub_url: Option<&'a str>,
    mode: &'a ModeEvent,
    rooms: &'a [Room],
    next_rooms: Option<&'a str>,
    unread: &'a BTreeMap<RoomId, i64>,
    room: Option<&'a Room>,
    page: Option<Page<'a>>,
}

/// What goes into the script element.
pub(crate) struct Start<'a> {
    pub(crate) user: &'a CurrentUser,
    pub(crate) seat: Option<&'a str>,
    pub(crate) hub_url: Option<&'a str>,
    pub(crate) mode: &'a ModeEvent,
    pub(crate) rooms: &'a Rooms,
    pub(crate) unread: &'a BTreeMap<RoomId, i64>,
    pub(crate) room: Option<&'a Room>,
    pub(crate) page: Option<&'a timeline::Page>,
}

impl Start<'_> {
    /// The JSON, safe inside an element.
    pub(crate) fn json(&self) -> Result<String, serde_json::Error> {
        let state = PageState {
            me: Me {
                id: self.user.id,
                username: &self.user.username,
                name: &self.user.name,
                is_admin: self.user.is_admin,
            },
            seat: self.seat,
            hub_url: self.hub_url,
            mode: self.mode,
            rooms: &self.rooms.rooms,
            next_rooms: self.rooms.next_cursor.as_deref(),
            unread: self.unread,
            room: self.room,
            page: self.page.map(|page| Page { messages: &page.messages, has_more: page.has_more }),
        };
        serde_json::to_string(&state).map(|json| inside_script(&json))
    }
}

/// No text can end the element or open a comment: outside strings JSON has no `<`, inside them this is the same letter.
fn inside_script(json: &str) -> String {
    json.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_end_the_script_element() {
        let text = "</script><script>alert(1)</script><!--";
        let json = inside_script(&serde_json::to_string(text).unwrap());
        assert!(!json.contains('<'), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}

//! The chat: my rooms, the timeline of one of them, and the rooms that one may join. One page with four places; the
//! client moves between them without loading another.

use std::collections::BTreeMap;

use askama::Template;
use askama_web::WebTemplate;
use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    http::header,
    response::{IntoResponse, Response},
};
use backend::{
    ApiError, CurrentUser,
    store::{
        self,
        cursor::ByActivity,
        rooms::{Room, Rooms},
    },
};
use protocol::{Kind, Mode, ModeEvent, RoomId};
use serde::Deserialize;
use time::format_description::well_known::Rfc3339;

use super::{
    Frame, counted, error::PageError, face::Face, mark, state::Start, timeline, timeline::Row, visitor::Visitor,
};
use crate::WebState;

/// Rooms on a page. The client asks for more where its reader scrolls; without it there is a link to the next page.
const ROOMS: u32 = 40;
/// Characters that the list shows of the last line. The page holds no more of it, however long the line is.
const LAST_WORDS: usize = 120;
const LINES: u32 = 80;
const FOUND: u32 = 50;

#[derive(Template, WebTemplate)]
#[template(path = "chat.html")]
struct ChatPage {
    frame: Frame,
    title: String,
    place: &'static str,
    mode: Mode,
    me: Me,
    rooms: Vec<Item>,
    /// Where the list goes on, and where it begins if this is not its beginning.
    more_rooms: Option<String>,
    first_rooms: Option<String>,
    room_name: String,
    room_members: String,
    lines: Vec<Row>,
    query: String,
    found: Vec<Found>,
    state: String,
}

struct Me {
    username: String,
    name: String,
    face: Face,
    is_admin: bool,
}

/// A room in the list of mine.
struct Item {
    id: RoomId,
    name: String,
    mark: String,
    href: String,
    time: String,
    clock: String,
    last: String,
    unread: i64,
    open: bool,
}

/// A room that one may join.
struct Found {
    name: String,
    mark: String,
    members: String,
}

/// What is opened.
enum Place {
    Welcome,
    Room(RoomId),
    Discover(String),
}

/// Where the list of my rooms begins: `?rooms=` and the end of the page before. What is no cursor is the first page.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct List {
    rooms: String,
}

type ListQuery = Result<Query<List>, QueryRejection>;

fn cursor(list: ListQuery) -> Option<ByActivity> {
    list.ok().and_then(|Query(list)| list.rooms.parse().ok())
}

/// `/`
pub(crate) async fn welcome(State(state): State<WebState>, visitor: Visitor, list: ListQuery) -> Response {
    chat(&state, visitor, Place::Welcome, cursor(list)).await
}

/// `/rooms/{room}`: a member sees the timeline, everybody else is asked to join.
pub(crate) async fn room(
    State(state): State<WebState>,
    visitor: Visitor,
    Path(room): Path<String>,
    list: ListQuery,
) -> Response {
    match room.parse() {
        Ok(room) => chat(&state, visitor, Place::Room(room), cursor(list)).await,
        Err(_) => PageError::NotFound.page(visitor.frame),
    }
}

#[derive(Deserialize)]
pub(crate) struct Search {
    #[serde(default)]
    q: String,
}

/// `/discover`
pub(crate) async fn discover(
    State(state): State<WebState>,
    visitor: Visitor,
    search: Result<Query<Search>, QueryRejection>,
    list: ListQuery,
) -> Response {
    let query = search.map(|Query(search)| search.q.trim().replace('\0', "")).unwrap_or_default();
    chat(&state, visitor, Place::Discover(query), cursor(list)).await
}

async fn chat(
    state: &WebState,
    Visitor { user, frame }: Visitor,
    place: Place,
    rooms_after: Option<ByActivity>,
) -> Response {
    let seen = read(state, &user, place, rooms_after).await;
    match seen.and_then(|seen| Ok((json(state, &user, &frame, &seen)?, seen))) {
        Ok((json, seen)) => ([(header::CACHE_CONTROL, "no-store")], draw(&user, frame, &seen, json)).into_response(),
        Err(error) => error.page(frame),
    }
}

/// What the page shows, as it was in one moment.
struct Seen {
    mode: ModeEvent,
    /// A page of my rooms, and where the next begins.
    rooms: Rooms,
    /// Whether it is the first page.
    rooms_first: bool,
    /// Unread texts of all my rooms.
    unread: BTreeMap<RoomId, i64>,
    room: Option<Room>,
    page: Option<store::timeline::Page>,
    found: Option<(String, Vec<Room>)>,
}

async fn read(
    state: &WebState,
    user: &CurrentUser,
    place: Place,
    rooms_after: Option<ByActivity>,
) -> Result<Seen, PageError> {
    let current = backend::mode::get(&state.api.db).await.map_err(ApiError::from)?;
    let mut conn = state.api.db.acquire().await.map_err(ApiError::from)?;
    let (mut room, mut page, mut found) = (None, None, None);
    match place {
        Place::Welcome => {}
        Place::Room(id) => {
            let known =
                store::rooms::get(&mut conn, id, user.id).await.map_err(ApiError::from)?.ok_or(PageError::NotFound)?;
            if known.is_member {
                page = Some(store::timeline::page(&mut conn, id, None, None, LINES).await.map_err(ApiError::from)?);
            }
            room = Some(known);
        }
        Place::Discover(query) => {
            let rooms =
                store::rooms::discover(&mut conn, user.id, &query, FOUND, None).await.map_err(ApiError::from)?;
            found = Some((query, rooms.rooms));
        }
    }
    let mut rooms =
        store::rooms::mine(&mut conn, user.id, "", ROOMS, rooms_after.as_ref()).await.map_err(ApiError::from)?;
    for last in rooms.rooms.iter_mut().filter_map(|room| room.last_message.as_mut()) {
        if let Some((end, _)) = last.text.char_indices().nth(LAST_WORDS) {
            last.text.truncate(end);
        }
    }
    let unread = store::rooms::unread(&mut conn, user.id).await.map_err(ApiError::from)?;
    let mode = ModeEvent { mode: current.mode, changed_at: current.changed_at };
    Ok(Seen { mode, rooms, rooms_first: rooms_after.is_none(), unread, room, page, found })
}

/// The same for the client to start from.
fn json(state: &WebState, user: &CurrentUser, frame: &Frame, seen: &Seen) -> Result<String, PageError> {
    let start = Start {
        user,
        seat: frame.seat.as_deref(),
        hub_url: state.hub_url.as_deref(),
        mode: &seen.mode,
        rooms: &seen.rooms,
        unread: &seen.unread,
        room: seen.room.as_ref(),
        page: seen.page.as_ref(),
    };
    start.json().map_err(|error| ApiError::internal(error).into())
}

fn draw(user: &CurrentUser, frame: Frame, seen: &Seen, state: String) -> ChatPage {
    let Seen { mode, rooms, rooms_first, unread: _, room, page, found } = seen;
    let unread_from = room.as_ref().filter(|room| room.unread.unwrap_or(0) > 0).and_then(|room| room.read_version);
    let place = match (room, page, found) {
        (_, Some(_), _) => "room",
        (Some(_), None, _) => "stranger",
        (None, None, Some(_)) => "discover",
        (None, None, None) => "welcome",
    };
    let open = room.as_ref().map(|room| room.id);
    ChatPage {
        title: match room {
            Some(room) => room.name.clone(),
            None => (if found.is_some() { "Discover" } else { "Rooms" }).to_owned(),
        },
        place,
        mode: mode.mode,
        me: Me {
            username: user.username.clone(),
            name: user.name.clone(),
            face: Face::new(user.id, &user.name),
            is_admin: user.is_admin,
        },
        more_rooms: rooms.next_cursor.as_ref().map(|next| list_href(&frame, place, open, Some(next))),
        first_rooms: (!rooms_first).then(|| list_href(&frame, place, open, None)),
        rooms: rooms.rooms.iter().map(|room| item(room, user, &frame, open)).collect(),
        room_name: room.as_ref().map(|room| room.name.clone()).unwrap_or_default(),
        room_members: room.as_ref().map(|room| counted(room.member_count.into(), "member")).unwrap_or_default(),
        lines: page
            .as_ref()
            .map(|page| timeline::rows(&page.messages, user.id, unread_from.map(protocol::Offset::next)))
            .unwrap_or_default(),
        query: found.as_ref().map(|(query, _)| query.clone()).unwrap_or_default(),
        found: found.iter().flat_map(|(_, rooms)| rooms).map(found_item).collect(),
        state,
        frame,
    }
}

fn item(room: &Room, user: &CurrentUser, frame: &Frame, open: Option<RoomId>) -> Item {
    Item {
        id: room.id,
        name: room.name.clone(),
        mark: mark(&room.name),
        href: frame.href(&format!("/rooms/{}", room.id)),
        time: room.bumped_at.format(&Rfc3339).unwrap_or_default(),
        clock: timeline::clock(room.bumped_at),
        last: last_words(room, user),
        unread: room.unread.unwrap_or(0),
        open: open == Some(room.id),
    }
}

/// The same place with another page of the list.
fn list_href(frame: &Frame, place: &str, open: Option<RoomId>, cursor: Option<&str>) -> String {
    let path = match open {
        Some(room) => format!("/rooms/{room}"),
        None => (if place == "discover" { "/discover" } else { "/" }).to_owned(),
    };
    let href = frame.href(&path);
    match cursor {
        Some(cursor) => format!("{href}{}rooms={cursor}", if href.contains('?') { '&' } else { '?' }),
        None => href,
    }
}

fn last_words(room: &Room, user: &CurrentUser) -> String {
    let Some(last) = &room.last_message else { return "No message yet".to_owned() };
    let name = if last.author.id == user.id { "You" } else { &last.author.name };
    match last.kind {
        Kind::Text => format!("{name}: {}", last.text.chars().take(LAST_WORDS).collect::<String>()),
        Kind::Joined => format!("{name} joined"),
        Kind::Left => format!("{name} left"),
        Kind::Created => format!("{name} created the room"),
    }
}

fn found_item(room: &Room) -> Found {
    Found { name: room.name.clone(), mark: mark(&room.name), members: counted(room.member_count.into(), "member") }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use protocol::{Author, Offset, SCHEMA, TimelineEvent, UserId};
    use time::OffsetDateTime;

    use super::*;

    const EVIL: &str = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"'&";

    fn seen() -> Seen {
        let line = TimelineEvent {
            schema: SCHEMA,
            room: RoomId(1),
            room_name: "one".to_owned(),
            version: Offset(2),
            kind: Kind::Text,
            author: Author { id: UserId(2), name: EVIL.to_owned() },
            text: EVIL.to_owned(),
            client_id: None,
            members: 2,
            texts: 1,
            mode: Mode::Outbox,
            created_at: OffsetDateTime::UNIX_EPOCH,
        };
        let room = Room {
            id: RoomId(1),
            name: EVIL.to_owned(),
            version: Offset(2),
            epoch: "abcdefgh".into(),
            texts: 1,
            member_count: 2,
            bumped_at: OffsetDateTime::UNIX_EPOCH,
            created_at: OffsetDateTime::UNIX_EPOCH,
            is_member: true,
            read_version: Some(Offset(1)),
            unread: Some(1),
            last_message: Some(line.clone()),
        };
        let page = store::timeline::Page { messages: vec![line], has_more: false };
        let mode = ModeEvent { mode: Mode::Wal, changed_at: OffsetDateTime::UNIX_EPOCH };
        let rooms = Rooms { rooms: vec![room.clone()], next_cursor: Some("7.1".to_owned()) };
        let unread = BTreeMap::from([(RoomId(1), 1)]);
        Seen { mode, rooms, rooms_first: true, unread, room: Some(room), page: Some(page), found: None }
    }

    fn drawn(seen: &Seen, seat: Option<&str>) -> String {
        let user = CurrentUser { id: UserId(1), username: "eve".to_owned(), name: EVIL.to_owned(), is_admin: false };
        let frame = Frame::new(&HeaderMap::new(), seat);
        let start = Start {
            user: &user,
            seat,
            hub_url: None,
            mode: &seen.mode,
            rooms: &seen.rooms,
            unread: &seen.unread,
            room: seen.room.as_ref(),
            page: seen.page.as_ref(),
        };
        draw(&user, frame, seen, start.json().unwrap()).render().unwrap()
    }

    #[test]
    fn what_people_write_is_never_markup() {
        let page = drawn(&seen(), None);
        assert!(!page.contains("<script>alert"), "{page}");
        assert!(!page.contains("<img src=x"), "{page}");
        assert_eq!(page.matches("</script>").count(), 2, "the client and the state, nothing else");
        assert!(page.contains("&#60;script&#62;alert(1)") || page.contains("&lt;script&gt;alert(1)"), "{page}");
    }

    #[test]
    fn a_page_has_nothing_inline_that_the_policy_would_refuse() {
        let page = drawn(&seen(), None);
        let inert = page.replace(" onerror=alert(2)", "");
        assert!(!inert.contains(" style=") && !inert.contains("<style"), "no inline style");
        assert!(!inert.contains(" onclick=") && !inert.contains(" onload="), "no inline handler");
        assert!(!page.contains("http://") && !page.contains("https://"), "nothing from elsewhere");
    }

    #[test]
    fn links_stay_with_the_person_of_the_seat() {
        let page = drawn(&seen(), Some("bob"));
        assert!(page.contains(r#"href="/rooms/1?seat=bob""#), "{page}");
        assert!(page.contains(r#"href="/discover?seat=bob""#), "{page}");
        assert!(page.contains(r#"href="/rooms/1?seat=bob&#38;rooms=7.1""#), "{page}");
    }

    #[test]
    fn without_javascript_the_newest_lines_and_the_unread_line_are_there() {
        let page = drawn(&seen(), None);
        assert!(page.contains(r#"class="unread""#) && page.contains(r#"data-version="2""#), "{page}");
        assert!(page.contains(r#"data-place="room""#));
    }
}

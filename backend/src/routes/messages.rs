//! `GET /api/rooms/{room_id}/messages`, `POST /api/rooms/{room_id}/messages`.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{
    extract::State,
    http::{HeaderName, StatusCode},
    response::IntoResponse,
};
use protocol::{ClientMessageId, Mode, Offset, TimelineEvent};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    AnyProblem,
    form::{self, Invalid},
    membership::require_member,
    message::{BroadcastMode, Message},
};
use crate::{
    ApiError, ApiState, CurrentUser,
    extract::{Json, Query, RoomPath},
    poster::{MessageText, NewPost, Outcome},
    store,
};

/// When the commit's acknowledgement reached the backend, in microseconds since 1970: where the way of a message to
/// the browsers begins.
const COMMITTED_AT: HeaderName = HeaderName::from_static("roomcast-committed-at");

const NO_CHOICE: &str = "cannot be chosen by a request here";

/// A message to be.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewMessage {
    /// 1 to 4000 characters; line breaks stay.
    #[serde(default)]
    text: String,
    /// Chosen by the author: the same again is the same message.
    #[schema(value_type = uuid::Uuid)]
    client_id: Option<ClientMessageId>,
    /// By which way its news shall travel, where the deployment lets requests choose; the database's mode unless told.
    #[schema(inline, value_type = Option<BroadcastMode>)]
    mode: Option<Mode>,
}

/// Which part of the timeline.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Window {
    /// Lines before this version; the newest unless told.
    #[param(value_type = Option<u64>)]
    before: Option<Offset>,
    /// Lines after this version, the oldest of them first in line: what a client missed.
    #[param(value_type = Option<u64>)]
    after: Option<Offset>,
    /// At most 100, 50 unless told.
    limit: Option<u32>,
}

/// A page of a timeline.
#[derive(Serialize, ToSchema)]
pub(super) struct Messages {
    /// Ascending by version.
    #[schema(value_type = Vec<Message>)]
    messages: Vec<TimelineEvent>,
    /// Whether there are older ones; newer ones when the page was asked for by `after`.
    has_more: bool,
}

/// A page of the timeline, ascending by version.
#[utoipa::path(get, path = "/api/rooms/{room_id}/messages", tag = "messages",
    params(("room_id" = i64, Path), Window),
    responses((status = 200, description = "A page of the timeline", body = Messages), AnyProblem))]
pub(super) async fn page(
    State(state): State<ApiState>,
    user: CurrentUser,
    RoomPath(room): RoomPath,
    Query(window): Query<Window>,
) -> Result<Json<Messages>, ApiError> {
    let mut conn = state.db.acquire().await?;
    require_member(&mut conn, room, &user).await?;
    let limit = form::page_size(window.limit);
    let page = store::timeline::page(&mut conn, room, window.before, window.after, limit).await?;
    Ok(Json(Messages { messages: page.messages, has_more: page.has_more }))
}

/// Write a message.
///
/// The message and the row that announces it are one transaction, in one round trip: see
/// `migrations/0018_room_heads.sql`. Membership is looked up there, under the room's lock.
#[utoipa::path(post, path = "/api/rooms/{room_id}/messages", tag = "messages",
    params(("room_id" = i64, Path)), request_body = NewMessage,
    responses(
        (status = 201, description = "Written", body = Message,
            headers(("roomcast-committed-at" = i64, description = "Microseconds since 1970"))),
        (status = 200, description = "Written before, by the same `client_id`; this is what was written", body = Message),
        AnyProblem))]
pub(super) async fn create(
    State(state): State<ApiState>,
    user: CurrentUser,
    RoomPath(room): RoomPath,
    Json(new): Json<NewMessage>,
) -> Result<impl IntoResponse, ApiError> {
    let mut invalid = Invalid::default();
    let text = invalid.take("text", MessageText::parse(&new.text));
    let client_id = invalid.take("client_id", new.client_id.ok_or("is required"));
    let mode = if new.mode.is_none() || state.config.allow_request_mode { Ok(new.mode) } else { Err(NO_CHOICE) };
    let mode = invalid.take("mode", mode);
    let (Some(text), Some(client_id), Some(mode)) = (text, client_id, mode) else { return Err(invalid.into_error()) };

    let (status, posted) = match state.poster.post(NewPost { room, author: user.id, text, client_id, mode }).await? {
        Outcome::New(posted) => (StatusCode::CREATED, posted),
        Outcome::Repeat(posted) => (StatusCode::OK, posted),
        Outcome::Denied => return Err(ApiError::NotMember),
        Outcome::Unknown => return Err(ApiError::NoSuchRoom),
    };
    Ok((status, [(COMMITTED_AT, micros(posted.committed_at))], Json(posted.message)))
}

fn micros(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros().to_string()
}

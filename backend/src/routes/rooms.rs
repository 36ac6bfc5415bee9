//! `GET /api/rooms`, `POST /api/rooms`, `GET /api/rooms/unread`, `GET /api/rooms/discover`, `GET /api/rooms/{room_id}`.

use std::collections::BTreeMap;

use axum::{extract::State, http::StatusCode};
use protocol::RoomId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{AnyProblem, form, membership::add_room};
use crate::{
    ApiError, ApiState, CurrentUser,
    again::again,
    extract::{Json, Query, RoomPath},
    store::{
        self,
        rooms::{Room, Rooms},
    },
};

/// A room to be.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewRoom {
    /// 1 to 80 characters, unique whatever their case.
    #[serde(default)]
    name: String,
}

/// What to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Search {
    /// Part of the name, in whatever case; everything unless told.
    #[serde(default)]
    q: String,
    /// At most 100, 50 unless told.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl Search {
    /// Part of a name, without what no name has.
    fn query(&self) -> String {
        self.q.trim().replace('\0', "")
    }
}

/// What the user has not read.
#[derive(Serialize, ToSchema)]
pub(super) struct Unread {
    /// Texts in all rooms together.
    total: i64,
    /// Texts by the room's id; rooms without any are left out.
    #[schema(value_type = BTreeMap<String, i64>)]
    rooms: BTreeMap<RoomId, i64>,
}

/// My rooms, latest activity first; with `q` those whose name contains it.
#[utoipa::path(get, path = "/api/rooms", tag = "rooms", params(Search),
    responses((status = 200, description = "A page of my rooms", body = Rooms), AnyProblem))]
pub(super) async fn mine(
    State(state): State<ApiState>,
    user: CurrentUser,
    Query(search): Query<Search>,
) -> Result<Json<Rooms>, ApiError> {
    let cursor = form::cursor(search.cursor.as_deref())?;
    let limit = form::page_size(search.limit);
    let mut conn = state.db.acquire().await?;
    Ok(Json(store::rooms::mine(&mut conn, user.id, &search.query(), limit, cursor.as_ref()).await?))
}

/// What I have not read, in all my rooms: whatever page of them is at hand, the count is of all.
#[utoipa::path(get, path = "/api/rooms/unread", tag = "rooms",
    responses((status = 200, description = "Unread texts, room by room", body = Unread), AnyProblem))]
pub(super) async fn unread(State(state): State<ApiState>, user: CurrentUser) -> Result<Json<Unread>, ApiError> {
    let mut conn = state.db.acquire().await?;
    let rooms = store::rooms::unread(&mut conn, user.id).await?;
    Ok(Json(Unread { total: rooms.values().sum(), rooms }))
}

/// Rooms that I am not in, by name.
#[utoipa::path(get, path = "/api/rooms/discover", tag = "rooms", params(Search),
    responses((status = 200, description = "A page of rooms to join", body = Rooms), AnyProblem))]
pub(super) async fn discover(
    State(state): State<ApiState>,
    user: CurrentUser,
    Query(search): Query<Search>,
) -> Result<Json<Rooms>, ApiError> {
    let cursor = form::cursor(search.cursor.as_deref())?;
    let limit = form::page_size(search.limit);
    let mut conn = state.db.acquire().await?;
    Ok(Json(store::rooms::discover(&mut conn, user.id, &search.query(), limit, cursor.as_ref()).await?))
}

/// Create a room, with me as its first member.
#[utoipa::path(post, path = "/api/rooms", tag = "rooms", request_body = NewRoom,
    responses((status = 201, description = "The new room", body = Room), AnyProblem))]
pub(super) async fn create(
    State(state): State<ApiState>,
    user: CurrentUser,
    Json(new): Json<NewRoom>,
) -> Result<(StatusCode, Json<Room>), ApiError> {
    let name = form::shown_name(&new.name, 80).map_err(|message| ApiError::field("name", message))?;
    let (room, after) = again(|| async {
        let mut tx = state.db.begin().await?;
        let mode = store::settings::broadcast_mode(&mut tx).await?;
        let (id, after) = add_room(&mut tx, mode, &name, &user).await?.ok_or(ApiError::RoomNameTaken)?;
        let room = store::rooms::get(&mut tx, id, user.id).await?.ok_or(ApiError::NoSuchRoom)?;
        tx.commit().await?;
        Ok((room, after))
    })
    .await?;
    state.committed(room.id, after);
    Ok((StatusCode::CREATED, Json(room)))
}

/// One room. Who is not a member sees no more of it than a search shows.
#[utoipa::path(get, path = "/api/rooms/{room_id}", tag = "rooms", params(("room_id" = i64, Path)),
    responses((status = 200, description = "The room", body = Room), AnyProblem))]
pub(super) async fn get(
    State(state): State<ApiState>,
    user: CurrentUser,
    RoomPath(room): RoomPath,
) -> Result<Json<Room>, ApiError> {
    let mut conn = state.db.acquire().await?;
    store::rooms::get(&mut conn, room, user.id).await?.map(Json).ok_or(ApiError::NoSuchRoom)
}

//! `GET /api/rooms`, `POST /api/rooms`, `GET /api/rooms/discover`, `GET /api/rooms/{room_id}`.

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    AnyProblem,
    form::{self, Paging},
    membership::add_room,
};
use crate::{
    ApiError, ApiState, CurrentUser,
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

/// My rooms, latest activity first.
#[utoipa::path(get, path = "/api/rooms", tag = "rooms", params(Paging),
    responses((status = 200, description = "A page of my rooms", body = Rooms), AnyProblem))]
pub(super) async fn mine(
    State(state): State<ApiState>,
    user: CurrentUser,
    Query(paging): Query<Paging>,
) -> Result<Json<Rooms>, ApiError> {
    let cursor = form::cursor(paging.cursor.as_deref())?;
    let mut conn = state.db.acquire().await?;
    Ok(Json(store::rooms::mine(&mut conn, user.id, form::page_size(paging.limit), cursor.as_ref()).await?))
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
    let query = search.q.trim().replace('\0', "");
    let limit = form::page_size(search.limit);
    let mut conn = state.db.acquire().await?;
    Ok(Json(store::rooms::discover(&mut conn, user.id, &query, limit, cursor.as_ref()).await?))
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
    let mut tx = state.db.begin().await?;
    let mode = store::settings::broadcast_mode(&mut tx).await?;
    let (id, after) = add_room(&mut tx, mode, &name, &user).await?.ok_or(ApiError::RoomNameTaken)?;
    let room = store::rooms::get(&mut tx, id, user.id).await?.ok_or(ApiError::NoSuchRoom)?;
    tx.commit().await?;
    state.committed(id, after);
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

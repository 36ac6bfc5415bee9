//! `GET /api/read-model/rooms`: the room list as the events tell it, beside `GET /api/rooms`, which is the truth.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{AnyProblem, form};
use crate::{
    ApiError, ApiState, CurrentUser,
    extract::{Json, Query},
    read_model::{self, RoomList},
};

/// How much of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Length {
    /// At most 100, 50 unless told.
    limit: Option<u32>,
}

/// My rooms as the events of `room.events` tell them, latest activity first, and how far that is behind the truth.
///
/// The topic has the messages of the modes `cdc`, `api_cdc` and `wal`. Without Kafka this list is empty.
#[utoipa::path(get, path = "/api/read-model/rooms", tag = "rooms", params(Length),
    responses((status = 200, description = "My rooms in the read model, and its lag", body = RoomList), AnyProblem))]
pub(super) async fn rooms(
    State(state): State<ApiState>,
    user: CurrentUser,
    Query(length): Query<Length>,
) -> Result<Json<RoomList>, ApiError> {
    Ok(Json(read_model::rooms(&state.db, user.id, form::page_size(length.limit)).await?))
}

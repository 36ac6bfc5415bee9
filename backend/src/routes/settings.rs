//! `GET /api/settings/broadcast-mode`, `PUT /api/settings/broadcast-mode`.

use axum::extract::State;
use protocol::{Mode, Partition};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{AnyProblem, message::BroadcastMode};
use crate::{
    ApiError, ApiState, CurrentUser,
    extract::Json,
    mode::{self, Availability},
};

/// The mode to be.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewMode {
    #[schema(inline, value_type = BroadcastMode)]
    mode: Mode,
}

/// By which way the news of messages travel, and by which others they could.
#[derive(Serialize, ToSchema)]
pub(super) struct Modes {
    /// The mode of messages whose request names none.
    #[schema(inline, value_type = BroadcastMode)]
    mode: Mode,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    changed_at: OffsetDateTime,
    /// Every mode there is, in the order in which to offer them.
    available: Vec<Offer>,
    /// Whether a post may name a mode for itself.
    choice: bool,
}

/// Whether a mode can be switched to.
#[derive(Serialize, ToSchema)]
pub(super) struct Offer {
    #[schema(inline, value_type = BroadcastMode)]
    mode: Mode,
    ready: bool,
    /// What is missing, when it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl From<Availability> for Offer {
    fn from(availability: Availability) -> Self {
        Self { mode: availability.mode, ready: availability.missing.is_none(), reason: availability.missing }
    }
}

/// The broadcast mode, and which ones can be had.
#[utoipa::path(get, path = "/api/settings/broadcast-mode", tag = "settings",
    responses((status = 200, description = "As it stands", body = Modes), AnyProblem))]
pub(super) async fn broadcast_mode(State(state): State<ApiState>, _: CurrentUser) -> Result<Json<Modes>, ApiError> {
    modes(&state).await
}

/// Switch the broadcast mode (administrators only).
///
/// When the answer is here, no message of the old mode is still to be committed. Everybody who is connected is told, by a
/// publication of `{"type": "mode", "mode": ..., "changed_at": ...}` on `system:all`.
#[utoipa::path(put, path = "/api/settings/broadcast-mode", tag = "settings", request_body = NewMode,
    responses((status = 200, description = "As it stands now", body = Modes), AnyProblem))]
pub(super) async fn set_broadcast_mode(
    State(state): State<ApiState>,
    user: CurrentUser,
    Json(new): Json<NewMode>,
) -> Result<Json<Modes>, ApiError> {
    if !user.is_admin {
        return Err(ApiError::NotAdmin);
    }
    if mode::set(&state.db, new.mode, state.publishes()).await?.is_some() {
        state.hook.committed(Partition(0)); // where set_broadcast_mode() has left the row
        tracing::info!(mode = %new.mode, user = %user.id, "user {} switched the broadcast mode to {}", user.id, new.mode);
    }
    modes(&state).await
}

async fn modes(state: &ApiState) -> Result<Json<Modes>, ApiError> {
    let current = mode::get(&state.db).await?;
    let available = mode::available(&state.db, state.publishes()).await?.into_iter().map(Offer::from).collect();
    let choice = state.config.allow_request_mode;
    Ok(Json(Modes { mode: current.mode, changed_at: current.changed_at, available, choice }))
}

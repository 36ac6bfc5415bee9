//! `PUT /api/rooms/{room_id}/read`: how far I have read. It only moves forward.

use axum::extract::State;
use protocol::{Offset, ReadEvent};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AnyProblem, membership::require_member};
use crate::{
    ApiError, ApiState, CurrentUser,
    again::again,
    extract::{Json, RoomPath},
    store::{self, announcements::Announcement},
};

/// How far.
#[derive(Deserialize, ToSchema)]
pub(super) struct Read {
    /// Everything up to here was read. Beyond the newest line means the newest line.
    #[schema(value_type = u64)]
    version: Offset,
}

/// Where the read position stands now.
#[derive(Serialize, ToSchema)]
pub(super) struct ReadPosition {
    /// Everything up to here was read.
    #[schema(value_type = u64)]
    read_version: Offset,
    /// Texts after it.
    unread: i64,
}

/// Move my read position forward.
#[utoipa::path(put, path = "/api/rooms/{room_id}/read", tag = "messages",
    params(("room_id" = i64, Path)), request_body = Read,
    responses((status = 200, description = "Where it stands now", body = ReadPosition), AnyProblem))]
pub(super) async fn mark(
    State(state): State<ApiState>,
    user: CurrentUser,
    RoomPath(room): RoomPath,
    Json(read): Json<Read>,
) -> Result<Json<ReadPosition>, ApiError> {
    let _turn = state.reading.take(room).await?;
    let (position, after) = again(|| async {
        let mut tx = state.db.begin().await?;
        let mode = store::settings::broadcast_mode(&mut tx).await?;
        let moved = store::members::mark_read(&mut tx, room, user.id, read.version).await.map_err(ApiError::of_room)?;
        let Some(moved) = moved else {
            require_member(&mut tx, room, &user).await?;
            let position = store::members::read_position(&mut tx, room, user.id).await?;
            return Ok((position.ok_or(ApiError::NotMember)?, None));
        };
        let news = [Announcement::read_moved(user.id, moved.clone())?];
        let after = store::announcements::append(&mut tx, mode, room, news).await?;
        tx.commit().await?;
        Ok((moved, Some(after)))
    })
    .await?;
    if let Some(after) = after {
        state.committed(room, after);
    }
    Ok(Json(position.into()))
}

impl From<ReadEvent> for ReadPosition {
    fn from(event: ReadEvent) -> Self {
        Self { read_version: event.read_version, unread: event.unread }
    }
}

//! `POST /api/rooms/{room_id}/join`, `.../leave`, `GET /api/rooms/{room_id}/members`.
//!
//! A room is locked first and its member row touched second, as everywhere. What is announced follows the broadcast mode
//! as messages do, in the order in which the hub needs it: who joins hears their own joining, and who leaves hears their
//! own leaving. In mode `api` a join or leave has a row in the outbox all the same, besides the direct publication:
//! a lost `unsubscribe` would let somebody hear a room that they left.

use axum::{extract::State, http::StatusCode};
use protocol::{Kind, Mode, RoomId, UserId};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};

use super::{AnyProblem, form};
use crate::{
    ApiError, ApiState, CurrentUser,
    again::again,
    extract::{Json, Query, RoomPath},
    store::{
        self,
        announcements::{AfterCommit, Announcement},
        members::{Member, Standing},
        rooms::{Head, Room},
    },
};

/// Where to begin.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MembersAfter {
    /// `next_cursor` of the page before.
    #[param(value_type = Option<i64>)]
    after: Option<UserId>,
    /// At most 100, 50 unless told.
    limit: Option<u32>,
}

/// A page of members, by id.
#[derive(Serialize, ToSchema)]
pub(super) struct Members {
    members: Vec<Member>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    next_cursor: Option<UserId>,
}

/// Become a member. Who is one already gets the room all the same.
#[utoipa::path(post, path = "/api/rooms/{room_id}/join", tag = "members", params(("room_id" = i64, Path)),
    responses((status = 200, description = "The room, as a member sees it", body = Room), AnyProblem))]
pub(super) async fn join(
    State(state): State<ApiState>,
    user: CurrentUser,
    RoomPath(id): RoomPath,
) -> Result<Json<Room>, ApiError> {
    let turn = state.joining.take(id).await?;
    let joined = again(|| async {
        let mut tx = state.db.begin().await?;
        let mode = store::settings::broadcast_mode(&mut tx).await?;
        let room = store::rooms::lock(&mut tx, id).await.map_err(ApiError::of_room)?.ok_or(ApiError::NoSuchRoom)?;
        let joined = add_member(&mut tx, mode, &room, &user).await?;
        tx.commit().await?;
        Ok(joined)
    })
    .await?;
    drop(turn);
    if let Some(after) = joined {
        state.committed(id, after);
    }
    // Not before the commit: writers wait while the room is locked.
    let mut conn = state.db.acquire().await?;
    store::rooms::get(&mut conn, id, user.id).await?.map(Json).ok_or(ApiError::NoSuchRoom)
}

/// Be no member any more. Who was none has nothing to do, and that is no error.
#[utoipa::path(post, path = "/api/rooms/{room_id}/leave", tag = "members", params(("room_id" = i64, Path)),
    responses((status = 204, description = "No member any more"), AnyProblem))]
pub(super) async fn leave(
    State(state): State<ApiState>,
    user: CurrentUser,
    RoomPath(id): RoomPath,
) -> Result<StatusCode, ApiError> {
    let _turn = state.joining.take(id).await?;
    let left = again(|| async {
        let mut tx = state.db.begin().await?;
        let mode = store::settings::broadcast_mode(&mut tx).await?;
        let room = store::rooms::lock(&mut tx, id).await.map_err(ApiError::of_room)?.ok_or(ApiError::NoSuchRoom)?;
        let left = remove_member(&mut tx, mode, &room, &user).await?;
        tx.commit().await?;
        Ok(left)
    })
    .await?;
    if let Some(after) = left {
        state.committed(id, after);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Who is in the room, by id.
#[utoipa::path(get, path = "/api/rooms/{room_id}/members", tag = "members",
    params(("room_id" = i64, Path), MembersAfter),
    responses((status = 200, description = "A page of members", body = Members), AnyProblem))]
pub(super) async fn members(
    State(state): State<ApiState>,
    user: CurrentUser,
    RoomPath(room): RoomPath,
    Query(page): Query<MembersAfter>,
) -> Result<Json<Members>, ApiError> {
    let mut conn = state.db.acquire().await?;
    require_member(&mut conn, room, &user).await?;
    let limit = form::page_size(page.limit);
    let mut members = store::members::list(&mut conn, room, page.after, limit + 1).await?;
    let more = members.len() > limit as usize;
    members.truncate(limit as usize);
    let next_cursor = members.last().filter(|_| more).map(|member| member.id);
    Ok(Json(Members { members, next_cursor }))
}

/// Lets members pass.
pub(super) async fn require_member(conn: &mut PgConnection, room: RoomId, user: &CurrentUser) -> Result<(), ApiError> {
    match store::members::standing(conn, room, user.id).await? {
        Standing::Member => Ok(()),
        Standing::Stranger => Err(ApiError::NotMember),
        Standing::NoRoom => Err(ApiError::NoSuchRoom),
    }
}

/// A new room with its first member and its first line; None if the name is taken.
pub(crate) async fn add_room(
    conn: &mut PgConnection,
    mode: Mode,
    name: &str,
    user: &CurrentUser,
) -> sqlx::Result<Option<(RoomId, AfterCommit)>> {
    let Some(room) = store::rooms::insert(conn, name).await? else { return Ok(None) };
    store::members::insert(conn, &room, user.id).await?;
    let line = store::timeline::append(conn, &room, Kind::Created, &user.author(), 1, mode).await?;
    let news = [Announcement::subscribe(room.id, user.id), Announcement::line_added(line, room.epoch)?];
    Ok(Some((room.id, store::announcements::append(conn, mode, room.id, news).await?)))
}

/// One member more in a locked room; None if they were in it.
pub(crate) async fn add_member(
    conn: &mut PgConnection,
    mode: Mode,
    room: &Head,
    user: &CurrentUser,
) -> sqlx::Result<Option<AfterCommit>> {
    if !store::members::insert(conn, room, user.id).await? {
        return Ok(None);
    }
    let line = store::timeline::append(conn, room, Kind::Joined, &user.author(), 1, mode).await?;
    let news = [Announcement::subscribe(room.id, user.id), Announcement::line_added(line, room.epoch.clone())?];
    store::announcements::append(conn, mode, room.id, news).await.map(Some)
}

/// One member less in a locked room; None if they were not in it.
async fn remove_member(
    conn: &mut PgConnection,
    mode: Mode,
    room: &Head,
    user: &CurrentUser,
) -> sqlx::Result<Option<AfterCommit>> {
    if !store::members::delete(conn, room, user.id).await? {
        return Ok(None);
    }
    let line = store::timeline::append(conn, room, Kind::Left, &user.author(), -1, mode).await?;
    let news = [Announcement::line_added(line, room.epoch.clone())?, Announcement::unsubscribe(room.id, user.id)];
    store::announcements::append(conn, mode, room.id, news).await.map(Some)
}

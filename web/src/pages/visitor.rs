//! Who opened a page: somebody signed in, or somebody who is sent to the sign-in page first.

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{HeaderMap, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use backend::{CurrentUser, Seat};

use super::{Frame, error::PageError};
use crate::WebState;

/// A person who is signed in.
pub(crate) struct Visitor {
    pub(crate) user: CurrentUser,
    pub(crate) frame: Frame,
}

impl FromRequestParts<WebState> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Response> {
        let (user, frame) = visitor(parts, state).await?;
        match user {
            Some(user) => Ok(Self { user, frame }),
            None => Err(Redirect::to(&sign_in(&frame, parts.uri.path())).into_response()),
        }
    }
}

/// Anybody.
pub(crate) struct Anyone {
    pub(crate) user: Option<CurrentUser>,
    pub(crate) frame: Frame,
}

impl FromRequestParts<WebState> for Anyone {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Response> {
        let (user, frame) = visitor(parts, state).await?;
        Ok(Self { user, frame })
    }
}

async fn visitor(parts: &mut Parts, state: &WebState) -> Result<(Option<CurrentUser>, Frame), Response> {
    let headers: HeaderMap = parts.headers.clone();
    let frame = |seat: Option<&str>| Frame::new(&headers, seat);
    let seat = Seat::from_request_parts(parts, state).await;
    let seat = seat.map_err(|error| PageError::from(error).page(frame(None)))?;
    let user = <CurrentUser as OptionalFromRequestParts<WebState>>::from_request_parts(parts, state).await;
    let user = user.map_err(|error| PageError::from(error).page(frame(seat.name())))?;
    Ok((user, frame(seat.name())))
}

/// The sign-in page, which leads back to `path`.
fn sign_in(frame: &Frame, path: &str) -> String {
    let next = same_site(path);
    let seat = frame.seat.as_ref().map(|seat| format!("&seat={seat}")).unwrap_or_default();
    if next == "/" && seat.is_empty() { "/login".to_owned() } else { format!("/login?next={next}{seat}") }
}

/// A path of this site that needs no escaping, else the first page. An address elsewhere would make ours a lure.
pub(crate) fn same_site(path: &str) -> &str {
    let safe = path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_".contains(&byte));
    if safe { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_one_stays_on_this_site() {
        assert_eq!(same_site("/rooms/7"), "/rooms/7");
        for elsewhere in ["//evil.example", "https://evil.example", "/\\evil.example", "rooms", "", "/a?b=c", "/%0d%0a"]
        {
            assert_eq!(same_site(elsewhere), "/", "{elsewhere}");
        }
    }

    #[test]
    fn the_way_to_the_sign_in_page_keeps_place_and_seat() {
        let frame = |seat| Frame::new(&HeaderMap::new(), seat);
        assert_eq!(sign_in(&frame(None), "/"), "/login");
        assert_eq!(sign_in(&frame(None), "/rooms/7"), "/login?next=/rooms/7");
        assert_eq!(sign_in(&frame(Some("bob")), "/"), "/login?next=/&seat=bob");
    }
}

//! The session's cookie. Its name depends on the seat, so that one browser window can show two people side by side.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use time::Duration;

use crate::ApiError;

const NAME: &str = "roomcast_session";
const SEAT_HEADER: &str = "Roomcast-Seat";

/// The longest that browsers keep a cookie. When the session ends is for the server to say.
const MAX_AGE: Duration = Duration::days(400);

/// Which of several sessions of one browser is meant: header `Roomcast-Seat`, or `?seat=`. Usually none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seat(Option<String>);

impl Seat {
    /// The seat's name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The name of the cookie that holds the session of this seat.
    pub fn cookie_name(&self) -> String {
        self.0.as_ref().map_or_else(|| NAME.to_owned(), |seat| format!("{NAME}_{seat}"))
    }

    /// The cookie's value, if the request has it.
    pub(crate) fn token(&self, headers: &HeaderMap) -> Option<String> {
        CookieJar::from_headers(headers).get(&self.cookie_name()).map(|cookie| cookie.value().to_owned())
    }

    /// A cookie that begins a session.
    pub(crate) fn cookie(&self, token: String, secure: bool) -> Cookie<'static> {
        Cookie::build((self.cookie_name(), token))
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(secure)
            .max_age(MAX_AGE)
            .build()
    }

    /// A cookie that makes the browser forget the session.
    pub(crate) fn removal(&self, secure: bool) -> Cookie<'static> {
        let mut cookie = self.cookie(String::new(), secure);
        cookie.make_removal();
        cookie
    }

    fn parse(name: &str) -> Result<Self, ApiError> {
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        match name.len() {
            0 => Ok(Self(None)),
            1..=32 if name.bytes().all(valid) => Ok(Self(Some(name.to_owned()))),
            _ => Err(ApiError::Query("a seat has 1 to 32 of a-z, 0-9 and _".to_owned())),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Seat {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        if let Some(header) = parts.headers.get(SEAT_HEADER) {
            return Self::parse(header.to_str().unwrap_or("?"));
        }
        let query = parts.uri.query().unwrap_or_default();
        let seat = query.split('&').find_map(|pair| pair.strip_prefix("seat="));
        seat.map_or_else(|| Ok(Self::default()), Self::parse)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn seat(request: axum::http::request::Builder) -> Result<Seat, ApiError> {
        Seat::from_request_parts(&mut request.body(()).unwrap().into_parts().0, &()).await
    }

    #[tokio::test]
    async fn each_seat_has_a_cookie_of_its_own() {
        let none = seat(Request::get("/rooms?q=seat")).await.unwrap();
        assert_eq!(none.cookie_name(), "roomcast_session");
        let left = seat(Request::get("/rooms?q=x&seat=left")).await.unwrap();
        assert_eq!(left.cookie_name(), "roomcast_session_left");
        let header = seat(Request::get("/rooms?seat=left").header("roomcast-seat", "right")).await.unwrap();
        assert_eq!(header.name(), Some("right"));
        assert!(seat(Request::get("/rooms?seat=a;b")).await.is_err());
        assert!(seat(Request::get("/rooms").header("roomcast-seat", "é")).await.is_err());
    }
}

//! The pages: one file each, with the template it fills. This one has what they share.

pub(crate) mod chat;
pub(crate) mod demo;
pub(crate) mod error;
mod face;
pub(crate) mod login;
mod state;
mod timeline;
mod visitor;

use axum::http::HeaderMap;
use axum_extra::extract::cookie::CookieJar;

use crate::assets;

const THEME_COOKIE: &str = "roomcast_theme";

/// What the frame around every page needs.
pub(crate) struct Frame {
    /// Chosen by the person; the system's choice without.
    theme: Option<&'static str>,
    /// Whose page this is, when one browser has several people.
    seat: Option<String>,
}

impl Frame {
    fn new(headers: &HeaderMap, seat: Option<&str>) -> Self {
        let theme =
            match CookieJar::from_headers(headers).get(THEME_COOKIE).map(|cookie| cookie.value().to_owned()).as_deref()
            {
                Some("dark") => Some("dark"),
                Some("light") => Some("light"),
                _ => None,
            };
        Self { theme, seat: seat.map(str::to_owned) }
    }

    /// The address of a file of the bundle.
    fn asset(&self, name: &str) -> String {
        let _ = self;
        assets::address(name)
    }

    /// A link within the site; it stays with the person.
    fn href(&self, path: &str) -> String {
        match &self.seat {
            Some(seat) => format!("{path}?seat={seat}"),
            None => path.to_owned(),
        }
    }
}

/// "1 member", "12 members".
fn counted(count: i64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// What stands for a room where there is no picture.
fn mark(name: &str) -> String {
    name.trim().chars().next().map_or_else(|| "#".to_owned(), |first| first.to_uppercase().to_string())
}

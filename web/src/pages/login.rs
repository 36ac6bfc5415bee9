//! `/login`: the seeded people (in a demo), a form, and a place to register. The client does the signing in.

use askama::Template;
use askama_web::WebTemplate;
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::header,
    response::{IntoResponse, Redirect, Response},
};
use backend::{ApiError, seed, store};
use serde::Deserialize;

use super::{
    Frame,
    error::PageError,
    face::Face,
    visitor::{Anyone, same_site},
};
use crate::WebState;

#[derive(Template, WebTemplate)]
#[template(path = "login.html")]
struct LoginPage {
    frame: Frame,
    why: Option<&'static str>,
    people: Vec<Person>,
    password: &'static str,
}

/// Somebody whom one can be with one click.
pub(super) struct Person {
    pub(super) username: String,
    pub(super) name: String,
    face: Face,
}

#[derive(Default, Deserialize)]
pub(crate) struct Wish {
    next: Option<String>,
    why: Option<String>,
}

/// Who is signed in goes on to where they wanted.
pub(crate) async fn login(
    State(state): State<WebState>,
    anyone: Anyone,
    wish: Result<Query<Wish>, QueryRejection>,
) -> Response {
    let Anyone { user, frame } = anyone;
    let Wish { next, why } = wish.map(|Query(wish)| wish).unwrap_or_default();
    if user.is_some() {
        return Redirect::to(&frame.href(same_site(next.as_deref().unwrap_or("/")))).into_response();
    }
    let why = match why.as_deref() {
        Some("expired") => {
            Some("Your session has ended. Sign in again; what you had not sent is kept in this browser.")
        }
        Some("out") => Some("You are signed out."),
        Some("script") => Some("Signing in needs JavaScript. Allow it for this site and sign in again."),
        _ => None,
    };
    match people(&state).await {
        Ok(people) => {
            let page = LoginPage { frame, why, people, password: seed::PASSWORD };
            ([(header::CACHE_CONTROL, "no-store")], page).into_response()
        }
        Err(error) => PageError::from(error).page(frame),
    }
}

/// The form arrived here because no script took it: the API takes JSON only, from our own pages only.
pub(crate) async fn without_javascript() -> Redirect {
    Redirect::to("/login?why=script")
}

/// The seeded people, in a demo.
pub(super) async fn people(state: &WebState) -> Result<Vec<Person>, ApiError> {
    let mut people = Vec::new();
    if !state.demo {
        return Ok(people);
    }
    let mut conn = state.api.db.acquire().await?;
    for (username, _) in seed::PEOPLE {
        if let Some(known) = store::users::by_username(&mut conn, username).await? {
            let face = Face::new(known.user.id, &known.user.name);
            people.push(Person { username: known.user.username, name: known.user.name, face });
        }
    }
    Ok(people)
}

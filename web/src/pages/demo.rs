//! `/demo`: two people side by side in one window, each with a seat (and so a session) of their own.

use askama::Template;
use askama_web::WebTemplate;
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use backend::seed;

use super::{
    Frame,
    error::PageError,
    login::{Person, people},
    visitor::Anyone,
};
use crate::WebState;

#[derive(Template, WebTemplate)]
#[template(path = "demo.html")]
struct DemoPage {
    frame: Frame,
    people: Vec<Person>,
    sides: Vec<Side>,
    password: &'static str,
}

struct Side {
    label: &'static str,
    username: String,
}

/// Without two seeded people there is nothing to show.
pub(crate) async fn demo(State(state): State<WebState>, Anyone { frame, .. }: Anyone) -> Response {
    let people = match people(&state).await {
        Ok(people) if people.len() >= 2 => people,
        Ok(_) => return PageError::NotFound.page(frame),
        Err(error) => return PageError::from(error).page(frame),
    };
    let sides = ["Left side", "Right side"].into_iter().zip(&people);
    let sides = sides.map(|(label, person)| Side { label, username: person.username.clone() }).collect();
    let page = DemoPage { frame, people, sides, password: seed::PASSWORD };
    ([(header::CACHE_CONTROL, "no-store")], page).into_response()
}

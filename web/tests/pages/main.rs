//! The pages as a browser gets them, on a real database with the seeded people.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use backend::{ApiState, BackendConfig, CommitHook, MIGRATOR};
use embedded_postgres::testkit;
use protocol::Partition;
use sqlx::PgPool;
use tower::ServiceExt;
use web::WebState;

struct NoRelay;

impl CommitHook for NoRelay {
    fn committed(&self, _: Partition) {}
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Pages and API on a database of their own.
struct Site(Router, PgPool);

impl Site {
    async fn open(demo: bool) -> Self {
        let database = testkit::database(&MIGRATOR).await;
        let db = backend::connect(&database.url, 4).await.unwrap();
        backend::seed::demo(&db).await.unwrap();
        let api = ApiState::new(db.clone(), BackendConfig::new("secret", "key"), Arc::new(NoRelay));
        let pages = web::router(WebState { api: api.clone(), hub_url: None, demo });
        Self(backend::router(api).merge(pages), db)
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.0.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 8 << 20).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        let request = Request::get(path).header(header::ACCEPT, "text/html").header(header::COOKIE, cookie);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Signs somebody in; returns the cookie.
    async fn enter(&self, username: &str, seat: Option<&str>) -> String {
        let body = format!(r#"{{"username":"{username}","password":"{}"}}"#, backend::seed::PASSWORD);
        let mut request = Request::post("/api/login").header(header::CONTENT_TYPE, "application/json");
        if let Some(seat) = seat {
            request = request.header("roomcast-seat", seat);
        }
        let answer = self.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.header(header::SET_COOKIE).split(';').next().unwrap().to_owned()
    }
}

/// The address of the first room in the list of a page.
fn first_room(page: &str) -> String {
    let start = page.find("href=\"/rooms/").expect("a room in the list") + 6;
    page[start..].split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn who_is_not_signed_in_is_sent_to_the_sign_in_page_and_back() {
    let site = Site::open(true).await;
    let answer = site.get("/rooms/1", "").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.header(header::LOCATION), "/login?next=/rooms/1");
    let cookie = site.enter("alice", None).await;
    let back = site.get("/login?next=/rooms/1", &cookie).await;
    assert_eq!(back.header(header::LOCATION), "/rooms/1");
    let lure = site.get("/login?next=//evil.example", &cookie).await;
    assert_eq!(lure.header(header::LOCATION), "/");
}

#[tokio::test]
async fn a_member_reads_the_room_and_a_stranger_is_asked_to_join() {
    let site = Site::open(true).await;
    let (alice, carol) = (site.enter("alice", None).await, site.enter("carol", None).await);
    let home = site.get("/", &alice).await;
    assert!(home.text.contains("data-place=\"welcome\""));
    let room = site.get(&first_room(&home.text), &alice).await;
    assert_eq!(room.status, StatusCode::OK);
    assert!(room.text.contains("data-place=\"room\"") && room.text.contains("class=\"bubble\""));

    let discover = site.get("/discover", &carol).await;
    assert!(discover.text.contains("data-place=\"discover\"") && discover.text.contains("Releases"));
    let all = (1..=5).map(|id| format!("/rooms/{id}"));
    let mut strange = 0;
    for path in all {
        let page = site.get(&path, &carol).await;
        if page.text.contains("data-place=\"stranger\"") {
            strange += 1;
            assert!(!page.text.contains("class=\"bubble\""), "nothing of a timeline for strangers");
        }
    }
    assert_eq!(strange, 1, "Carol is in all rooms but one");
}

#[tokio::test]
async fn two_people_share_one_browser_by_their_seats() {
    let site = Site::open(true).await;
    let cookies = format!("{}; {}", site.enter("alice", Some("alice")).await, site.enter("bob", Some("bob")).await);
    let alice = site.get("/?seat=alice", &cookies).await.text;
    let bob = site.get("/?seat=bob", &cookies).await.text;
    assert!(alice.contains("@alice") && bob.contains("@bob"));
    assert!(first_room(&bob).ends_with("?seat=bob"), "links stay with the person");
    assert_eq!(site.get("/", &cookies).await.status, StatusCode::SEE_OTHER, "without a seat it is nobody");
}

#[tokio::test]
async fn seeded_people_are_shown_in_a_demo_only() {
    let demo = Site::open(true).await;
    assert!(demo.get("/login", "").await.text.contains("data-become=\"alice\""));
    assert_eq!(demo.get("/demo", "").await.status, StatusCode::OK);
    let served = Site::open(false).await;
    let login = served.get("/login", "").await.text;
    assert!(!login.contains("data-become") && !login.contains("side by side"), "{login}");
    assert_eq!(served.get("/demo", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_page_has_the_policy_and_what_is_not_there_has_a_page() {
    let site = Site::open(true).await;
    let alice = site.enter("alice", None).await;
    for path in
        ["/", "/login", "/demo", "/discover", "/rooms/1", "/rooms/99999", "/rooms/x", "/no/such", "/static/none.js"]
    {
        let answer = site.get(path, &alice).await;
        let policy = answer.header(header::CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff", "{path}");
    }
    for path in ["/rooms/99999", "/rooms/x", "/no/such", "/rooms/99999999999999999999"] {
        let answer = site.get(path, &alice).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.text.contains("There is nothing here"), "{path}");
    }
    assert_eq!(site.get("/?seat=A;B", &alice).await.status, StatusCode::BAD_REQUEST);
}

/// Two thousand rooms that Alice is in and has not read, each with a long last line.
const MANY_ROOMS: &str = "
    with made as (
        insert into rooms (name, member_count) select 'Many ' || n, 1 from generate_series(1, 2000) n returning id
    ), joined as (
        insert into members (room_id, user_id) select made.id, users.id from made, users where username = 'alice'
    )
    insert into messages (room_id, version, kind, author_id, author_name, text, members, texts, room_name, created_at)
    select made.id, 1, 0, users.id, users.name, repeat('<Größe> ', 500), 1, 3, 'Many',
           now() - make_interval(secs => made.id)
      from made, users where username = 'alice'";

#[tokio::test]
async fn somebody_in_two_thousand_rooms_gets_a_short_page_and_links_to_all_of_them() {
    let site = Site::open(true).await;
    sqlx::raw_sql(MANY_ROOMS).execute(&site.1).await.unwrap();
    let alice = site.enter("alice", None).await;
    let mut rooms = BTreeSet::new();
    let mut path = "/".to_owned();
    for _ in 0..100 {
        let page = site.get(&path, &alice).await.text;
        assert!(page.len() <= 100 * 1024, "{path} has {} bytes", page.len());
        rooms
            .extend(page.match_indices("data-room=\"").map(|(at, _)| page[at..].split('"').nth(1).unwrap().to_owned()));
        if path == "/" {
            let unread = page.split("\"unread\":{").nth(1).unwrap().split('}').next().unwrap();
            assert!(unread.split(',').count() >= 2000, "what is unread is told of all rooms");
        }
        let more = page.split("id=\"more-rooms\"").nth(1).unwrap().split("</p>").next().unwrap();
        if more.contains(" hidden>") {
            break;
        }
        path = more.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&#38;", "&");
    }
    assert!(rooms.len() > 2000, "{} rooms are reached", rooms.len());
    assert_eq!(site.get("/?rooms=nonsense", &alice).await.status, StatusCode::OK, "the first page");
}

#[tokio::test]
async fn the_page_to_try_the_api_is_served_from_here() {
    let site = Site::open(true).await;
    assert_eq!(site.get("/api/docs", "").await.header(header::LOCATION), "/api/docs/");
    let page = site.get("/api/docs/", "").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.text.contains("http://") && !page.text.contains("https://"), "{}", page.text);
    assert_eq!(site.get("/api/docs/swagger-ui-bundle.js", "").await.status, StatusCode::OK);
    assert!(site.get("/api/openapi.json", "").await.text.contains("\"/api/rooms\""));
}

#[tokio::test]
async fn the_choice_of_colours_is_painted_by_the_server() {
    let site = Site::open(true).await;
    assert!(site.get("/login", "roomcast_theme=dark").await.text.contains("<html lang=\"en\" data-theme=\"dark\">"));
    assert!(site.get("/login", "roomcast_theme=%22%3E").await.text.contains("<html lang=\"en\">"));
}

//! Signing in and out, and who is kept out.

use axum::http::Method;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use protocol::token::Claims;
use serde_json::{Value, json};

use crate::app::{App, Person, TOKEN_SECRET};

fn with_cookie(app: &App, cookie: &str) -> Person {
    Person { cookie: cookie.split(';').next().unwrap().to_owned(), ..app.stranger() }
}

#[tokio::test]
async fn a_person_registers_signs_out_and_signs_in_again() {
    let app = App::start().await;
    let form = json!({"username": " Ada_1 ", "password": "correct horse", "name": "Ada Lovelace"});
    let reply = app.stranger().post("/api/register", form).await;
    let cookie = reply.cookies()[0].to_owned();
    for attribute in ["roomcast_session=", "; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age="] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "{cookie}");
    let body = reply.expect(201);
    assert_eq!((&body["user"]["username"], &body["user"]["name"]), (&json!("ada_1"), &json!("Ada Lovelace")));

    let ada = with_cookie(&app, &cookie);
    assert_eq!(ada.get("/api/me").await.expect(200), body["user"]);
    let reply = ada.post("/api/logout", Value::Null).await;
    assert!(reply.cookies()[0].contains("Max-Age=0"), "{reply:?}");
    reply.expect(204);
    ada.get("/api/me").await.expect_problem(401, "unauthenticated");
    app.stranger().post("/api/logout", Value::Null).await.expect(204);

    let login = json!({"username": "ADA_1", "password": "correct horse"});
    let reply = app.stranger().post("/api/login", login).await;
    let again = with_cookie(&app, reply.cookies()[0]);
    assert_eq!(reply.expect(200), body);
    again.get("/api/me").await.expect(200);
    let stored: Vec<Vec<u8>> = sqlx::query_scalar("select token_hash from sessions").fetch_all(&app.db).await.unwrap();
    let secret = again.cookie.split_once('=').unwrap().1;
    assert!(!stored.iter().any(|hash| hash == secret.as_bytes()), "the cookie itself is not kept");
    assert_eq!(stored.len(), 1, "the session that ended is gone");
}

#[tokio::test]
async fn registration_tells_everything_that_is_wrong() {
    let app = App::start().await;
    let problem = app.stranger().post("/api/register", json!({})).await.expect_problem(422, "invalid");
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert!(fields.contains(&json!("username")) && fields.contains(&json!("password")), "{problem}");
    app.person("taken").await;
    let form = json!({"username": "taken", "password": "long enough"});
    app.stranger().post("/api/register", form).await.expect_problem(409, "username_taken");
}

#[tokio::test]
async fn nobody_learns_who_exists_and_guessing_is_limited() {
    let app = App::with(|config| config.failed_logins_per_minute = 3).await;
    let form = json!({"username": "alice", "password": "a good password"});
    app.stranger().post("/api/register", form.clone()).await.expect(201);
    let guess = |username: &str| json!({"username": username, "password": "a wrong password"});
    let wrong = app.stranger().post("/api/login", guess("alice")).await.expect_problem(401, "wrong_credentials");
    let unknown = app.stranger().post("/api/login", guess("nobody")).await.expect_problem(401, "wrong_credentials");
    assert_eq!(wrong, unknown);
    app.stranger().post("/api/login", json!({})).await.expect_problem(401, "wrong_credentials");
    app.stranger().post("/api/login", json!({"username": "a\0"})).await.expect_problem(401, "wrong_credentials");

    for _ in 0..3 {
        app.stranger().post("/api/login", form.clone()).await.expect(200);
    }
    app.stranger().post("/api/login", guess("alice")).await.expect(401);
    app.stranger().post("/api/login", guess("alice")).await.expect(401);
    let reply = app.stranger().post("/api/login", form).await;
    let wait: u64 = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    reply.expect_problem(429, "too_many_attempts");
    app.stranger().post("/api/login", guess("bob")).await.expect(401);
}

#[tokio::test]
async fn requests_from_other_sites_are_refused() {
    let app = App::start().await;
    let alice = app.person("alice").await;
    let own = format!("http://{}", app.address);
    let create = |headers: &[(&'static str, &str)], name: &str| {
        let request = alice.request(Method::POST, "/api/rooms").json(&json!({ "name": name }));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        async { request.send().await }
    };
    create(&[("origin", &own), ("sec-fetch-site", "same-origin")], "own").await.expect(201);
    create(&[("origin", &own)], "own, from an older browser").await.expect(201);
    for headers in [
        vec![("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")],
        vec![("origin", "http://127.0.0.1:1")],
        vec![("origin", "null")],
        vec![("origin", own.as_str()), ("sec-fetch-site", "same-site")],
    ] {
        create(&headers, "theirs").await.expect_problem(403, "cross_site");
    }
    let form = alice.request(Method::POST, "/api/rooms").header("content-type", "text/plain").body("{\"name\":\"x\"}");
    form.send().await.expect_problem(415, "not_json");
    let reading = alice.request(Method::GET, "/api/me").header("sec-fetch-site", "cross-site");
    reading.send().await.expect(200);
    assert_eq!(app.count("rooms").await, 2);
}

#[tokio::test]
async fn each_seat_of_a_window_has_its_own_session() {
    let app = App::with(|config| config.secure_cookies = true).await;
    let sit = async |path: &str, seat: Option<&str>, username: &str| {
        let request = app.stranger().request(Method::POST, path);
        let request = if let Some(seat) = seat { request.header("roomcast-seat", seat) } else { request };
        let form = json!({"username": username, "password": "long enough"});
        let reply = request.json(&form).send().await;
        let cookie = reply.cookies()[0].to_owned();
        assert!(cookie.contains("; Secure"), "{cookie}");
        reply.expect(201);
        cookie.split(';').next().unwrap().to_owned()
    };
    let left = sit("/api/register?seat=left", None, "lea").await;
    let right = sit("/api/register?seat=left", Some("right"), "rita").await;
    assert!(left.starts_with("roomcast_session_left=") && right.starts_with("roomcast_session_right="));

    let window = Person { cookie: format!("{left}; {right}"), ..app.stranger() };
    assert_eq!(window.get("/api/me?seat=left").await.expect(200)["username"], "lea");
    assert_eq!(window.get("/api/me?seat=right").await.expect(200)["username"], "rita");
    window.get("/api/me").await.expect_problem(401, "unauthenticated");
    window.get("/api/me?seat=A.B").await.expect_problem(400, "wrong_parameter");
    window.post("/api/logout?seat=left", Value::Null).await.expect(204);
    window.get("/api/me?seat=left").await.expect(401);
    window.get("/api/me?seat=right").await.expect(200);
}

#[tokio::test]
async fn a_session_lives_while_it_is_used_and_is_swept_afterwards() {
    let app = App::start().await;
    let (used, ended) = (app.person("used").await, app.person("ended").await);
    sqlx::query("update sessions set expires_at = now() + interval '1 hour'").execute(&app.db).await.unwrap();
    used.get("/api/me").await.expect(200);
    let days: f64 = sqlx::query_scalar(
        "select extract(epoch from expires_at - now())::float8 / 86400 from sessions where user_id = $1",
    )
    .bind(used.id.0)
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert!(days > 29.0, "an hour before its end, use gave it {days} days");

    sqlx::query("update sessions set expires_at = now() - interval '1 second' where user_id = $1")
        .bind(ended.id.0)
        .execute(&app.db)
        .await
        .unwrap();
    ended.get("/api/me").await.expect_problem(401, "unauthenticated");
    app.stranger().post("/api/register", json!({"username": "next", "password": "long enough"})).await.expect(201);
    assert_eq!(app.count("sessions").await, 2, "a sign-in sweeps what has ended");
}

#[tokio::test]
async fn a_token_says_who_connects_and_until_when() {
    let app = App::start().await;
    let alice = app.person("alice").await;
    let reply = alice.get("/api/token").await;
    assert_eq!(reply.headers["cache-control"], "no-store");
    let body = reply.expect(200);
    assert_eq!(body["expires_in"], 600);
    let key = DecodingKey::from_secret(TOKEN_SECRET.as_bytes());
    let token = body["token"].as_str().unwrap();
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &Validation::new(Algorithm::HS256)).unwrap().claims;
    assert_eq!(claims.sub, alice.id.to_string());
    let info: Value = serde_json::from_str(claims.info.unwrap().get()).unwrap();
    assert_eq!(info, json!({"name": "Alice", "username": "alice"}));
    let left = claims.exp.unwrap() - std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((598..=600).contains(&left), "{left}");
    app.stranger().get("/api/token").await.expect_problem(401, "unauthenticated");
}

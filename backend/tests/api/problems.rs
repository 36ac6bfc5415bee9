//! Every error of the API is a problem.

use axum::http::Method;
use serde_json::json;

use crate::app::App;

#[tokio::test]
async fn whatever_goes_wrong_is_a_problem() {
    let app = App::start().await;
    let alice = app.person("alice").await;
    let send = async |method: Method, path: &str, body: &str| {
        let request = alice.request(method, path).header("content-type", "application/json; charset=utf-8");
        request.body(body.to_owned()).send().await
    };

    for path in ["/api/nothing", "/api/rooms/1/nothing", "/api/"] {
        let reply = alice.get(path).await;
        if path != "/api/" {
            reply.expect_problem(404, "not_found");
        }
    }
    send(Method::DELETE, "/api/rooms", "").await.expect_problem(405, "method_not_allowed");
    send(Method::GET, "/api/login", "").await.expect_problem(405, "method_not_allowed");
    for broken in ["", "{", "{\"name\":\"x\"} x", "{\"name\":\"\\ud800\"}", "nope"] {
        send(Method::POST, "/api/rooms", broken).await.expect_problem(400, "json_syntax");
    }
    let wrong = send(Method::POST, "/api/rooms", "{\"name\":7}").await.expect_problem(422, "invalid");
    assert_eq!(wrong["errors"][0]["field"], "name");
    let wrong = send(Method::POST, "/api/rooms/1/messages", "{\"text\":\"x\",\"client_id\":\"y\"}").await;
    assert_eq!(wrong.expect_problem(422, "invalid")["errors"][0]["field"], "client_id");
    send(Method::PUT, "/api/rooms/1/read", "{\"version\":-1}").await.expect_problem(422, "invalid");

    let large = json!({"name": "x".repeat(64 * 1024)}).to_string();
    send(Method::POST, "/api/rooms", &large).await.expect_problem(413, "too_large");
    let unannounced = alice.request(Method::POST, "/api/rooms").body("{}");
    unannounced.send().await.expect_problem(415, "not_json");

    for query in ["limit=x", "limit=-1", "cursor=!"] {
        alice.get(&format!("/api/rooms?{query}")).await.expect_problem(400, "wrong_parameter");
    }
    alice.get("/api/rooms/discover?cursor=!").await.expect_problem(400, "wrong_parameter");
    app.stranger().get("/internal/nothing").await.expect_problem(401, "wrong_key");
}

#[tokio::test]
async fn a_database_that_is_away_is_a_503_with_the_time_to_come_back() {
    let server = embedded_postgres::testkit::private_server().await;
    let database = embedded_postgres::testkit::database_on(&server.url("postgres"), &backend::MIGRATOR).await;
    let app = App::on(database, |_| ()).await;
    backend::ready(&app.state).await.unwrap();
    let alice = app.person("alice").await;
    alice.get("/api/me").await.expect(200);
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
    let reply = alice.get("/api/rooms").await;
    assert!(reply.headers.contains_key("retry-after"), "{reply:?}");
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(backend::ready(&app.state).await.is_err());
}

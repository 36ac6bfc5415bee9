//! The description says what is there, and what is there is described.

use std::collections::BTreeSet;

use axum::http::Method;
use protocol::Refusal;
use serde_json::Value;

use crate::app::App;

const ROUTES: [&str; 19] = [
    "GET /api/me",
    "GET /api/read-model/rooms",
    "GET /api/rooms",
    "GET /api/rooms/discover",
    "GET /api/rooms/unread",
    "GET /api/rooms/{room_id}",
    "GET /api/rooms/{room_id}/members",
    "GET /api/rooms/{room_id}/messages",
    "GET /api/settings/broadcast-mode",
    "GET /api/token",
    "POST /api/login",
    "POST /api/logout",
    "POST /api/register",
    "POST /api/rooms",
    "POST /api/rooms/{room_id}/join",
    "POST /api/rooms/{room_id}/leave",
    "POST /api/rooms/{room_id}/messages",
    "PUT /api/rooms/{room_id}/read",
    "PUT /api/settings/broadcast-mode",
];

#[tokio::test]
async fn every_route_is_described_and_every_description_has_a_route() {
    let app = App::start().await;
    let api = app.stranger().get("/api/openapi.json").await.expect(200);
    let mut described = BTreeSet::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert(format!("{} {path}", method.to_uppercase()));
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
            assert!(operation["responses"]["default"].is_object(), "{method} {path} describes its problems");
            let not_now = &operation["responses"]["503"];
            assert!(not_now["headers"]["retry-after"].is_object(), "{method} {path} says when to come back");
            for code in Refusal::ALL.map(Refusal::code) {
                assert!(not_now["description"].as_str().unwrap().contains(code), "{method} {path} names {code}");
            }
        }
    }
    assert_eq!(described, ROUTES.map(str::to_owned).into());

    for route in &described {
        let (method, path) = route.split_once(' ').unwrap();
        let request =
            app.stranger().request(Method::from_bytes(method.as_bytes()).unwrap(), &path.replace("{room_id}", "1"));
        let reply = request.send().await;
        assert!(reply.status != 404 && reply.status != 405 && reply.status.as_u16() < 500, "{route}: {reply:?}");
    }
    references_resolve(&api, &api);
}

fn references_resolve(api: &Value, value: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                assert!(api.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
            }
            fields.values().for_each(|field| references_resolve(api, field));
        }
        Value::Array(items) => items.iter().for_each(|item| references_resolve(api, item)),
        _ => {}
    }
}

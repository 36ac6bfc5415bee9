//! The small world of the demo.

use backend::seed;
use protocol::Command;
use serde_json::json;

use crate::app::App;

#[tokio::test]
async fn four_people_have_something_to_read_and_something_to_discover() {
    let app = App::start().await;
    let (first, second) = tokio::join!(seed::demo(&app.db), seed::demo(&app.db));
    assert_eq!(usize::from(first.unwrap()) + usize::from(second.unwrap()), 1, "two who start at once write it once");
    assert!(!seed::demo(&app.db).await.unwrap(), "a second start writes nothing");
    app.assert_timelines_are_whole().await;
    assert!(app.announced().await.iter().any(|command| matches!(command, Command::Publish(_))));

    let mut unread = 0;
    for (username, _) in seed::PEOPLE {
        let login = json!({"username": username, "password": seed::PASSWORD});
        let reply = app.stranger().post("/api/login", login).await;
        let mut person = app.stranger();
        reply.cookies()[0].split(';').next().unwrap().clone_into(&mut person.cookie);
        reply.expect(200);
        let mine = person.get("/api/rooms").await.expect(200);
        let others = person.get("/api/rooms/discover").await.expect(200);
        assert!(mine["rooms"].as_array().unwrap().len() >= 3, "{mine}");
        assert!(!others["rooms"].as_array().unwrap().is_empty(), "{others}");
        unread += mine["rooms"].as_array().unwrap().iter().map(|room| room["unread"].as_i64().unwrap()).sum::<i64>();
    }
    assert!(unread > 0);
    let admins: Vec<String> =
        sqlx::query_scalar("select username from users where is_admin").fetch_all(&app.db).await.unwrap();
    assert_eq!(admins, ["alice"]);
}

//! Clients without WebSocket: a response that goes on, and requests beside it.

use std::collections::VecDeque;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

use crate::{TestHub, command, eventually, http, token};

/// The messages of a response that goes on.
struct Stream {
    response: Response,
    /// What stands before each message.
    prefix: &'static str,
    rest: String,
    messages: VecDeque<Value>,
}

impl Stream {
    async fn next(&mut self) -> Option<Value> {
        while self.messages.is_empty() {
            let chunk = timeout(Duration::from_secs(10), self.response.chunk()).await.expect("nothing came").ok()??;
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some(end) = self.rest.find('\n') {
                let line: String = self.rest.drain(..=end).collect();
                if let Some(json) = line.trim_end().strip_prefix(self.prefix).filter(|json| !json.is_empty()) {
                    self.messages.push_back(serde_json::from_str(json).unwrap());
                }
            }
        }
        self.messages.pop_front()
    }
}

fn connect() -> String {
    json!({"id": 1, "connect": {"token": token("7")}}).to_string()
}

async fn lines(hub: &TestHub) -> Stream {
    let url = format!("http://{}/connection/http_stream", hub.address);
    let response = http().post(url).body(connect()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    Stream { response, prefix: "", rest: String::new(), messages: VecDeque::new() }
}

async fn events(hub: &TestHub) -> Stream {
    let url = format!("http://{}/connection/sse", hub.address);
    let response = http().get(url).query(&[("cf_connect", connect())]).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Stream { response, prefix: "data: ", rest: String::new(), messages: VecDeque::new() }
}

async fn say(hub: &TestHub, connected: &Value, message: Value) -> StatusCode {
    let body = json!({"session": connected["session"], "node": connected["node"], "data": message.to_string()});
    let request = http().post(format!("http://{}/emulation", hub.address)).body(body.to_string());
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn a_client_without_websocket_does_what_others_do() {
    let hub = TestHub::alone(|_| {}).await;
    for mut stream in [lines(&hub).await, events(&hub).await] {
        let connected = stream.next().await.unwrap()["connect"].clone();
        assert_ne!(connected["session"], connected["client"], "others know the client by its name");
        let subscribe = json!({"id": 2, "subscribe": {"channel": "chat:1"}});
        assert_eq!(say(&hub, &connected, subscribe).await, StatusCode::NO_CONTENT);
        assert!(stream.next().await.unwrap()["subscribe"].is_object());
        say(&hub, &connected, json!({"id": 3, "publish": {"channel": "chat:1", "data": "hi"}})).await;
        let (mut published, mut answered) = (false, false);
        while !(published && answered) {
            let message = stream.next().await.unwrap();
            published |= message["push"]["pub"]["data"] == "hi";
            answered |= message["publish"].is_object();
        }
    }
}

#[tokio::test]
async fn a_body_ends_with_the_reason_and_a_reader_that_goes_is_forgotten() {
    let hub = TestHub::start().await;
    let mut stream = lines(&hub).await;
    let connected = stream.next().await.unwrap()["connect"].clone();
    hub.execute(command("disconnect", json!({"user": "7"}))).await;
    let why = json!({"push": {"disconnect": {"code": 3503, "reason": "force disconnect"}}});
    assert_eq!(stream.next().await, Some(why));
    assert_eq!(stream.next().await, None);
    eventually("its session has ended", async || {
        (say(&hub, &connected, json!({})).await == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    let mut stream = lines(&hub).await;
    let connected = stream.next().await.unwrap()["connect"].clone();
    drop(stream);
    eventually("nobody is left", async || {
        (say(&hub, &connected, json!({"id": 9, "rpc": {}})).await == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_told_by_status_or_push() {
    let hub = TestHub::start_with(|config| config.stale_after = Duration::from_millis(300)).await;
    let url = |path: &str| format!("http://{}{path}", hub.address);
    let mut garbage = http().post(url("/connection/http_stream")).body("{{").send().await.unwrap();
    let told = String::from_utf8(garbage.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(told.contains("3501"), "{told}");
    let stranger = json!({"session": uuid_of_nobody(), "node": uuid_of_nobody(), "data": "{}"});
    assert_eq!(http().post(url("/emulation")).body(stranger.to_string()).send().await.unwrap().status(), 404);
    assert_eq!(http().post(url("/emulation")).body("x").send().await.unwrap().status(), 400);
    let foreign = http().post(url("/connection/http_stream")).header("origin", "https://evil.example.org");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    let page = http().request(reqwest::Method::OPTIONS, url("/emulation")).header("origin", "http://localhost:3000");
    let allowed = page.send().await.unwrap();
    assert_eq!(allowed.headers()["access-control-allow-origin"], "http://localhost:3000");
}

fn uuid_of_nobody() -> &'static str {
    "00000000-0000-4000-8000-000000000000"
}

#[tokio::test]
async fn ways_without_websocket_can_be_switched_off_one_by_one() {
    let hub = TestHub::start_with(|config| config.sse = false).await;
    let ask = |way: &str| http().get(format!("http://{}/connection/{way}", hub.address)).send();
    assert_eq!(ask("sse").await.unwrap().status(), 404);
    assert_eq!(ask("http_stream").await.unwrap().status(), 405, "it is there, for POST");
}

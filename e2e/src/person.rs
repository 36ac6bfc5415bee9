//! A person at the HTTP API: signs in, joins, writes, reads the timeline.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, RequestBuilder, StatusCode, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Line, eventually};

/// A signed-in session.
#[derive(Clone)]
pub struct Person {
    http: reqwest::Client,
    origin: String,
    cookie: String,
    /// The user's id.
    pub id: i64,
    /// The user's login name.
    pub username: String,
}

#[derive(Deserialize)]
struct Page {
    messages: Vec<Line>,
    has_more: bool,
}

impl Person {
    /// Signs one of the demo's people in.
    pub async fn sign_in(address: &str, username: &str) -> anyhow::Result<Self> {
        Self::enter(address, "login", username, &json!({ "username": username, "password": "roomcast" })).await
    }

    /// Somebody new.
    pub async fn register(address: &str, username: &str, name: &str) -> anyhow::Result<Self> {
        let form = json!({ "username": username, "name": name, "password": "roomcast" });
        Self::enter(address, "register", username, &form).await
    }

    async fn enter(address: &str, door: &str, username: &str, form: &Value) -> anyhow::Result<Self> {
        // reqwest is built with TLS but without a choice of cryptography.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        let origin = format!("http://{address}");
        let answer = http.post(format!("{origin}/api/{door}")).json(form).send().await?.error_for_status()?;
        let cookie = answer
            .headers()
            .get(header::SET_COOKIE)
            .and_then(|cookie| cookie.to_str().ok()?.split(';').next())
            .context("no session cookie")?
            .to_owned();
        let user: Value = answer.json().await?;
        let id = user["user"]["id"].as_i64().context("no user id")?;
        Ok(Self { http, origin, cookie, id, username: username.to_owned() })
    }

    /// A request of this person.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.origin)).header(header::COOKIE, &self.cookie)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let answer = self.request(Method::GET, path).send().await?.error_for_status()?;
        Ok(answer.json().await?)
    }

    /// A fresh connection token.
    pub async fn token(&self) -> anyhow::Result<String> {
        let answer: Value = self.get("/api/token").await?;
        Ok(answer["token"].as_str().context("no token")?.to_owned())
    }

    /// Creates a room and is its first member.
    pub async fn create_room(&self, name: &str) -> anyhow::Result<i64> {
        let answer = self.request(Method::POST, "/api/rooms").json(&json!({ "name": name })).send().await?;
        let room: Value = answer.error_for_status()?.json().await?;
        room["id"].as_i64().context("no room id")
    }

    /// Becomes a member.
    pub async fn join(&self, room: i64) -> anyhow::Result<()> {
        self.request(Method::POST, &format!("/api/rooms/{room}/join")).send().await?.error_for_status()?;
        Ok(())
    }

    /// Is no longer a member.
    pub async fn leave(&self, room: i64) -> anyhow::Result<()> {
        self.request(Method::POST, &format!("/api/rooms/{room}/leave")).send().await?.error_for_status()?;
        Ok(())
    }

    /// Asks for a mode, as an administrator. An error is a refusal, with its reason.
    pub async fn ask_for_mode(&self, mode: &str) -> anyhow::Result<()> {
        let body = json!({ "mode": mode });
        let answer = self.request(Method::PUT, "/api/settings/broadcast-mode").json(&body).send().await?;
        if answer.status().is_success() { Ok(()) } else { bail!("{mode}: {}", answer.text().await?) }
    }

    /// Switches to a mode as soon as it can be had.
    pub async fn switch_to(&self, mode: &str) -> anyhow::Result<()> {
        let asked = async || self.ask_for_mode(mode).await.map(|()| true);
        eventually("the mode can be had", Duration::from_mins(2), asked).await
    }

    /// Posts until it is saved, with one `client_id`, as the page does when the backend dies meanwhile.
    pub async fn say(&self, room: i64, text: &str) -> anyhow::Result<()> {
        self.say_by(None, room, text).await
    }

    /// The same; the message may name its way.
    pub async fn say_by(&self, way: Option<&str>, room: i64, text: &str) -> anyhow::Result<()> {
        let mut body = json!({ "text": text, "client_id": Uuid::new_v4() });
        if let Some(way) = way {
            body["mode"] = way.into();
        }
        let post = || self.request(Method::POST, &format!("/api/rooms/{room}/messages")).json(&body).send();
        for _ in 0..600 {
            match post().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) if answer.status().is_client_error() && answer.status() != StatusCode::TOO_MANY_REQUESTS => {
                    bail!("{} said {:?}: {}", self.username, text, answer.text().await?)
                }
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        bail!("{text:?} could not be saved within a minute")
    }

    /// The whole timeline of a room, oldest first, as the truth has it.
    pub async fn timeline(&self, room: i64) -> anyhow::Result<Vec<Line>> {
        let mut lines = Vec::new();
        let mut before = String::new();
        loop {
            let page: Page = self.get(&format!("/api/rooms/{room}/messages?limit=100{before}")).await?;
            let Some(first) = page.messages.first() else { return Ok(lines) };
            before = format!("&before={}", first.version);
            lines.splice(0..0, page.messages);
            if !page.has_more {
                return Ok(lines);
            }
        }
    }
}

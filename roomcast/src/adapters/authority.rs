//! Whom the hub asks: the database through the backend's functions in this process, or a backend over HTTP.

use std::time::Duration;

use async_trait::async_trait;
use hub::{Access, Authority, AuthorityError, Backlog, Subscription};
use protocol::{Channel, Offset, Position, UserId};
use reqwest::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use sqlx::PgPool;

use super::http;

/// The backend's own answers, from the database of this process.
pub struct LocalAuthority(pub PgPool);

/// A backend elsewhere, over its `/internal` routes.
pub struct RemoteAuthority {
    http: reqwest::Client,
    backend: String,
    key: String,
}

#[async_trait]
impl Authority for LocalAuthority {
    async fn subscriptions(&self, user: &str) -> Result<Vec<Subscription>, AuthorityError> {
        let answer = backend::authority::subscriptions(&self.0, user).await.map_err(AuthorityError::unavailable)?;
        Ok(answer.into_iter().map(|it| Subscription { channel: it.channel, position: it.position }).collect())
    }

    async fn access(&self, user: &str, channel: &Channel) -> Result<Access, AuthorityError> {
        let answer = backend::authority::access(&self.0, user, channel).await.map_err(AuthorityError::unavailable)?;
        Ok(if answer.granted { Access::Granted(answer.position) } else { Access::Denied })
    }

    async fn backlog(&self, channel: &Channel, after: Offset, limit: u32) -> Result<Backlog, AuthorityError> {
        let answer = backend::authority::backlog(&self.0, channel, after, limit).await;
        let backlog = answer.map_err(AuthorityError::unavailable)?.ok_or(AuthorityError::NoSuchChannel)?;
        let publications = backlog.publications.into_iter().map(|it| (it.offset, it.data)).collect();
        Ok(Backlog { position: backlog.position, publications })
    }
}

impl RemoteAuthority {
    /// A backend that does not answer within this time is down; the hub asks again, or has the client come back.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// The backend at this origin, such as `http://127.0.0.1:8000`.
    pub fn new(backend: String, key: String) -> anyhow::Result<Self> {
        Ok(Self { http: http::client(Self::PATIENCE)?, backend, key })
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, AuthorityError> {
        let url = format!("{}{path}", self.backend);
        let answer = self.http.get(url).bearer_auth(&self.key).query(query).send().await;
        let answer = answer.map_err(AuthorityError::unavailable)?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(AuthorityError::NoSuchChannel);
        }
        let answer = answer.error_for_status().map_err(AuthorityError::unavailable)?;
        answer.json().await.map_err(AuthorityError::unavailable)
    }
}

#[derive(Deserialize)]
struct Subscriptions {
    subscriptions: Vec<RemoteSubscription>,
}

#[derive(Deserialize)]
struct RemoteSubscription {
    channel: Channel,
    #[serde(flatten)]
    position: Option<Position>,
}

#[derive(Deserialize)]
struct RemoteAccess {
    granted: bool,
    position: Option<Position>,
}

#[derive(Deserialize)]
struct RemoteBacklog {
    position: Position,
    publications: Vec<RemotePublication>,
}

#[derive(Deserialize)]
struct RemotePublication {
    offset: Offset,
    data: Box<RawValue>,
}

#[async_trait]
impl Authority for RemoteAuthority {
    async fn subscriptions(&self, user: &str) -> Result<Vec<Subscription>, AuthorityError> {
        // Only users of the backend have channels; their ids are numbers.
        let Ok(user) = user.parse::<UserId>() else { return Ok(Vec::new()) };
        let answer: Subscriptions = self.ask(&format!("/internal/users/{user}/subscriptions"), &[]).await?;
        let subscriptions = answer.subscriptions.into_iter();
        Ok(subscriptions.map(RemoteSubscription::into_subscription).collect())
    }

    async fn access(&self, user: &str, channel: &Channel) -> Result<Access, AuthorityError> {
        let query = [("user", user), ("channel", channel.as_str())];
        let answer: RemoteAccess = self.ask("/internal/access", &query).await?;
        Ok(if answer.granted { Access::Granted(answer.position) } else { Access::Denied })
    }

    async fn backlog(&self, channel: &Channel, after: Offset, limit: u32) -> Result<Backlog, AuthorityError> {
        let (after, limit) = (after.to_string(), limit.to_string());
        let query = [("channel", channel.as_str()), ("after", after.as_str()), ("limit", limit.as_str())];
        let answer: RemoteBacklog = self.ask("/internal/backlog", &query).await?;
        let publications = answer.publications.into_iter().map(|it| (it.offset, it.data)).collect();
        Ok(Backlog { position: answer.position, publications })
    }
}

impl RemoteSubscription {
    /// A channel that the truth does not count comes without an epoch.
    fn into_subscription(self) -> Subscription {
        Subscription { channel: self.channel, position: self.position.filter(|position| !position.epoch.is_empty()) }
    }
}

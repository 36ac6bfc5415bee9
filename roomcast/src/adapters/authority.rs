//! Whom the hub asks: the database through the backend's functions in this process, or a backend over HTTP.

use std::{future::Future, time::Duration};

use backend::authority::Question;
use hub::{Access, AuthorityError, Backlog, Subscription};
use protocol::{Channel, Offset, Position, UserId};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{json, value::RawValue};
use sqlx::PgPool;

use super::http;

/// Who is asked, for many at a time. Answers come in the order of the questions.
pub trait Truth: Send + Sync + 'static {
    /// The channels of each of these users.
    fn subscriptions(&self, users: &[UserId]) -> impl Future<Output = Answers<Vec<Subscription>>> + Send;

    /// May they?
    fn access(&self, questions: &[Question]) -> impl Future<Output = Answers<Access>> + Send;

    /// See [`hub::Authority::backlog`].
    fn backlog(
        &self,
        channel: &Channel,
        after: Offset,
        limit: u32,
    ) -> impl Future<Output = Result<Backlog, AuthorityError>> + Send;
}

/// One for each question.
pub(super) type Answers<T> = Result<Vec<T>, AuthorityError>;

/// The backend's own answers, from the database of this process.
pub struct Local(pub PgPool);

/// A backend elsewhere, over its `/internal` routes.
pub struct Remote {
    http: reqwest::Client,
    backend: String,
    key: String,
}

impl Truth for Local {
    async fn subscriptions(&self, users: &[UserId]) -> Answers<Vec<Subscription>> {
        let answers = backend::authority::subscriptions(&self.0, users).await.map_err(AuthorityError::unavailable)?;
        let subscription =
            |it: backend::authority::Subscription| Subscription { channel: it.channel, position: it.position };
        Ok(answers.into_iter().map(|of_user| of_user.into_iter().map(subscription).collect()).collect())
    }

    async fn access(&self, questions: &[Question]) -> Answers<Access> {
        let answers = backend::authority::access(&self.0, questions).await.map_err(AuthorityError::unavailable)?;
        Ok(answers.into_iter().map(|it| access(it.granted, it.position)).collect())
    }

    async fn backlog(&self, channel: &Channel, after: Offset, limit: u32) -> Result<Backlog, AuthorityError> {
        let answer = backend::authority::backlog(&self.0, channel, after, limit).await;
        let backlog = answer.map_err(AuthorityError::unavailable)?.ok_or(AuthorityError::NoSuchChannel)?;
        let publications = backlog.publications.into_iter().map(|it| (it.offset, it.data)).collect();
        Ok(Backlog { position: backlog.position, publications })
    }
}

fn access(granted: bool, position: Option<Position>) -> Access {
    if granted { Access::Granted(position) } else { Access::Denied }
}

impl Remote {
    /// A backend that does not answer within this time is down; the hub asks again, or has the client come back.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// The backend at this origin, such as `http://127.0.0.1:8000`.
    pub fn new(backend: String, key: String) -> anyhow::Result<Self> {
        Ok(Self { http: http::client(Self::PATIENCE)?, backend, key })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, AuthorityError> {
        self.ask(self.http.get(self.address(path)).query(query)).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, AuthorityError> {
        self.ask(self.http.post(self.address(path)).json(body)).await
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.backend)
    }

    async fn ask<T: DeserializeOwned>(&self, question: reqwest::RequestBuilder) -> Result<T, AuthorityError> {
        let answer = question.bearer_auth(&self.key).send().await.map_err(AuthorityError::unavailable)?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(AuthorityError::NoSuchChannel);
        }
        let answer = answer.error_for_status().map_err(AuthorityError::unavailable)?;
        answer.json().await.map_err(AuthorityError::unavailable)
    }
}

#[derive(Deserialize)]
struct RemoteSubscriptions {
    subscriptions: Vec<Vec<RemoteSubscription>>,
}

#[derive(Deserialize)]
struct RemoteSubscription {
    channel: Channel,
    #[serde(flatten)]
    position: Option<Position>,
}

#[derive(Deserialize)]
struct RemoteAnswers {
    answers: Vec<RemoteAccess>,
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

impl Truth for Remote {
    async fn subscriptions(&self, users: &[UserId]) -> Answers<Vec<Subscription>> {
        let answer: RemoteSubscriptions = self.post("/internal/subscriptions", &json!({ "users": users })).await?;
        let of_user = |it: Vec<RemoteSubscription>| it.into_iter().map(RemoteSubscription::into_subscription).collect();
        Ok(answer.subscriptions.into_iter().map(of_user).collect())
    }

    async fn access(&self, questions: &[Question]) -> Answers<Access> {
        let answer: RemoteAnswers = self.post("/internal/access", &json!({ "questions": questions })).await?;
        Ok(answer.answers.into_iter().map(|it| access(it.granted, it.position)).collect())
    }

    async fn backlog(&self, channel: &Channel, after: Offset, limit: u32) -> Result<Backlog, AuthorityError> {
        let (after, limit) = (after.to_string(), limit.to_string());
        let query = [("channel", channel.as_str()), ("after", after.as_str()), ("limit", limit.as_str())];
        let answer: RemoteBacklog = self.get("/internal/backlog", &query).await?;
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

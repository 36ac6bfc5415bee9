//! Requests to Connect, and its answers as values and errors.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::sleep;

use super::{Connect, PATIENCE, POLL, Status};
use crate::{Connector, Error};

/// Connect's own limit is 90 s.
const LIMIT: Duration = Duration::from_secs(100);

/// What Connect says when it does not do something.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// A connector in an expanded list.
#[derive(Deserialize)]
pub(super) struct Expanded {
    pub(super) status: Status,
}

impl Connect {
    /// The address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// False while it starts: at first it knows no question at all, then it says that it is not healthy yet.
    pub(crate) async fn health(&self) -> Result<bool, Error> {
        let answer = self.send(self.request(Method::GET, "/health").timeout(Duration::from_secs(2))).await?;
        Ok(answer.status().is_success())
    }

    pub(super) async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, Error> {
        let answer = self.heard(method, path).await?;
        answer.json().await.map_err(|source| self.unreachable(source))
    }

    pub(super) async fn ask_about<T: DeserializeOwned>(
        &self,
        name: &str,
        method: Method,
        what: &str,
    ) -> Result<T, Error> {
        self.ask(method, &format!("/connectors/{name}{what}")).await.map_err(|error| missing(error, name))
    }

    pub(super) async fn tell_about(&self, name: &str, method: Method, what: &str) -> Result<(), Error> {
        let heard = self.heard(method, &format!("/connectors/{name}{what}")).await;
        heard.map(drop).map_err(|error| missing(error, name))
    }

    pub(super) async fn put(&self, connector: &Connector) -> Result<(), Error> {
        let path = format!("/connectors/{}/config", connector.name());
        let put = || self.request(Method::PUT, &path).json(connector.config());
        match self.patiently(put).await {
            Err(Error::Unexpected { status: 400, text, .. }) => {
                Err(Error::Refused { name: connector.name().to_owned(), reasons: reasons(&text) })
            }
            other => other.map(drop),
        }
    }

    async fn heard(&self, method: Method, path: &str) -> Result<Response, Error> {
        self.patiently(|| self.request(method.clone(), path)).await
    }

    /// Connect refuses orders while it hands out work, and does what it was asked when asked again.
    async fn patiently(&self, request: impl Fn() -> RequestBuilder) -> Result<Response, Error> {
        let begin = Instant::now();
        loop {
            let answer = self.send(request().timeout(LIMIT)).await?;
            let status = answer.status();
            if status.is_success() {
                return Ok(answer);
            }
            let request = answer.url().path().to_owned();
            let text = answer.text().await.map_err(|source| self.unreachable(source))?;
            let text = serde_json::from_str(&text).map_or(text, |refusal: Refusal| refusal.message);
            let is_busy = status == StatusCode::CONFLICT || text.contains("rebalance");
            if !is_busy || begin.elapsed() > PATIENCE {
                return Err(Error::Unexpected { status: status.as_u16(), request, text });
            }
            sleep(POLL).await;
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        request.send().await.map_err(|source| self.unreachable(source))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    fn unreachable(&self, source: reqwest::Error) -> Error {
        Error::Unreachable { url: self.url.clone(), source }
    }
}

fn missing(error: Error, name: &str) -> Error {
    match error {
        Error::Unexpected { status: 404, .. } => Error::Missing(name.to_owned()),
        other => other,
    }
}

/// Connect puts an introduction before the errors and a hint about its own interface behind them.
fn reasons(message: &str) -> String {
    let lines = message.lines().filter(|line| {
        !line.starts_with("Connector configuration is invalid") && !line.starts_with("You can also find the above list")
    });
    lines
        .filter(|line| !line.trim().is_empty())
        .map(|line| format!("  - {}", line.trim()))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_reduced_to_its_reasons() {
        let message = "Connector configuration is invalid and contains the following 2 error(s):\n\
            The 'snapshot.mode' value is invalid: Value must be one of always, no_data\nThe 'topic.prefix' value is invalid: A value is required\n\
            You can also find the above list of errors at the endpoint `/connector-plugins/{connectorType}/config/validate`";
        assert_eq!(
            reasons(message),
            "  - The 'snapshot.mode' value is invalid: Value must be one of always, no_data\n  - The 'topic.prefix' value is invalid: A value is required"
        );
    }
}

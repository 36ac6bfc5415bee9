//! Whether this process lives (`/healthz`) and whether it can do its work (`/readyz`), part by part, with notices of what
//! a person should see to although the work gets done.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use futures_util::future::{BoxFuture, join_all};
use metrics_exporter_prometheus::PrometheusHandle;
use relay::Notice;
use serde::Serialize;
use serde_json::Value;

/// A part that does not answer within this time is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a part says of itself: details when it is ready, the reason when it is not.
pub type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<Value, String>> + Send + Sync>;

/// What there is to be seen to at present.
pub type Look = Arc<dyn Fn() -> Vec<Notice> + Send + Sync>;

/// The parts of this process that must work.
#[derive(Clone, Default)]
pub struct Health {
    parts: Vec<(&'static str, Check)>,
    looks: Vec<Look>,
}

#[derive(Serialize)]
struct Part {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Value::is_null")]
    details: Value,
}

#[derive(Serialize)]
struct Report {
    ready: bool,
    parts: BTreeMap<&'static str, Part>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notices: Vec<Notice>,
}

impl Health {
    /// Adds a needed part.
    #[must_use]
    pub fn with<F, Fut>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, String>> + Send + 'static,
    {
        self.parts.push((name, Arc::new(move || Box::pin(check()))));
        self
    }

    /// Adds notices. They make nothing unready.
    #[must_use]
    pub fn with_notices(mut self, look: impl Fn() -> Vec<Notice> + Send + Sync + 'static) -> Self {
        self.looks.push(Arc::new(look));
        self
    }

    async fn report(&self) -> Report {
        let parts = join_all(self.parts.iter().map(|(name, check)| async move {
            let answer = tokio::time::timeout(PATIENCE, check()).await;
            let part = match answer {
                Ok(Ok(details)) => Part { ready: true, reason: None, details },
                Ok(Err(reason)) => Part { ready: false, reason: Some(reason), details: Value::Null },
                Err(_) => Part {
                    ready: false,
                    reason: Some(format!("no answer within {} s", PATIENCE.as_secs())),
                    details: Value::Null,
                },
            };
            (*name, part)
        }))
        .await;
        let notices = self.looks.iter().flat_map(|look| look()).collect();
        Report { ready: parts.iter().all(|(_, part)| part.ready), parts: parts.into_iter().collect(), notices }
    }
}

/// `/healthz` (and `/health`, its name in Centrifugo), `/readyz` and `/metrics`.
pub fn router(health: Health, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/health", get(async || Json(serde_json::json!({}))))
        .route("/readyz", get(readyz))
        .with_state(health)
        .route("/metrics", get(async move || metrics.render()))
}

async fn readyz(State(health): State<Health>) -> (StatusCode, Json<Report>) {
    let report = health.report().await;
    (if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_notice_is_told_and_makes_nothing_unready() {
        let notice = Notice {
            about: "roomcast_rows".to_owned(),
            notice: "nobody reads it".to_owned(),
            remedy: "roomcast slots remove roomcast_rows".to_owned(),
        };
        let quiet = Health::default().with("database", async || Ok(Value::Null));
        assert!(!serde_json::to_string(&quiet.report().await).unwrap().contains("notices"));

        let report = quiet.with_notices(move || vec![notice.clone()]).report().await;
        assert!(report.ready);
        let told = serde_json::to_value(&report).unwrap();
        assert_eq!(told["notices"][0]["remedy"], "roomcast slots remove roomcast_rows");
    }
}

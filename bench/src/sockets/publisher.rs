//! Publishes through the server API on connections that are kept, as a service beside the hub would.

use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::json;

use super::target::Target;
use crate::clock::unix_micros;

/// Connections to the server API: one, unless several publications are in flight.
#[derive(Clone)]
pub(super) struct Publisher {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: String,
    api_key: String,
    channels: Arc<[String]>,
    filling: String,
}

impl Publisher {
    /// To these channels in turn. `size` is that of the data, in bytes.
    pub(super) fn new(target: &Target, channels: Vec<String>, size: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let envelope = data(1_700_000_000_000_000, "").to_string().len();
        let filling = "x".repeat(size.saturating_sub(envelope));
        let uri = format!("{}/publish", target.api.trim_end_matches('/'));
        Self { client, uri, api_key: target.api_key.clone(), channels: channels.into(), filling }
    }

    /// The publication with this number; the clock begins before the request is written.
    pub(super) async fn publish(&self, number: u32) -> anyhow::Result<()> {
        let channel = &self.channels[number as usize % self.channels.len()];
        let body = json!({ "channel": channel, "data": data(unix_micros(), &self.filling) });
        let mut request = Request::post(&self.uri).header(header::CONTENT_TYPE, "application/json");
        if !self.api_key.is_empty() {
            request = request.header("X-API-Key", &self.api_key);
        }
        let answer = self.client.request(request.body(Full::from(body.to_string()))?).await;
        let (head, body) = answer.with_context(|| format!("no answer from {}", self.uri))?.into_parts();
        let body = body.collect().await?.to_bytes();
        let accepted = head.status.is_success() && !body.starts_with(b"{\"error\"");
        ensure!(accepted, "{} answered {}: {}", self.uri, head.status, String::from_utf8_lossy(&body));
        Ok(())
    }
}

fn data(time: i64, filling: &str) -> serde_json::Value {
    json!({ "t": time, "x": filling })
}

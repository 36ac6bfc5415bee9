//! What is said about a running process: the log and the metrics.

use std::{io::IsTerminal, sync::OnceLock};

use clap::{Args, ValueEnum};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Seconds; from a tenth of a millisecond, which is what a message takes inside one process, to ten seconds.
const LATENCY_BUCKETS: &[f64] =
    &[0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
/// Rows, messages.
const SIZE_BUCKETS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0];

/// How the log looks.
#[derive(Args, Clone, Debug)]
pub struct LogSettings {
    /// What is logged: error, warn, info, debug, trace, or a filter such as "info,relay=debug"
    #[arg(long = "log", env = "ROOMCAST_LOG", default_value = "info", global = true, help_heading = "Logging")]
    pub filter: String,
    /// text for people, json for machines
    #[arg(
        long = "log-format",
        env = "ROOMCAST_LOG_FORMAT",
        default_value = "text",
        global = true,
        help_heading = "Logging"
    )]
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts the log on standard error. A filter that cannot be read is said, and "info" is used.
pub fn start_logging(settings: &LogSettings) {
    // PostgreSQL's notices ("relation already exists, skipping") are of no use to anybody, unless they are asked for.
    let quiet = |filter: &str| format!("sqlx::postgres::notice=warn,{filter}").parse::<EnvFilter>();
    let (filter, problem) = match quiet(&settings.filter) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let registry = tracing_subscriber::registry().with(filter);
    match settings.format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal();
            registry.with(fmt::layer().with_ansi(colours).with_writer(std::io::stderr)).init();
        }
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).init(),
    }
    if let Some(error) = problem {
        tracing::warn!("ROOMCAST_LOG={:?} cannot be read ({error}); logging \"info\"", settings.filter);
    }
}

/// The metrics of this process, in Prometheus' text format.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), LATENCY_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), SIZE_BUCKETS)?
        .install_recorder()?;
    backend::metrics::describe();
    relay::metrics::describe();
    debezium::metrics::describe();
    Ok(HANDLE.get_or_init(|| handle).clone())
}

//! What `/metrics` says: requests by code and path, and how long they took.
//!
//! Probes and scrapes are not counted: they always succeed, and would hide the failures of a shop with few customers.

use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// In seconds; the defaults of the Prometheus client libraries.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answer {
    code: u16,
    path: &'static str,
}

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Answer, Counter>,
    duration: Histogram,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<Answer, Counter>::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let duration = Histogram::new(BUCKETS);
        registry.register_with_unit(
            "http_request_duration",
            "Time to answer",
            Unit::Seconds,
            duration.clone(),
        );
        // There from the start at 0: the first failure is then a rise, not a new series.
        for code in [StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR] {
            requests.get_or_create(&Answer { code: code.as_u16(), path: "/" }).inc_by(0);
        }
        Self { registry, requests, duration }
    }

    pub fn answered(&self, path: &'static str, code: StatusCode, took: Duration) {
        self.requests.get_or_create(&Answer { code: code.as_u16(), path }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// OpenMetrics text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_there_at_zero_before_the_first() {
        let text = Metrics::new().text().unwrap();
        assert!(text.contains("http_requests_total{code=\"500\",path=\"/\"} 0\n"), "{text}");
        assert!(text.contains("http_requests_total{code=\"200\",path=\"/\"} 0\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn an_answer_is_counted_once_in_both() {
        let metrics = Metrics::new();
        metrics.answered("/", StatusCode::INTERNAL_SERVER_ERROR, Duration::from_millis(300));
        let text = metrics.text().unwrap();
        for line in [
            "http_requests_total{code=\"500\",path=\"/\"} 1\n",
            "http_request_duration_seconds_count 1\n",
            "http_request_duration_seconds_bucket{le=\"0.25\"} 0\n",
            "http_request_duration_seconds_bucket{le=\"0.5\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}

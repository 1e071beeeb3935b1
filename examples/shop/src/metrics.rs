//! What `/metrics` says: requests by code and path, how long they took, and the memory it takes itself.
//!
//! Probes and scrapes are not counted: they always succeed, and would hide the failures of a shop with few customers.

use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
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
    memory: Gauge,
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
        let memory = Gauge::default();
        registry.register_with_unit(
            "process_resident_memory",
            "Memory it takes",
            Unit::Bytes,
            memory.clone(),
        );
        // There from the start at 0: the first failure is then a rise, not a new series.
        for code in [StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR] {
            requests.get_or_create(&Answer { code: code.as_u16(), path: "/" }).inc_by(0);
        }
        Self { registry, requests, duration, memory }
    }

    pub fn answered(&self, path: &'static str, code: StatusCode, took: Duration) {
        self.requests.get_or_create(&Answer { code: code.as_u16(), path }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// OpenMetrics text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        if let Some(bytes) = resident() {
            self.memory.set(bytes);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Bytes in memory, as Linux says it; `None` where it does not.
fn resident() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
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

    #[test]
    fn the_memory_it_takes_is_told_in_bytes() {
        let text = Metrics::new().text().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        let bytes: i64 = line.unwrap().parse().unwrap();
        assert!(bytes > 1 << 16, "{text}");
    }
}

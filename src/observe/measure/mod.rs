//! Measuring: what the pods' own `/metrics`, or a Prometheus server, say about requests, errors and latency, turned into the
//! judge's slots.
//!
//! ```text
//! names ──► which series mean what (once a run)
//!             │
//! scrape ─────┤        one page a pod      ┐
//! prometheus ─┘        one query a family  ┴─► Vec<SeriesValue> per pod ─► counters::Ledger ─► slots
//! ```
//!
//! Nothing here reads a clock: moments come in as parameters, in unix seconds. Nothing here judges: a pod that could not be
//! read is *missing*, never zero, and what that means is the judge's business.

pub mod counters;
pub mod exposition;
pub mod names;
pub mod prometheus;
pub mod scrape;

use std::time::Duration;

use crate::decide::judge::Bound;

/// The most series of the chosen families that one pod may have. More is [`ReadError::TooManySeries`].
pub const SERIES_PER_POD: usize = 20_000;

/// What one series of a chosen family counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counts {
    /// Requests; `error` when the series' status label says that they failed.
    Requests {
        /// Whether these requests failed.
        error: bool,
    },
    /// Requests that took at most this long.
    Bucket(Bound),
}

/// One series of one pod: what it has counted since its process started.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesValue {
    /// A hash of the sample's name and labels: the same series has the same hash in every reading of one process.
    pub series: u64,
    /// What it counts.
    pub counts: Counts,
    /// The cumulative count. As read: it may be NaN or negative, the ledger leaves such values out.
    pub value: f64,
}

/// Which TLS roots a client trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// None: for plain HTTP. Works in an image without CA certificates.
    Nothing,
    /// The operating system's. Fails where there are none.
    System,
}

/// A client for the readers of this module: no redirects (a pod must not send the operator elsewhere), no proxy from the
/// environment (pod addresses are local), gzip, few idle connections.
///
/// # Errors
/// [`ReadError::Client`] when the TLS roots cannot be loaded.
pub fn client(trust: Trust) -> Result<reqwest::Client, ReadError> {
    // Fails when one is installed already, which is just as good; without any, `build` would panic.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .gzip(true)
        .pool_max_idle_per_host(2)
        .pool_idle_timeout(Duration::from_secs(60));
    let builder = match trust {
        Trust::Nothing => builder.tls_certs_only([]),
        Trust::System => builder,
    };
    builder.build().map_err(|error| ReadError::Client(innermost(&error)))
}

/// How long to wait between two rounds of reading a run's pods: a second while its canary is `young`, else five, stretched
/// to whole seconds so that all runs together stay within `cap_per_second` reads (0 counts as 1).
///
/// `pods_in_all_runs` is the number of pods read one by one, of every run. Because each run's interval is at least
/// `pods_in_all_runs / cap_per_second`, the sum of all runs' reads stays within the cap whatever mix of young and old they
/// are. Whole seconds keep the slots of a run aligned.
pub fn cadence(young: bool, pods_in_all_runs: usize, cap_per_second: u32) -> Duration {
    let wanted = if young { 1 } else { 5 };
    let pods = u64::try_from(pods_in_all_runs).unwrap_or(u64::MAX);
    let within_cap = pods.div_ceil(u64::from(cap_per_second.max(1)));
    Duration::from_secs(within_cap.max(wanted))
}

/// Why a pod, or all of them, could not be read. Messages never hold a URL or a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The HTTP client cannot be built.
    #[error("cannot build an HTTP client: {0}")]
    Client(String),
    /// The address is no URL.
    #[error("not a usable address: {0}")]
    Address(String),
    /// No connection, or it broke.
    #[error("no connection: {0}")]
    Refused(String),
    /// No whole answer within the deadline.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// An answer, but not 200.
    #[error("answered with status {0}")]
    Status(u16),
    /// The answer is longer than is read.
    #[error("answer larger than {limit} bytes")]
    TooLarge {
        /// Bytes, after decompression.
        limit: usize,
    },
    /// The answer is no metrics page, or was cut off.
    #[error("not a metrics page: {0}")]
    NotMetrics(String),
    /// More series than are kept.
    #[error("more than {limit} series of the chosen metrics on one pod; drop a label from them")]
    TooManySeries {
        /// Series.
        limit: usize,
    },
    /// None of the known request counters is there.
    #[error("no request counter found among {series} series; set metrics.requests.name")]
    NoCounter {
        /// How many series were looked at, of all pods.
        series: usize,
    },
    /// The counter that the Release names is not there.
    #[error(
        "no series {name} found among {series} series; check metrics.requests.name, or send the pods a request"
    )]
    NoSuchCounter {
        /// The name in the spec.
        name: String,
        /// How many series were looked at, of all pods.
        series: usize,
    },
    /// A request counter that does not say which requests failed.
    #[error("{name} has no label that says which requests failed; set metrics.requests.statusLabel")]
    NoStatusLabel {
        /// The sample's name.
        name: String,
    },
    /// Prometheus knows nothing of this pod.
    #[error("prometheus has no samples of this pod")]
    NoSamples,
    /// Prometheus' newest sample of this pod is too old.
    #[error("the newest sample is {age_seconds} s old")]
    Stale {
        /// Its age in seconds.
        age_seconds: i64,
    },
    /// Prometheus answered with an error of its own.
    #[error("prometheus: {0}")]
    Api(String),
}

impl ReadError {
    /// One word out of a closed set, for metric labels and event reasons.
    pub fn category(&self) -> &'static str {
        match self {
            ReadError::Client(_) | ReadError::Address(_) => "settings",
            ReadError::Refused(_) => "refused",
            ReadError::Timeout(_) => "timeout",
            ReadError::Status(_) => "status",
            ReadError::TooLarge { .. } | ReadError::TooManySeries { .. } => "too_large",
            ReadError::NotMetrics(_) => "not_metrics",
            ReadError::NoCounter { .. }
            | ReadError::NoSuchCounter { .. }
            | ReadError::NoStatusLabel { .. } => "no_counter",
            ReadError::NoSamples | ReadError::Stale { .. } => "stale",
            ReadError::Api(_) => "api",
        }
    }
}

/// What is at the bottom of an error, in at most 200 characters: the layers above it repeat the URL.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    shortened(&deepest.to_string(), 200)
}

/// The first `most` characters, without line breaks and other control characters.
fn shortened(text: &str, most: usize) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(most).collect()
}

/// Reads a body of at most `limit` bytes, after decompression: a small answer that unpacks to a large one stops here too.
async fn body(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| ReadError::Refused(innermost(&error)))? {
        if bytes.len() + chunk.len() > limit {
            return Err(ReadError::TooLarge { limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

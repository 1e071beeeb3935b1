//! Measuring: what the pods' own `/metrics`, or a Prometheus server, say about requests, errors and latency, turned into the
//! judge's slots.
//!
//! ```text
//! names ──► which series mean what (once a run)
//!             │
//! scrape ─────┤                   one page a pod                    ┐
//! prometheus ─┘ (through servers) one query a family and server     ┴─► Vec<SeriesValue> per pod ─► counters::Ledger ─► slots
//! history ──── the past, from prometheus: read as rounds would have read it                      ─┘
//! instant ───── (through servers) one query a criterion             ──► numbers, as they are
//! earlier ───── the past of those
//! ```
//!
//! What is between an answer and the next round's, of all runs, has its room in `kept`; what is not an answer yet, in `answer_room`.
//!
//! Nothing here reads a clock: moments come in as parameters, in unix seconds. Nothing here judges: a pod that could not be
//! read is *missing*, never zero, and what that means is the judge's business.

mod answer_room;
pub mod counters;
pub mod earlier;
pub mod exposition;
pub mod history;
pub mod instant;
pub mod kept;
pub mod names;
pub mod native;
pub mod pace;
mod presets;
pub mod prometheus;
pub mod scrape;
pub mod servers;

use std::collections::BTreeSet;
use std::time::Duration;

use self::answer_room::{Held, ROOM};
use super::reach::{Client, Denied, Reach};
use crate::decide::judge::Bound;
use crate::letters::on_one_line;

/// The most series of the chosen families that one pod may have. More is [`ReadError::TooManySeries`].
pub const SERIES_PER_POD: usize = 20_000;
/// The most different bounds that the histograms of one pod may have, `+Inf` among them. Libraries have 10 to 20, Micrometer 73, or 276 where no least and
/// greatest value is set; our grid for native histograms has fewer than 90. More is [`ReadError::TooManyBounds`]: each slot and each sum has a count for
/// each.
pub const BOUNDS_PER_POD: usize = 320;
/// The same of all pods of a run together: stable ones may have other bounds than the canary's. More is [`ReadError::TooManyBoundsTogether`].
pub const BOUNDS_PER_RUN: usize = 2 * BOUNDS_PER_POD;

/// What one series of a chosen family counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counts {
    /// Requests; `error` is what the series' status label says.
    Requests {
        /// Whether these requests failed. `None`: the series has no status, so nobody can tell.
        error: Option<bool>,
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

/// The series of one pod, where they are no more than are read.
fn within_limits(values: Vec<SeriesValue>) -> Result<Vec<SeriesValue>, ReadError> {
    if values.len() > SERIES_PER_POD {
        return Err(ReadError::TooManySeries { limit: SERIES_PER_POD });
    }
    let mut bounds = BTreeSet::new();
    for value in &values {
        if let Counts::Bucket(bound) = value.counts {
            bounds.insert(bound);
            if bounds.len() > BOUNDS_PER_POD {
                return Err(ReadError::TooManyBounds { limit: BOUNDS_PER_POD });
            }
        }
    }
    Ok(values)
}

/// Which TLS roots a client trusts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trust {
    /// None: for plain HTTP. Works in an image without CA certificates.
    Nothing,
    /// The operating system's. Fails where there are none.
    System,
    /// These and no others: certificates in PEM.
    Only(Vec<u8>),
}

/// A client for the readers of this module, which asks within this reach: gzip, few idle connections.
///
/// # Errors
/// [`ReadError::Client`] when the TLS roots cannot be loaded, [`ReadError::Credentials`] when those given are none.
pub fn client(trust: Trust, reach: &Reach) -> Result<Client, ReadError> {
    // Fails when one is installed already, which is just as good; without any, `build` would panic.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .gzip(true)
        .pool_max_idle_per_host(2)
        .pool_idle_timeout(Duration::from_secs(60));
    let builder = match trust {
        Trust::Nothing => builder.tls_certs_only([]),
        Trust::System => builder,
        Trust::Only(pem) => builder.tls_certs_only(certificates(&pem)?),
    };
    Client::new(builder, reach).map_err(|error| ReadError::Client(innermost(&error)))
}

fn certificates(pem: &[u8]) -> Result<Vec<reqwest::Certificate>, ReadError> {
    let wrong =
        |problem: String| ReadError::Credentials { field: "metrics.prometheus.ca", problem, lasting: true };
    let found = reqwest::Certificate::from_pem_bundle(pem)
        .map_err(|error| wrong(format!("it cannot be read as PEM: {}", innermost(&error))))?;
    if found.is_empty() {
        return Err(wrong("it holds no certificate: put one there in PEM (BEGIN CERTIFICATE)".to_owned()));
    }
    Ok(found)
}

/// Who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A pod, for its page.
    Pod,
    /// A Prometheus server.
    Prometheus,
}

/// Why a pod, or all of them, could not be read, and what to do about it. Messages never hold a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The HTTP client cannot be built.
    #[error("cannot build an HTTP client: {0}")]
    Client(String),
    /// The address is no URL.
    #[error("not a usable address: {0}; write http://name.namespace:9090")]
    Address(String),
    /// A Secret or ConfigMap that a Release names for its Prometheus server, or what is in it, is not there.
    #[error("{field}: {problem}")]
    Credentials {
        /// The field of the Release.
        field: &'static str,
        /// What is wrong with what it names, and the fix. Never a value.
        problem: String,
        /// Whether it is so until somebody changes something; else the API server could just not be asked.
        lasting: bool,
    },
    /// Nobody whom a Release may send the operator to.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// No connection.
    #[error("no connection{}: {problem}; {}", to(.asked), reach(.asked))]
    Refused {
        /// Who was asked.
        asked: Asked,
        /// In the words of the layer that failed.
        problem: String,
    },
    /// The answer broke off.
    #[error("the answer{} broke off: {problem}; it is read again in the next round", from(.asked))]
    Broken {
        /// Who was asked.
        asked: Asked,
        /// In the words of the layer that failed.
        problem: String,
    },
    /// No whole answer within the deadline.
    #[error("no answer{} within {} ms; {}", from(.asked), .after.as_millis(), slow(.asked))]
    Timeout {
        /// Who was asked.
        asked: Asked,
        /// The deadline.
        after: Duration,
    },
    /// An answer, but not 200.
    #[error("{} with status {status}; {}", answered(.asked), other_status(.asked, *.status))]
    Status {
        /// Who was asked.
        asked: Asked,
        /// The HTTP status.
        status: u16,
    },
    /// The answer is longer than is read.
    #[error("answer{} larger than {} MiB; {}", from(.asked), .limit >> 20, large(.asked))]
    TooLarge {
        /// Who was asked.
        asked: Asked,
        /// Bytes, after decompression.
        limit: usize,
    },
    /// The answer is no metrics page, or was cut off.
    #[error("not a metrics page: {0}; write where the page is as metrics.pods.port and metrics.pods.path")]
    NotMetrics(String),
    /// More series than are kept.
    #[error("more than {limit} series of the chosen metrics on one pod; drop a label from them")]
    TooManySeries {
        /// Series.
        limit: usize,
    },
    /// More different bounds than are kept.
    #[error(
        "more than {limit} different bounds (le) in the latency histogram of one pod; give it fewer buckets, or write another as metrics.latency.name"
    )]
    TooManyBounds {
        /// Bounds.
        limit: usize,
    },
    /// The same, of all pods of a run.
    #[error(
        "more than {limit} different bounds (le) in the latency histograms of all pods; give them the same buckets, or write another as metrics.latency.name"
    )]
    TooManyBoundsTogether {
        /// Bounds.
        limit: usize,
    },
    /// The namespace's share of the room for series is taken.
    #[error(
        "no room for the series of this pod: those of the namespace's runs take all that is left to it; drop labels from the chosen metrics, or release fewer pods at once"
    )]
    NoRoom,
    /// A series of a pod with more labels than are read.
    #[error("a series of the chosen metrics has more than {limit} labels; drop labels from it")]
    TooManyLabels {
        /// Labels.
        limit: usize,
    },
    /// More samples than are kept of one stretch of the past.
    #[error("more than {limit} samples of the chosen metrics within an hour; drop a label from them")]
    TooManySamples {
        /// Samples.
        limit: usize,
    },
    /// None of the values of the chosen counters can be one.
    #[error("{name} is {value}, which no counter can be; write the name of another as metrics.requests.name")]
    NotACounter {
        /// A sample's name.
        name: String,
        /// Its value.
        value: String,
    },
    /// None of the known request counters is there.
    #[error(
        "no known counter of requests among {series} series; write the name of yours as metrics.requests.name, or send the pods a request{}", listed(.seen)
    )]
    NoCounter {
        /// How many series were looked at, of all pods.
        series: usize,
        /// A few counters that are there.
        seen: String,
    },
    /// Several that are not well known, and nothing tells which is meant.
    #[error("several counters may be the requests: {names}; write one of them as metrics.requests.name")]
    SeveralCounters {
        /// Their names.
        names: String,
    },
    /// The counter that the Release names is not there.
    #[error(
        "no series {name} among {series} series; correct metrics.requests.name, or send the pods a request{}", listed(.seen)
    )]
    NoSuchCounter {
        /// The name in the spec.
        name: String,
        /// How many series were looked at, of all pods.
        series: usize,
        /// A few counters that are there.
        seen: String,
    },
    /// A request counter that does not say which requests failed.
    #[error(
        "{name} has no label that says which requests failed; write its label as metrics.requests.statusLabel, or another counter as metrics.requests.name"
    )]
    NoStatusLabel {
        /// The sample's name.
        name: String,
    },
    /// Requests without the label that is to say which of them failed.
    #[error(
        "{name} has no label {label} here, so nobody can tell which requests failed; write the label that holds their status as metrics.requests.statusLabel, or another counter as metrics.requests.name"
    )]
    NoSuchLabel {
        /// The sample's name.
        name: String,
        /// The label.
        label: String,
    },
    /// Prometheus knows nothing of this pod.
    #[error(
        "prometheus has no samples of this pod; it must scrape the pod and give its series the labels namespace and pod"
    )]
    NoSamples,
    /// Prometheus' newest sample of this pod is too old.
    #[error(
        "prometheus' newest sample of this pod is {age_seconds} s old; see its page Targets, and metrics.prometheus.scrapeInterval"
    )]
    Stale {
        /// Its age in seconds.
        age_seconds: i64,
    },
    /// Prometheus answered with an error of its own.
    #[error(
        "prometheus: {0}; it is asked again in the next round; if it stays so, name metrics with fewer series as metrics.requests and metrics.latency"
    )]
    Api(String),
    /// What answered is no Prometheus.
    #[error(
        "metrics.prometheus.url does not answer as Prometheus' API does ({0}); write the URL in front of /api/v1, with its path prefix"
    )]
    NotPrometheus(String),
}

fn to(asked: &Asked) -> &'static str {
    match asked {
        Asked::Pod => "",
        Asked::Prometheus => " to prometheus",
    }
}

fn from(asked: &Asked) -> &'static str {
    match asked {
        Asked::Pod => "",
        Asked::Prometheus => " from prometheus",
    }
}

fn reach(asked: &Asked) -> &'static str {
    match asked {
        Asked::Pod => {
            "write the port of the metrics page as metrics.pods.port, and let the operator in where a NetworkPolicy keeps it out"
        }
        Asked::Prometheus => "check metrics.prometheus.url and metrics.prometheus.ca, and NetworkPolicies",
    }
}

fn slow(asked: &Asked) -> &'static str {
    match asked {
        Asked::Pod => "is metrics.pods.port the port of the metrics page?",
        Asked::Prometheus => "it is asked again in the next round",
    }
}

fn answered(asked: &Asked) -> &'static str {
    match asked {
        Asked::Pod => "answered",
        Asked::Prometheus => "prometheus answered",
    }
}

fn other_status(asked: &Asked, status: u16) -> &'static str {
    match (asked, status) {
        (Asked::Pod, 401 | 403) => {
            "pages are read without credentials: let the operator read it, or use metrics.prometheus"
        }
        (Asked::Pod, _) => "write where the page is as metrics.pods.port and metrics.pods.path",
        (Asked::Prometheus, 401 | 403) => {
            "write credentials that it accepts as metrics.prometheus.auth, and its tenant as metrics.prometheus.headers"
        }
        (Asked::Prometheus, 300..=399 | 404 | 405) => {
            "write the URL in front of /api/v1, with its path prefix, as metrics.prometheus.url"
        }
        (Asked::Prometheus, _) => "it is asked again in the next round",
    }
}

fn large(asked: &Asked) -> &'static str {
    match asked {
        Asked::Pod => "drop a label from the page's largest metric, or use metrics.prometheus",
        Asked::Prometheus => {
            "drop a label from the chosen metrics, or write others as metrics.requests and metrics.latency"
        }
    }
}

fn listed(seen: &str) -> String {
    if seen.is_empty() { String::new() } else { format!("; counters seen: {seen}") }
}

impl ReadError {
    /// One word out of a closed set, for metric labels and event reasons.
    pub fn category(&self) -> &'static str {
        match self {
            ReadError::Client(_)
            | ReadError::Address(_)
            | ReadError::Denied(_)
            | ReadError::Credentials { .. } => "settings",
            ReadError::Refused { .. } | ReadError::Broken { .. } => "refused",
            ReadError::Timeout { .. } => "timeout",
            ReadError::Status { .. } => "status",
            ReadError::TooLarge { .. }
            | ReadError::TooManySeries { .. }
            | ReadError::TooManyBounds { .. }
            | ReadError::TooManyBoundsTogether { .. }
            | ReadError::NoRoom
            | ReadError::TooManyLabels { .. }
            | ReadError::TooManySamples { .. } => "too_large",
            ReadError::NotMetrics(_) | ReadError::NotPrometheus(_) => "not_metrics",
            ReadError::NoCounter { .. }
            | ReadError::SeveralCounters { .. }
            | ReadError::NoSuchCounter { .. }
            | ReadError::NotACounter { .. }
            | ReadError::NoStatusLabel { .. }
            | ReadError::NoSuchLabel { .. } => "no_counter",
            ReadError::NoSamples | ReadError::Stale { .. } => "stale",
            ReadError::Api(_) => "api",
        }
    }

    /// Why a request did not get an answer.
    fn unsent(asked: Asked, error: &reqwest::Error) -> Self {
        match Denied::within(error) {
            Some(denied) => denied.into(),
            None => ReadError::Refused { asked, problem: innermost(error) },
        }
    }

    /// Whether nobody answered, or whoever did could not say: what was asked for may be there all the same.
    pub fn is_an_outage(&self) -> bool {
        match self {
            ReadError::Client(_)
            | ReadError::Refused { .. }
            | ReadError::Broken { .. }
            | ReadError::Timeout { .. }
            | ReadError::Api(_)
            | ReadError::NoRoom
            | ReadError::Status { status: 429 | 500.., .. }
            | ReadError::Credentials { lasting: false, .. } => true,
            ReadError::Address(_)
            | ReadError::Credentials { lasting: true, .. }
            | ReadError::Denied(_)
            | ReadError::Status { status: _, .. }
            | ReadError::TooLarge { .. }
            | ReadError::NotMetrics(_)
            | ReadError::TooManySeries { .. }
            | ReadError::TooManyBounds { .. }
            | ReadError::TooManyBoundsTogether { .. }
            | ReadError::TooManyLabels { .. }
            | ReadError::TooManySamples { .. }
            | ReadError::NotACounter { .. }
            | ReadError::NoCounter { .. }
            | ReadError::SeveralCounters { .. }
            | ReadError::NoSuchCounter { .. }
            | ReadError::NoStatusLabel { .. }
            | ReadError::NoSuchLabel { .. }
            | ReadError::NoSamples
            | ReadError::Stale { .. }
            | ReadError::NotPrometheus(_) => false,
        }
    }

    /// Whether other credentials may help.
    pub fn is_about_credentials(&self) -> bool {
        matches!(self, ReadError::Status { asked: Asked::Prometheus, status: 401 | 403 })
    }
}

/// What is at the bottom of an error, in at most 200 characters: the layers above it repeat the URL.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    shortened(&deepest.to_string(), 200)
}

/// The first `most` characters, on one line and in the order in which they are written.
pub(super) fn shortened(text: &str, most: usize) -> String {
    on_one_line(text).take(most).collect()
}

/// Reads a body of at most `limit` bytes, after decompression: a small answer that unpacks to a large one stops here too. Waits where the
/// answers of others, or those of these namespaces, leave no room for it.
async fn body(
    mut response: reqwest::Response,
    limit: usize,
    asked: Asked,
    namespaces: &[&str],
) -> Result<Held, ReadError> {
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(ReadError::TooLarge { asked, limit });
    }
    let mut held = Held::default();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| ReadError::Broken { asked, problem: innermost(&error) })?
    {
        if held.len() + chunk.len() > limit {
            return Err(ReadError::TooLarge { asked, limit });
        }
        held.add(&chunk, &ROOM, namespaces).await;
    }
    Ok(held)
}

//! Which series mean requests, errors and latency: what the Release says, else the first of a table of well-known names.
//!
//! The choice is made once a run, over several pods together, and then kept: a choice made anew in every round would jump to
//! another family when one appears, and count its past as if it had just happened.
//!
//! A counter without a label that tells failed requests is not taken: no errors seen would look like no errors.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::exposition::Label;
use super::{Counts, ReadError, SeriesValue};
use crate::decide::judge::Bound;

/// What the Release says about names. Everything may be absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// The counter of requests.
    pub requests: Option<RequestsMetric>,
    /// The histogram of durations.
    pub latency: Option<LatencyMetric>,
    /// Paths that are not traffic, beside [`IGNORED_PATHS`]; a `*` at the end stands for anything.
    pub ignore_paths: Vec<String>,
}

/// The counter of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestsMetric {
    /// A sample's name, or a histogram's or OpenMetrics family's, to which `_count` or `_total` belongs.
    pub name: String,
    /// The label that holds the status. `None`: detected.
    pub status_label: Option<String>,
}

/// The histogram of durations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencyMetric {
    /// With or without `_bucket`. Seconds, unless it ends with `_milliseconds`, `_ms`, `_microseconds` or `_nanoseconds`.
    pub name: String,
}

/// Paths of probes and of the metrics themselves, which are not traffic.
pub const IGNORED_PATHS: [&str; 13] = [
    "/metrics",
    "/healthz",
    "/healthz/*",
    "/livez",
    "/readyz",
    "/health",
    "/health/*",
    "/ready",
    "/live",
    "/actuator/prometheus",
    "/actuator/health",
    "/actuator/health/*",
    "/q/health/*",
];

const PATH_LABELS: [&str; 5] = ["path", "route", "handler", "uri", "http_route"];
const STATUS_LABELS: [&str; 6] =
    ["code", "status", "status_code", "http_response_status_code", "http_status_code", "response_code"];
const GRPC_STATUS_LABELS: [&str; 2] = ["grpc_code", "rpc_grpc_status_code"];
/// gRPC codes that are the server's fault, without underscores and in lower case, and their numbers.
const GRPC_ERRORS: [&str; 12] = [
    "unknown",
    "deadlineexceeded",
    "unimplemented",
    "internal",
    "unavailable",
    "dataloss",
    "2",
    "4",
    "12",
    "13",
    "14",
    "15",
];

const HTTP_LATENCY: [&str; 5] = [
    "http_server_request_duration_seconds",
    "http_server_requests_seconds",
    "http_request_duration_seconds",
    "http_requests_duration_seconds",
    "http_server_duration_milliseconds",
];

/// A well-known request counter.
struct Preset {
    /// The sample's name.
    requests: &'static str,
    status_labels: &'static [&'static str],
    /// A label that must have this value: the same request is counted on both sides.
    only: Option<(&'static str, &'static str)>,
    latency: &'static [&'static str],
}

const fn http(requests: &'static str) -> Preset {
    Preset { requests, status_labels: &STATUS_LABELS, only: None, latency: &HTTP_LATENCY }
}

/// In the order in which they are tried. Exact names: `promhttp_metric_handler_requests_total` counts scrapes, not requests.
const PRESETS: [Preset; 12] = [
    http("http_requests_total"),
    http("http_server_requests_total"),
    http("http_server_request_duration_seconds_count"), // OpenTelemetry
    http("http_server_requests_seconds_count"),         // Micrometer
    http("http_request_duration_seconds_count"),
    http("http_server_duration_milliseconds_count"), // OpenTelemetry before 1.23
    http("http_requests_received_total"),            // prometheus-net
    http("flask_http_request_total"),
    http("axum_http_requests_total"),
    Preset {
        latency: &["nginx_ingress_controller_request_duration_seconds"],
        ..http("nginx_ingress_controller_requests")
    },
    Preset {
        only: Some(("reporter", "destination")),
        latency: &["istio_request_duration_milliseconds"],
        ..http("istio_requests_total")
    },
    Preset {
        requests: "grpc_server_handled_total",
        status_labels: &GRPC_STATUS_LABELS,
        only: None,
        latency: &["grpc_server_handling_seconds"],
    },
];

/// What is there to choose from: the candidates among the series of one or more pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    wanted: BTreeSet<String>,
    ignored: Vec<String>,
    found: BTreeMap<String, BTreeSet<String>>,
    series: usize,
}

impl Survey {
    /// How many series it has seen.
    pub fn series(&self) -> usize {
        self.series
    }

    /// Takes note of one series.
    pub fn see(&mut self, name: &str, labels: &[Label<'_>]) {
        self.series += 1;
        let name = legacy(name);
        if !self.wanted.contains(name.as_ref()) || is_ignored(&self.ignored, labels) {
            return;
        }
        let only = PRESETS.iter().find(|preset| preset.requests == name).and_then(|preset| preset.only);
        if only.is_some_and(|(label, wanted)| find(labels, label) != Some(wanted)) {
            return;
        }
        if !self.found.contains_key(name.as_ref()) {
            self.found.insert(name.clone().into_owned(), BTreeSet::new());
        }
        let Some(seen) = self.found.get_mut(name.as_ref()) else { return };
        for (label, value) in labels {
            let label = legacy(label);
            // Only the labels that the choice depends on are kept.
            let matters =
                STATUS_LABELS.iter().chain(&GRPC_STATUS_LABELS).any(|known| *known == label) || label == "le";
            if matters && !value.is_empty() && !seen.contains(label.as_ref()) {
                seen.insert(label.into_owned());
            }
        }
    }

    fn first_label(&self, name: &str, labels: &[&str]) -> Option<String> {
        let seen = self.found.get(name)?;
        labels.iter().find(|label| seen.contains(**label)).map(|label| (*label).to_owned())
    }

    fn has_buckets(&self, base: &str) -> bool {
        self.found.get(&format!("{base}_bucket")).is_some_and(|labels| labels.contains("le"))
    }
}

impl Names {
    /// An empty survey, which keeps what [`Names::choose`] needs.
    pub fn survey(&self) -> Survey {
        Survey {
            wanted: self.candidates().into_iter().collect(),
            ignored: self.ignored(),
            found: BTreeMap::new(),
            series: 0,
        }
    }

    /// The sample names that may be chosen, for a query that asks for all of them at once.
    pub fn candidates(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        match &self.requests {
            Some(metric) => names.extend(spellings(&metric.name)),
            None => names.extend(PRESETS.iter().map(|preset| preset.requests.to_owned())),
        }
        match &self.latency {
            Some(metric) => {
                names.insert(format!("{}_bucket", histogram_base(&metric.name)));
            }
            None => {
                names.extend(
                    PRESETS.iter().flat_map(|preset| preset.latency).map(|base| format!("{base}_bucket")),
                );
                // A named counter may be a histogram's.
                names.extend(
                    self.requests.iter().map(|metric| format!("{}_bucket", histogram_base(&metric.name))),
                );
            }
        }
        names.into_iter().collect()
    }

    /// Chooses, from what the survey saw.
    ///
    /// # Errors
    /// When there is no request counter, or none that says which requests failed. A missing histogram is no error: it is said
    /// in [`Detected::sentence`], and there are no buckets.
    pub fn choose(&self, survey: &Survey) -> Result<Detected, ReadError> {
        let (requests, status_label, preset) = match &self.requests {
            Some(metric) => {
                let name = spellings(&metric.name)
                    .into_iter()
                    .find(|name| survey.found.contains_key(name))
                    .ok_or_else(|| ReadError::NoSuchCounter {
                    name: metric.name.clone(),
                    series: survey.series,
                })?;
                let preset = PRESETS.iter().find(|preset| preset.requests == name);
                let detected = || {
                    survey
                        .first_label(&name, &STATUS_LABELS)
                        .or_else(|| survey.first_label(&name, &GRPC_STATUS_LABELS))
                };
                let label = metric
                    .status_label
                    .clone()
                    .or_else(detected)
                    .ok_or_else(|| ReadError::NoStatusLabel { name: name.clone() })?;
                (name, legacy(&label).into_owned(), preset)
            }
            None => {
                let fits = |preset: &'static Preset| {
                    let label = survey.first_label(preset.requests, preset.status_labels)?;
                    Some((preset.requests.to_owned(), label, Some(preset)))
                };
                let Some(chosen) = PRESETS.iter().find_map(fits) else {
                    let unlabelled = PRESETS.iter().find(|preset| survey.found.contains_key(preset.requests));
                    return Err(unlabelled
                        .map_or(ReadError::NoCounter { series: survey.series }, |preset| {
                            ReadError::NoStatusLabel { name: preset.requests.to_owned() }
                        }));
                };
                chosen
            }
        };
        let latency = match &self.latency {
            Some(metric) => Some(histogram_base(&metric.name)).filter(|base| survey.has_buckets(base)),
            None => {
                // The counter's own histogram first: then requests and buckets speak of the same requests.
                let own = requests.strip_suffix("_count");
                let known = preset.map_or(HTTP_LATENCY.as_slice(), |preset| preset.latency);
                own.into_iter()
                    .chain(known.iter().copied())
                    .find(|base| survey.has_buckets(base))
                    .map(str::to_owned)
            }
        };
        Ok(Detected {
            requests,
            status_label,
            only: preset.and_then(|preset| preset.only),
            buckets: latency.map(|base| (format!("{base}_bucket"), units_per_second(&base))),
            ignored: self.ignored(),
        })
    }

    fn ignored(&self) -> Vec<String> {
        IGNORED_PATHS.iter().map(|path| (*path).to_owned()).chain(self.ignore_paths.iter().cloned()).collect()
    }
}

/// Which series are read, for the length of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Detected {
    requests: String,
    status_label: String,
    only: Option<(&'static str, &'static str)>,
    /// The sample name of the buckets, and how many of their unit make a second.
    buckets: Option<(String, f64)>,
    ignored: Vec<String>,
}

impl Detected {
    /// What was taken, in one sentence for people.
    pub fn sentence(&self) -> String {
        let Detected { requests, status_label, only, buckets, ignored: _ } = self;
        let only = only.map_or(String::new(), |(label, value)| format!(" where {label} is {value}"));
        let failed = if is_grpc(status_label) { "a server-side gRPC code" } else { "beginning with 5" };
        let latency = match buckets {
            Some((name, _)) => format!("latency from {name}"),
            None => "no histogram of latency found (set metrics.latency.name)".to_owned(),
        };
        format!(
            "requests from {requests}{only}, errors by its label {status_label} {failed}, {latency}; probes and /metrics do not count"
        )
    }

    /// Whether there are latency buckets.
    pub fn has_latency(&self) -> bool {
        self.buckets.is_some()
    }

    /// The sample names to ask for, each with a label that must have a value.
    pub fn families(&self) -> Vec<(&str, Option<(&'static str, &'static str)>)> {
        let buckets = self.buckets.as_ref().map(|(name, _)| name.as_str());
        std::iter::once(self.requests.as_str()).chain(buckets).map(|name| (name, self.only)).collect()
    }

    /// What a sample counts, or `None` when it is not one of those that are read.
    pub fn value(&self, name: &str, labels: &[Label<'_>], value: f64) -> Option<SeriesValue> {
        let name = legacy(name);
        let is_requests = name == self.requests;
        let divisor =
            self.buckets.as_ref().filter(|(buckets, _)| *buckets == name).map(|(_, divisor)| *divisor);
        if !is_requests && divisor.is_none() {
            return None;
        }
        if self.only.is_some_and(|(label, wanted)| find(labels, label) != Some(wanted))
            || is_ignored(&self.ignored, labels)
        {
            return None;
        }
        let counts = match divisor {
            Some(divisor) => Counts::Bucket(Bound::new(find(labels, "le")?.parse::<f64>().ok()? / divisor)?),
            None => Counts::Requests { error: self.is_error(labels) },
        };
        Some(SeriesValue { series: identity(&name, labels), counts, value })
    }

    fn is_error(&self, labels: &[Label<'_>]) -> bool {
        match find(labels, &self.status_label) {
            Some(code) if is_grpc(&self.status_label) => {
                let code = code.replace('_', "").to_ascii_lowercase();
                GRPC_ERRORS.contains(&code.as_str())
            }
            Some(code) if !code.is_empty() => code.starts_with('5'),
            // OpenTelemetry: a request that ended without any status has only a type of error.
            Some(_) | None => find(labels, "error_type").is_some_and(|kind| !kind.is_empty()),
        }
    }
}

/// How a counter's samples may be named for a name in the spec.
fn spellings(name: &str) -> [String; 3] {
    [legacy(name).into_owned(), format!("{}_total", legacy(name)), format!("{}_count", legacy(name))]
}

fn histogram_base(name: &str) -> String {
    let name = legacy(name);
    name.strip_suffix("_bucket").or_else(|| name.strip_suffix("_count")).unwrap_or(&name).to_owned()
}

fn units_per_second(base: &str) -> f64 {
    let ends = |units: [&str; 2]| units.iter().any(|unit| base.ends_with(unit));
    if ends(["_milliseconds", "_ms"]) {
        1e3
    } else if ends(["_microseconds", "_us"]) {
        1e6
    } else if ends(["_nanoseconds", "_ns"]) {
        1e9
    } else {
        1.0
    }
}

fn is_grpc(label: &str) -> bool {
    GRPC_STATUS_LABELS.contains(&label)
}

/// A UTF-8 name as an older exposition would write it: `http.route` is `http_route`.
fn legacy(name: &str) -> Cow<'_, str> {
    if name.contains('.') { Cow::Owned(name.replace('.', "_")) } else { Cow::Borrowed(name) }
}

fn find<'a>(labels: &'a [Label<'_>], name: &str) -> Option<&'a str> {
    labels.iter().find(|(label, _)| legacy(label) == name).map(|(_, value)| value.as_ref())
}

fn is_ignored(ignored: &[String], labels: &[Label<'_>]) -> bool {
    let fits = |path: &str| {
        ignored.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == pattern,
        })
    };
    labels.iter().any(|(label, value)| {
        PATH_LABELS.contains(&legacy(label).as_ref()) && fits(value.trim_end_matches('/'))
    })
}

/// The same for the same name and labels, in whatever order they come.
fn identity(name: &str, labels: &[Label<'_>]) -> u64 {
    let one = |part: (&str, &str)| {
        let mut hasher = DefaultHasher::new();
        part.hash(&mut hasher);
        hasher.finish()
    };
    labels.iter().fold(one((name, "")), |sum, (label, value)| sum.wrapping_add(one((label, value))))
}

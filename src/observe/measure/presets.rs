//! Names that common libraries and proxies give to their request counters and latency histograms, and what their labels
//! mean. A table; choosing from it is `names`' business.
//!
//! Exact names, so that `promhttp_metric_handler_requests_total` (scrapes) is never taken for requests; only where a library
//! puts a prefix of the user's before its names, endings are known.

use super::exposition::Label;

/// A well-known request counter.
#[derive(Debug)]
pub(super) struct Preset {
    /// The sample's name.
    pub requests: &'static str,
    /// Labels that hold the status, the best first.
    pub status_labels: &'static [&'static str],
    /// Whether the status is a gRPC code.
    pub grpc: bool,
    /// Which of its series are this pod's requests: those that fit all of these.
    pub only: &'static [Only],
    /// Histograms of durations, without `_bucket`.
    pub latency: &'static [&'static str],
}

/// Which series of a family are the pod's own requests: proxies count both directions, and their own pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Only {
    /// A label with this value.
    Is(&'static str, &'static str),
    /// A label that begins with none of these, or is not there.
    Without(&'static str, &'static [&'static str]),
    /// A label that does not end with this, or is not there.
    NotEnding(&'static str, &'static str),
}

impl Only {
    pub fn fits(self, labels: &[Label<'_>]) -> bool {
        match self {
            Only::Is(label, wanted) => super::names::find(labels, label) == Some(wanted),
            Only::Without(label, starts) => super::names::find(labels, label)
                .is_none_or(|value| !starts.iter().any(|start| value.starts_with(start))),
            Only::NotEnding(label, end) => {
                super::names::find(labels, label).is_none_or(|value| !value.ends_with(end))
            }
        }
    }

    /// As a matcher of PromQL.
    pub fn matcher(self) -> String {
        match self {
            Only::Is(label, value) => format!(r#"{label}="{value}""#),
            Only::Without(label, starts) => format!(r#"{label}!~"({}).*""#, starts.join("|")),
            Only::NotEnding(label, end) => format!(r#"{label}!~".*{end}""#),
        }
    }

    pub fn sentence(self) -> String {
        match self {
            Only::Is(label, value) => format!("{label} is {value}"),
            Only::Without(label, starts) => format!("{label} does not begin with {}", starts.join(", ")),
            Only::NotEnding(label, end) => format!("{label} does not end with {end}"),
        }
    }
}

/// Labels that hold an HTTP status, or its class: `503`, `5xx`, `5`.
pub(super) const STATUS_LABELS: [&str; 15] = [
    "code",
    "status",
    "status_code",
    "http_response_status_code",
    "http_status_code",
    "response_code",
    "http_status",
    "statusCode",
    "http_code",
    "code_class",
    "status_class",
    "response_code_class",
    "envoy_response_code_class",
    "envoy_response_code",
    "class",
];
/// Labels that hold a gRPC code, by name or number.
pub(super) const GRPC_STATUS_LABELS: [&str; 6] = [
    "grpc_code",
    "rpc_grpc_status_code",
    "rpc_response_status_code",
    "grpc_status",
    "grpc_response_status",
    "grpc_status_code",
];
/// The same, and what older libraries for gRPC call it.
const ANY_GRPC_STATUS: [&str; 8] = [
    "grpc_code",
    "rpc_grpc_status_code",
    "rpc_response_status_code",
    "grpc_status",
    "grpc_status_code",
    "code",
    "statusCode",
    "status",
];
/// Where a mesh keeps the gRPC code of a call that it counts as an answered HTTP request.
pub(super) const MESH_GRPC_STATUS: [&str; 2] = ["grpc_response_status", "grpc_status"];
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
/// What some write in place of a status that begins with 5.
const ERROR_WORDS: [&str; 10] = [
    "error",
    "err",
    "failed",
    "failure",
    "fail",
    "ko",
    "exception",
    "timeout",
    "server_error",
    "internal_error",
];

/// Whether a gRPC code is the server's fault.
pub(super) fn is_grpc_error(code: &str) -> bool {
    let code = code.replace('_', "").to_ascii_lowercase();
    GRPC_ERRORS.contains(&code.as_str())
}

/// Whether an HTTP status, or its class, is the server's fault.
pub(super) fn is_http_error(status: &str) -> bool {
    status.starts_with('5') || ERROR_WORDS.contains(&status.to_ascii_lowercase().as_str())
}

/// Whether a label's value can tell failed requests from others: a code, a class, or a word for an error.
pub(super) fn tells_errors(grpc: bool, label: &str, value: &str) -> bool {
    grpc || GRPC_STATUS_LABELS.contains(&label)
        || value.starts_with(|letter: char| letter.is_ascii_digit())
        || ERROR_WORDS.contains(&value.to_ascii_lowercase().as_str())
}

/// Whether a counter's name says that it counts calls of gRPC.
pub(super) fn is_grpc(name: &str) -> bool {
    PRESETS
        .iter()
        .find(|preset| preset.requests == name)
        .map_or_else(|| name.starts_with("grpc_") || name.starts_with("rpc_"), |preset| preset.grpc)
}

/// Paths of probes and of the metrics themselves, which are not traffic.
pub const IGNORED_PATHS: [&str; 20] = [
    "/metrics",
    "/q/metrics",
    "/stats/prometheus",
    "/actuator/prometheus",
    "/healthz",
    "/healthz/*",
    "/livez",
    "/livez/*",
    "/readyz",
    "/readyz/*",
    "/health",
    "/health/*",
    "/ready",
    "/live",
    "/actuator/health",
    "/actuator/health/*",
    "/q/health",
    "/q/health/*",
    "/-/healthy",
    "/-/ready",
];
/// The view that django-prometheus shows its page with; it counts its own scrapes.
pub(super) const IGNORED_VIEW: &str = "prometheus-django-metrics";
/// Labels that hold the path, or its template.
pub(super) const PATH_LABELS: [&str; 13] = [
    "path",
    "route",
    "handler",
    "uri",
    "http_route",
    "endpoint",
    "url",
    "view",
    "path_template",
    "http_target",
    "url_path",
    "http_path",
    "exported_endpoint",
];
/// Labels that hold a gRPC service or method; those of the health service are probes.
pub(super) const RPC_LABELS: [&str; 5] =
    ["grpc_service", "rpc_service", "service", "grpc_method", "rpc_method"];
/// How the health service's names begin.
pub(super) const RPC_HEALTH: &str = "grpc.health.";

/// Histograms that go with an HTTP counter that has none of its own.
pub(super) const HTTP_LATENCY: [&str; 11] = [
    "http_server_request_duration_seconds",
    "http_server_request_duration",
    "http_server_requests_seconds",
    "http_request_duration_seconds",
    "http_requests_duration_seconds",
    "http_response_time_seconds",
    "http_server_duration_milliseconds",
    "http_server_duration",
    "http_request_duration_milliseconds",
    "http_request_duration_ms",
    "http_request_duration_highr_seconds",
];

/// Endings of request counters behind a prefix of the user's: `shop_http_requests_total`.
pub(super) const ENDINGS: [&str; 6] = [
    "_http_requests_total",
    "_http_server_requests_total",
    "_http_request_duration_seconds_count",
    "_http_requests_duration_seconds_count",
    "_http_server_requests_seconds_count",
    "_http_request_duration_milliseconds_count",
];
/// Endings of the histograms that go with them, without `_bucket`.
pub(super) const LATENCY_ENDINGS: [&str; 5] = [
    "_http_request_duration_seconds",
    "_http_requests_duration_seconds",
    "_http_server_requests_seconds",
    "_http_request_duration_milliseconds",
    "_http_request_duration_ms",
];
/// Parts of names that are not about requests to this pod, or count one request several times (Caddy: once a handler).
const NOT_INCOMING: [&str; 6] = ["client", "promhttp", "caddy", "outbound", "outgoing", "upstream"];

/// The user's prefix of a counter with a known ending.
pub(super) fn prefix(name: &str) -> Option<&str> {
    let prefix = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending))?;
    (!prefix.is_empty() && !NOT_INCOMING.iter().any(|part| name.contains(part))).then_some(prefix)
}

/// How many of a histogram's unit make a second, by its name.
pub(super) fn units_per_second(base: &str) -> f64 {
    let ends = |units: [&str; 2]| units.iter().any(|unit| base.ends_with(unit));
    // Envoy counts in milliseconds and does not say so, and so did OpenTelemetry before it counted in seconds.
    let unsaid = base == "http_server_duration"
        || base == "rpc_server_duration"
        || (base.starts_with("envoy_") && base.ends_with("_rq_time"));
    if unsaid || ends(["_milliseconds", "_ms"]) {
        1e3
    } else if ends(["_microseconds", "_us"]) {
        1e6
    } else if ends(["_nanoseconds", "_ns"]) {
        1e9
    } else {
        1.0
    }
}

const fn http(requests: &'static str) -> Preset {
    Preset { requests, status_labels: &STATUS_LABELS, grpc: false, only: &[], latency: &HTTP_LATENCY }
}

const fn timed(requests: &'static str, latency: &'static [&'static str]) -> Preset {
    Preset { latency, ..http(requests) }
}

const fn grpc(requests: &'static str, latency: &'static [&'static str]) -> Preset {
    Preset { requests, status_labels: &ANY_GRPC_STATUS, grpc: true, only: &[], latency }
}

/// Envoy's listeners for itself, and for requests that leave the pod of a sidecar.
const NOT_SERVED: &[Only] = &[Only::Without(
    "envoy_http_conn_manager_prefix",
    &["admin", "stats", "agent", "prometheus", "outbound"],
)];
/// Envoy's clusters that are not the pod's own server.
const NOT_OWN: &[Only] = &[Only::Without(
    "envoy_cluster_name",
    &["xds", "sds", "agent", "prometheus", "admin", "zipkin", "outbound", "Passthrough", "BlackHole"],
)];

/// In the order in which they are tried: what the program itself counts comes before what a proxy beside it counts.
pub(super) const PRESETS: &[Preset] = &[
    // Go, Node, Python, Ruby ... by hand; fastapi-instrumentator; prometheus_exporter; fiberprometheus
    http("http_requests_total"),
    http("http_server_requests_total"), // Ruby's prometheus-client
    // OpenTelemetry, with and without unit
    timed("http_server_request_duration_seconds_count", &["http_server_request_duration_seconds"]),
    timed("http_server_request_duration_count", &["http_server_request_duration"]),
    // Micrometer: Spring, Quarkus, Micronaut; Ktor
    timed("http_server_requests_seconds_count", &["http_server_requests_seconds"]),
    timed("ktor_http_server_requests_seconds_count", &["ktor_http_server_requests_seconds"]),
    http("http_request_duration_seconds_count"), // express-prom-bundle
    http("http_requests_duration_seconds_count"),
    // OpenTelemetry before 1.23, with and without unit
    timed("http_server_duration_milliseconds_count", &["http_server_duration_milliseconds"]),
    timed("http_server_duration_count", &["http_server_duration"]),
    http("http_request_duration_milliseconds_count"),
    http("http_request_duration_ms_count"),
    http("http_requests_received_total"), // prometheus-net
    timed("axum_http_requests_total", &["axum_http_requests_duration_seconds"]),
    timed("axum_http_requests_duration_seconds_count", &["axum_http_requests_duration_seconds"]),
    timed("rocket_http_requests_total", &["rocket_http_requests_duration_seconds"]),
    // The histogram tells paths, the counter does not.
    timed("flask_http_request_duration_seconds_count", &["flask_http_request_duration_seconds"]),
    timed("flask_http_request_total", &["flask_http_request_duration_seconds"]),
    timed("starlette_requests_total", &["starlette_request_duration_seconds"]),
    timed("fastapi_responses_total", &["fastapi_requests_duration_seconds"]),
    timed(
        "django_http_responses_total_by_status_view_method_total",
        &["django_http_requests_latency_seconds_by_view_method"],
    ),
    timed(
        "django_http_responses_total_by_status_total",
        &[
            "django_http_requests_latency_seconds_by_view_method",
            "django_http_requests_latency_including_middlewares_seconds",
        ],
    ),
    timed("gin_requests_total", &["gin_request_duration_seconds"]),
    timed("gin_request_duration_seconds_count", &["gin_request_duration_seconds"]),
    timed("echo_requests_total", &["echo_request_duration_seconds"]),
    timed("echo_request_duration_seconds_count", &["echo_request_duration_seconds"]),
    // gRPC: Go and Python middlewares, Java; OpenTelemetry; gRPC's own; grpc-spring
    grpc(
        "grpc_server_handled_total",
        &["grpc_server_handling_seconds", "grpc_server_handled_latency_seconds"],
    ),
    grpc("rpc_server_call_duration_seconds_count", &["rpc_server_call_duration_seconds"]),
    grpc("rpc_server_duration_milliseconds_count", &["rpc_server_duration_milliseconds"]),
    grpc("rpc_server_duration_count", &["rpc_server_duration"]),
    grpc("grpc_server_call_duration_seconds_count", &["grpc_server_call_duration_seconds"]),
    grpc("grpc_server_processing_duration_seconds_count", &["grpc_server_processing_duration_seconds"]),
    // Proxies: the pod is one, or has one beside it
    timed("nginx_ingress_controller_requests", &["nginx_ingress_controller_request_duration_seconds"]),
    timed("traefik_service_requests_total", &["traefik_service_request_duration_seconds"]),
    Preset {
        only: &[Only::Without("entrypoint", &["traefik", "metrics", "ping"])],
        ..timed("traefik_entrypoint_requests_total", &["traefik_entrypoint_request_duration_seconds"])
    },
    Preset {
        only: &[Only::Without("proxy", &["stats", "health", "prometheus", "metrics"])],
        ..timed("haproxy_frontend_http_responses_total", &[])
    },
    Preset {
        only: &[Only::Is("reporter", "destination")],
        ..timed("istio_requests_total", &["istio_request_duration_milliseconds"])
    },
    Preset {
        // Linkerd; 4191 is the proxy's own page
        only: &[Only::Is("direction", "inbound"), Only::NotEnding("target_addr", ":4191")],
        ..timed("response_total", &["response_latency_ms"])
    },
    Preset { only: NOT_SERVED, ..timed("envoy_http_downstream_rq_xx", &["envoy_http_downstream_rq_time"]) },
    Preset { only: NOT_OWN, ..timed("envoy_cluster_upstream_rq", &["envoy_cluster_upstream_rq_time"]) },
    Preset { only: NOT_OWN, ..timed("envoy_cluster_upstream_rq_xx", &["envoy_cluster_upstream_rq_time"]) },
];

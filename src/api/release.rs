//! `Release`: how one workload is released, and where its release stands.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{Approval, Check};
use super::criterion::{Criterion, OnLimit};
use super::labels::{Labels, NOT_EMPTY};
use super::migration::Migration;
use super::notify::Notify;
use super::signing::UndoApproval;
use super::status::ReleaseStatus;
use super::text::{Share, Span};
use super::undo::{Quarantine, UndoEvidence, UndoHook, UndoPhases, UndoValidation};
use super::windows::Windows;

/// How one workload is released, and where its release stands. With nothing but `targetRef`: steps of 10%, 50% and 100%,
/// measured by the pods' own /metrics.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "Release",
    namespaced,
    status = "ReleaseStatus",
    shortname = "rel",
    category = "tidegate",
    derive = "PartialEq",
    doc = "How one workload is released, and where its release stands.",
    selectable = ".spec.targetRef.name",
    selectable = ".status.phase",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.summary.step"),
    printcolumn(name = "Share", type_ = "string", json_path = ".status.replicas.share"),
    printcolumn(name = "Worst", type_ = "string", json_path = ".status.summary.worst"),
    printcolumn(name = "Blocked-By", type_ = "string", json_path = ".status.blockedBy.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRef.name", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.summary.message", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 52").message("name is at most 52 characters")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.criteria) || !self.criteria.exists(c, has(c.value) && has(c.value.promql)) || has(self.metrics) && has(self.metrics.prometheus)").message("a criterion with promql needs a server to ask: write its url as metrics.prometheus.url"))]
#[x_kube(validation = Rule::new("!has(self.windows) || !has(self.windows.lowTraffic) || has(self.metrics) && has(self.metrics.prometheus)").message("windows.lowTraffic needs a server to ask: write its url as metrics.prometheus.url"))]
#[x_kube(validation = Rule::new("!has(self.steps) || !self.steps.exists(s, has(s.advanceEarly) && s.advanceEarly) || !has(self.criteria) || self.criteria.exists(c, has(c.errorRate) || has(c.latency) || has(c.value))").message("advanceEarly rests on evidence: write a criterion that measures something (errorRate, latency, value), or leave criteria out"))]
pub struct ReleaseSpec {
    /// The workload that is released. Cannot be changed: make another Release.
    #[x_kube(validation = Rule::new("self == oldSelf").message("targetRef cannot be changed: delete this Release and make another"))]
    pub target_ref: TargetRef,
    /// Where measurements come from. Default: the pods' own /metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// When runs may start and move on. Default: always. Going back is never held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<Windows>,
    /// Checks before the first pod, all at the same time; those that ask a trial pod (`http.podPath`) after all others, and after the
    /// migrations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("!self.exists(c, has(c.onFailure))").message("preflight: onFailure is for checks of a step; before the first pod there is nothing to undo"))]
    #[x_kube(validation = Rule::new("!self.exists(c, has(c.http) && has(c.http.podPath) && has(c.every))").message("preflight: a check with podPath asks a trial pod right before the first pod: leave every out"))]
    pub preflight: Vec<Check>,
    /// Jobs that change what the versions share, in their order: those that expand, and irreversible ones, before the first pod and
    /// after all checks; those that contract after the watch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[x_kube(validation = Rule::new("self.all(m, self.exists_one(n, n.name == m.name))").message("two migrations have the same name"))]
    pub migrations: Vec<Migration>,
    /// Of the Releases of the namespace that name the same lock, one run at a time has pods on their way or migrations under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(l, !format.dns1123Label().validate(l).hasValue())").message("the name of a lock is made of lower case letters, digits and '-'"))]
    pub locks: Vec<String>,
    /// Shares of replicas, growing, each held for a soak. Default: 10%, 50%, 100%, each with a soak of 5m but the last.
    // One whole for server-side apply: their order is their meaning, and a step without a name gets a sentence. (In a list that is
    // merged by name the API server fails with 500 before it validates.)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[x_kube(validation = Rule::new("self.all(s, self.exists_one(t, t.name == s.name))").message("two steps have the same name"))]
    #[x_kube(validation = Rule::new("self.map(s, type(s.replicas) == int ? s.replicas : 2147483647).isSorted() && self.map(s, type(s.replicas) == string && s.replicas.matches('^[0-9]{1,3}%$') ? int(s.replicas.replace('%', '')) : 0).isSorted() && self.all(s, self.exists_one(t, t.replicas == s.replicas))").message("steps must grow: first numbers of pods, then percentages, each more than the one before"))]
    pub steps: Vec<Step>,
    /// What is measured all the time. Default: `errors` (target 1%, limit 5%) and `latency` (quantile 0.99, target 500ms,
    /// limit 2s). An empty list measures nothing: time alone decides, and the pods' own health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub criteria: Option<Vec<Criterion>>,
    /// Who has to say yes after the watch, before the run has succeeded. Default: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_off: Option<Approval>,
    /// How long, and how often, to keep measuring after 100%. Default: 5m, every 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = Rule::new("!self.all(w, w.__for__.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') && w.__for__ != '') || self.map(w, duration(w.__for__)).isSorted()").message("watch stages must grow: each 'for' is counted from 100% and at least the one before"))]
    pub watch: Option<Vec<WatchStage>>,
    /// How to go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// Said of a Deployment whose strategy is Recreate: its users go without while its pods are exchanged. Not saying it stops
    /// nothing; `kubectl tidegate lint` and the condition Questionable tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downtime: Option<Downtime>,
    /// How many records of runs are kept, and for how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reports: Option<Retention>,
    /// Who is told what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub notify: Vec<Notify>,
    /// What happens to a run when this Release is deleted. Default: Undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_delete: Option<OnDelete>,
    /// How a change is caught before it rolls. Default: Policy where the API server serves it, else Paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureMode>,
    /// No new run and no move forward while true. Going back is never stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// Which workload.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self == 'apps/v1'").message("apiVersion is apps/v1"))]
    pub api_version: String,
    pub kind: TargetKind,
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Kinds of workloads that can be released.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    Deployment,
}

/// Where measurements come from.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.prometheus) && has(self.pods))").message("metrics has one source: prometheus or pods"))]
pub struct Metrics {
    /// The pods' own endpoint. The default, with port and path from the annotations `prometheus.io/port` and `prometheus.io/path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodMetrics>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusSource>,
    /// The counter of requests. Default: detected among the names that common libraries use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<RequestsMetric>,
    /// The histogram of durations in seconds. Default: detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyMetric>,
    /// Paths that are not traffic; a `*` at the end stands for anything. Always among them: the paths of the pods' own probes,
    /// /metrics, and what health checks are usually called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    #[x_kube(validation = Rule::new("self.all(path, path.startsWith('/') && path != '/*' && !path.substring(0, path.size() - 1).contains('*'))").message("ignorePaths: each begins with '/', and only its end may be a '*': write /internal/sync or /internal/*"))]
    pub ignore_paths: Vec<String>,
}

/// The pods' own metrics endpoint.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PodMetrics {
    /// Default: the annotation `prometheus.io/port`, else the port named `metrics`, else the first port of the first container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Default: the annotation `prometheus.io/path`, else `/metrics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = "^/"))]
    pub path: Option<String>,
}

/// A Prometheus server, or one that speaks its query API. Its series of pods have the labels `namespace` and `pod`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.ca) || self.url.startsWith('https:')").message("ca is for a url that begins with https"))]
pub struct PrometheusSource {
    /// In front of `/api/v1`, with a path prefix if it has one: http://prometheus.monitoring:9090
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https']").message("is not an http(s) URL"))]
    #[x_kube(validation = Rule::new("!self.contains('@')").message("no user in the URL: write credentials into a Secret and name it as auth.basic.secret"))]
    pub url: String,
    /// Credentials. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<PrometheusAuth>,
    /// Certificates that the server's is signed by. Default: those of the operator's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaSource>,
    /// Further headers, such as `X-Scope-OrgID`. Nothing secret: whoever reads the Release reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub headers: Vec<HttpHeader>,
    /// How often the server scrapes the pods; they are asked for as often. Default: 15s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape_interval: Option<Span>,
}

/// How the operator says who it is. Exactly one. The Secret is one of the Release's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.bearer) != has(self.basic)").message("auth needs exactly one of: bearer, basic"))]
pub struct PrometheusAuth {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<SecretKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
}

/// A key of a Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not the name of an object\"".into())))]
    pub secret: String,
    /// Default: token.
    #[serde(default = "token")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn token() -> String {
    "token".to_owned()
}

/// A Secret with the keys `username` and `password`, as in type kubernetes.io/basic-auth.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not the name of an object\"".into())))]
    pub secret: String,
}

/// Certificates in PEM, in a Secret or a ConfigMap of the Release's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secret) != has(self.configMap)").message("ca needs exactly one of: secret, configMap"))]
pub struct CaSource {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not the name of an object\"".into())))]
    pub secret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not the name of an object\"".into())))]
    pub config_map: Option<String>,
    /// Default: ca.crt.
    #[serde(default = "ca_crt")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn ca_crt() -> String {
    "ca.crt".to_owned()
}

/// A header of a request.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeader {
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9-]+$')").message("a header's name is made of letters, digits and '-'"))]
    #[x_kube(validation = Rule::new("!(self.lowerAscii() in ['authorization', 'proxy-authorization', 'cookie', 'host', 'connection', 'content-length', 'content-type', 'transfer-encoding'])").message("not a header to write here: credentials go into a Secret, named as auth"))]
    pub name: String,
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[ -~]*$')").message("a header's value is printable ASCII"))]
    pub value: String,
}

/// Which counter counts requests.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RequestsMetric {
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The label that holds the status; a value that begins with 5 (503, 5xx) is an error, or a gRPC code that is the server's
    /// fault. Default: detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub status_label: Option<String>,
}

/// Which histogram holds durations.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LatencyMetric {
    /// Without `_bucket`.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
}

/// A share of replicas, held for a soak.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.advanceEarly) || !self.advanceEarly || has(self.soak)").message("advanceEarly cuts a soak short: write soak beside it"))]
#[x_kube(validation = Rule::new("!has(self.pilot) || self.replicas != '100%'").message("pilots go before others: a step of 100% has no pilot"))]
#[x_kube(validation = Rule::new("!has(self.pilot) || !has(self.pilot.atLeast) || type(self.replicas) != int || self.pilot.atLeast <= self.replicas").message("pilot.atLeast is more than the step's replicas"))]
pub struct Step {
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("!format.dns1123Label().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not a name: write lower case letters, digits and '-'\"".into())))]
    pub name: String,
    /// A number of pods (3) or a share of them ("10%").
    pub replicas: Share,
    /// Which of its new pods count. It chooses no place for them: that is the template's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pilot: Option<Pilot>,
    /// How long it must pass before the next step. Default: no time, only the criteria.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Span>,
    /// Evidence cuts the soak short: once all criteria pass the step is left, after a minute at the earliest. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub advance_early: bool,
    /// How long it may stay, counted from when its pods are Ready, before criteria that are still Unknown do what their
    /// `onUnknown` says. Default: twice the soak, at least 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// Checks once its pods are Ready, all at the same time. The step counts as reached, and its soak begins, when they have passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = Rule::new("self.all(c, self.exists_one(d, d.name == c.name))").message("two checks of a step have the same name"))]
    #[x_kube(validation = Rule::new("!self.exists(c, has(c.approval))").message("a step has an approval of its own: write it beside checks"))]
    #[x_kube(validation = Rule::new("!self.exists(c, has(c.workload) || has(c.promotion) || has(c.telemetry))").message("workload, promotion and telemetry are asked before the first pod: write them in preflight"))]
    pub checks: Vec<Check>,
    /// Who has to say yes before this step is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

/// What new pods of a step must be to count. The step is reached (its checks and its soak begin) when so many of them are Ready; when
/// they are no more, its soak stands still.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.nodes) || has(self.pods)").message("pilot needs nodes (labels of the nodes that the step's pods run on) or pods (labels of the pods themselves)"))]
pub struct Pilot {
    /// They run on nodes with these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(NOT_EMPTY).message("nodes needs matchLabels or matchExpressions"))]
    pub nodes: Option<Labels>,
    /// They have these labels themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(NOT_EMPTY).message("pods needs matchLabels or matchExpressions"))]
    pub pods: Option<Labels>,
    /// So many are enough. Default: all of the step's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub at_least: Option<i32>,
}

/// A time of watching after 100%.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.__for__.matches('^([0-9]{1,6}[hms])+$') || !self.every.matches('^([0-9]{1,6}[hms])+$') || duration(self.every) <= duration(self.__for__)").message("'every' is longer than 'for'"))]
pub struct WatchStage {
    /// Until when, counted from 100%.
    pub r#for: Span,
    /// How often it is measured.
    pub every: Span,
    /// What a breach does in this stage, and what pods that fail by themselves do. Default: what the criterion says, and Undo for pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_limit: Option<OnLimit>,
}

/// How to go back.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.budget) || !has(self.phases) || [self.budget, self.phases.?decision.orValue('0s'), self.phases.?execution.orValue('0s'), self.phases.?validation.orValue('0s'), self.phases.?communication.orValue('0s')].exists(t, !t.matches('^([0-9]{1,6}[hms])+$')) || duration(self.phases.?decision.orValue('0s')) + duration(self.phases.?execution.orValue('0s')) + duration(self.phases.?validation.orValue('0s')) + duration(self.phases.?communication.orValue('0s')) <= duration(self.budget)").message("undo: the phases together may take longer than the budget, which is for all of them"))]
pub struct Undo {
    /// Auto: bad pods go at once while enough stable pods are Ready, otherwise as stable pods become Ready. MitigateFirst: at
    /// once, whatever is left. CapacityFirst: only as stable pods become available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// How long all of it may take: from the first evidence of a breach (or the decision) until the record is written. Taking longer is said
    /// in status and as an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Span>,
    /// Who is asked before it goes back because a limit is breached, something stays Unknown or a check has failed. It stands still
    /// meanwhile, and goes back when the time is over. Pods that fail by themselves and an abort do not wait. Default: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<UndoApproval>,
    /// How long each of its phases may take, together at most `budget`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phases: Option<UndoPhases>,
    /// Done in the moment of going back, beside it: a flag is turned off, somebody is called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub hooks: Vec<UndoHook>,
    /// How the version that was put back is looked at. Default: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<UndoValidation>,
    /// What is kept of the worst canary pods. Default: of one pod, 50 lines of its logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<UndoEvidence>,
    /// Keeps some of the worst canary pods alive, out of traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantine>,
}

/// Which ReleaseReports stay. Those beyond `keep` and those older than `for` are deleted while no run is under way, the oldest first;
/// the newest stays however old it is. Records of a Release that was deleted stay.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// How many of the newest. Default: 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub keep: Option<i32>,
    /// How long after its run ended. Default: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<Span>,
}

/// That there is none of the workload for a while.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downtime {
    Accepted,
}

/// What goes first in an undo.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Capacity {
    #[default]
    Auto,
    MitigateFirst,
    CapacityFirst,
}

/// What happens to a run when its Release is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnDelete {
    /// Back to stable, then the Deployment is given back.
    #[default]
    Undo,
    /// The Deployment is given back at once; the native controller completes the new template.
    Finish,
}

/// How a change is caught before it rolls.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureMode {
    /// The API server pauses the Deployment in the same write that changes its template.
    Policy,
    /// The Deployment is kept paused between runs.
    Paused,
    /// The operator pauses the Deployment as soon as it sees the change. Some pods may be moving by then.
    React,
}

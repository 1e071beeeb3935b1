//! Criteria: what is measured all the time, with a target (needed to advance) and a limit (breached: undo).

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{Condition, Latency, LatencyLimit, Percent, Percentage, Span};

/// Something measured continuously. Exactly one kind.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.errorRate), has(self.latency), has(self.value), has(self.availability), has(self.restarts)].filter(x, x).size() == 1").message(Message::Expression("\"criterion '\" + self.name + \"' needs exactly one of: errorRate, latency, value, availability, restarts\"".into())))]
pub struct Criterion {
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("!format.dns1123Label().validate(self).hasValue()").message(Message::Expression("\"'\" + self + \"' is not a name: write lower case letters, digits and '-'\"".into())))]
    pub name: String,
    /// Share of requests that fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<ErrorRate>,
    /// How long requests take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyBound>,
    /// Any other number: a gauge of the canary's pods, a PromQL query, a number in a JSON answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<ValueBound>,
    /// Share of the canary's pods that are Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<Availability>,
    /// How often containers of the canary's pods were restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<Restarts>,
}

/// Share of requests that fail.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.relativeTo) || !has(self.target) || !self.target.matches('^[0-9]+([.][0-9]+)?%$') || !self.limit.matches('^[0-9]+([.][0-9]+)?%$') || double(self.target.replace('%', '')) <= double(self.limit.replace('%', ''))").message(Message::Expression("'target ' + self.target + ' is more than limit ' + self.limit".into())))]
#[x_kube(validation = Rule::new("!self.limit.matches('^[0-9]+([.][0-9]+)?%$') || double(self.limit.replace('%', '')) > 0.0 && (has(self.relativeTo) || double(self.limit.replace('%', '')) < 100.0)").message("limit is more than 0% and less than 100%; with relativeTo: stable it says how much more than stable's, and may be more"))]
#[x_kube(validation = Rule::new("!(has(self.target) && has(self.relativeTo))").message("target is a share of requests: with relativeTo: stable there is only a limit"))]
#[x_kube(validation = Rule::new("!has(self.ignoreBelow) || has(self.relativeTo)").message("ignoreBelow goes with relativeTo: stable"))]
pub struct ErrorRate {
    /// Needed to advance. Default: the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Percent>,
    /// Breached: undo. With `relativeTo: stable` how much more than stable's: 50% is half as much again.
    pub limit: Percentage,
    /// What the limit is held against. Default: it is a share of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_to: Option<Reference>,
    /// With `relativeTo: stable`: an error rate at or below which no canary is too bad, whatever stable's is. Default: 0.1%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_below: Option<Percent>,
    /// What a breach does. Default: Undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_limit: Option<OnLimit>,
    /// What a step does that is still Unknown at its deadline. Default: Hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_unknown: Option<OnUnknown>,
    /// Measured and reported, enforced never. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

/// A quantile of the time that requests take: "99 % take less than 500ms".
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.relativeTo) || !has(self.target) || !self.target.matches('^[0-9]+([.][0-9]+)?(us|ms|s)$') || !self.limit.matches('^[0-9]+([.][0-9]+)?(us|ms|s)$') || duration(self.target) <= duration(self.limit)").message(Message::Expression("'target ' + self.target + ' is more than limit ' + self.limit".into())))]
#[x_kube(validation = Rule::new("has(self.relativeTo) == self.limit.endsWith('%')").message("limit is a latency such as 500ms; with relativeTo: stable it is a percentage such as 50%"))]
#[x_kube(validation = Rule::new("!(has(self.target) && has(self.relativeTo))").message("target is a latency: with relativeTo: stable there is only a limit"))]
#[x_kube(validation = Rule::new("!has(self.ignoreBelow) || has(self.relativeTo)").message("ignoreBelow goes with relativeTo: stable"))]
pub struct LatencyBound {
    /// 0.5, 0.9, 0.95, 0.99 ...
    #[x_kube(validation = Rule::new("self > 0.0 && self < 1.0").message("quantile is between 0 and 1: write 0.99"))]
    pub quantile: f64,
    /// Needed to advance. Default: the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Latency>,
    /// Breached: undo. With `relativeTo: stable` how much slower than stable's: 50% is half as slow again.
    pub limit: LatencyLimit,
    /// What the limit is held against. Default: it is a latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_to: Option<Reference>,
    /// With `relativeTo: stable`: a latency at or below which no canary is too slow, whatever stable's is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_below: Option<Latency>,
    /// What a breach does. Default: Undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_limit: Option<OnLimit>,
    /// What a step does that is still Unknown at its deadline. Default: Hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_unknown: Option<OnUnknown>,
    /// Measured and reported, enforced never. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

/// Any number that is read every 5 s (in the watch: as often as its `every`). Exactly one source: podGauge, promql, json.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.podGauge), has(self.promql), has(self.json)].filter(x, x).size() == 1").message("value needs exactly one of: podGauge, promql, json"))]
#[x_kube(validation = Rule::new("!has(self.by) || has(self.promql)").message("by goes with promql: it is a label of the query's answer"))]
#[x_kube(validation = Rule::new("!has(self.target) || !self.limit.matches('^value (>|>=|<|<=) [^ ]+$') || !self.target.matches('^value (>|>=|<|<=) [^ ]+$') || self.limit.startsWith('value >') != self.target.startsWith('value >')").message(Message::Expression("\"limit '\" + self.limit + \"' and target '\" + self.target + \"' look the same way: with limit 'value > 10' write a target such as 'value < 8'\"".into())))]
#[x_kube(validation = Rule::new("!has(self.target) || !self.limit.matches('^value (>|>=|<|<=) -?[0-9]{1,15}([.][0-9]{1,9})?(e[+-]?[0-9]{1,2})?$') || !self.target.matches('^value (>|>=|<|<=) -?[0-9]{1,15}([.][0-9]{1,9})?(e[+-]?[0-9]{1,2})?$') || (self.limit.startsWith('value >') ? double(self.target.split(' ')[2]) <= double(self.limit.split(' ')[2]) : double(self.target.split(' ')[2]) >= double(self.limit.split(' ')[2]))").message(Message::Expression("\"target '\" + self.target + \"' is beyond limit '\" + self.limit + \"'\"".into())))]
pub struct ValueBound {
    /// A gauge that the canary's pods show; the worst pod decides. Read on their pages, or from Prometheus when that is the
    /// source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_gauge: Option<PodGauge>,
    /// A query of the server under `metrics.prometheus`, which gives one number, or one a series with `by`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub promql: Option<String>,
    /// A number in the answer to a GET request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonNumber>,
    /// Breached when true: undo. Write `value > 0.8`, with >, >=, < or <=.
    pub limit: Condition,
    /// Needed to advance. Default: that the limit is not breached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Condition>,
    /// How long the limit must be breached without a break before it counts; never fewer than 3 samples. As long must the
    /// target be met. Default: 15s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<Span>,
    /// The label that tells the series of a query apart; at most 100 series. The worst series decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub by: Option<String>,
    /// What it means that the source answers and has no such number. What cannot be read at all is Unknown. Default: Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_data: Option<NoData>,
    /// What a breach does. Default: Undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_limit: Option<OnLimit>,
    /// What a step does that is still Unknown at its deadline. Default: Hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_unknown: Option<OnUnknown>,
    /// Measured and reported, enforced never. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

/// A gauge of pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodGauge {
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z_:][a-zA-Z0-9_:]*$')").message(Message::Expression("\"'\" + self + \"' is not a metric's name: write one such as process_resident_memory_bytes\"".into())))]
    pub name: String,
    /// Labels that a series must have. Of several series of one pod the worst decides.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8, "additionalProperties" = {"type": "string", "maxLength": 256}))]
    #[x_kube(validation = Rule::new("self.all(k, k.size() <= 128 && k.matches('^[a-zA-Z_][a-zA-Z0-9_]*$'))").message("a label's name is made of letters, digits and '_'"))]
    pub labels: BTreeMap<String, String>,
}

/// A number in the answer to a GET request. Redirects are not followed; the first 64 KiB are read.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JsonNumber {
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https']").message("is not an http(s) URL"))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]+://[^/?#@]*([/?#]|$)')").message("no user in the URL: whoever reads the Release reads it"))]
    pub url: String,
    /// Where it stands in the answer, as RFC 6901 has it: /queue/length
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self == '' || self.startsWith('/')").message("pointer begins with '/': write /queue/length"))]
    pub pointer: String,
}

/// Share of the canary's pods that are Ready, of those that were Ready in this run. Not this release's fault while stable's
/// share is below the limit too.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Availability {
    /// Breached when fewer are Ready: undo.
    #[x_kube(validation = Rule::new("!self.matches('^0+([.]0+)?%$')").message("limit is more than 0%: write 90%"))]
    pub limit: Percent,
    /// How long it must be so without a break. Default: 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<Span>,
    /// What a breach does. Default: Undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_limit: Option<OnLimit>,
    /// Measured and reported, enforced never. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

/// Restarts of containers of the canary's pods, of all that are there, since they were made.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Restarts {
    /// Breached, at once, when there are more in total: undo.
    #[schemars(range(min = 0, max = 10000))]
    pub limit: i32,
    /// What a breach does. Default: Undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_limit: Option<OnLimit>,
    /// Measured and reported, enforced never. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

/// What it means that a source answers and has no such number.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NoData {
    /// Nothing is known.
    #[default]
    Unknown,
    /// All is well: for queries that give something only when something is wrong.
    Pass,
    /// Stand still.
    Hold,
}

/// What a limit is held against.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Reference {
    /// What stable pods do at the same time.
    Stable,
}

/// What a step does whose criterion is still Unknown at the step's deadline.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnUnknown {
    /// Stand still and say what is missing.
    #[default]
    Hold,
    /// Wait as long again, twice, then stand still.
    Extend,
    /// Go on as if it had passed.
    Promote,
    /// Go back.
    Undo,
}

/// What a breach of a limit does: go back, stand still, or only say so.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnLimit {
    #[default]
    Undo,
    Hold,
    Notify,
}

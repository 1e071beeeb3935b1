//! Criteria: what is measured all the time, with a target (needed to advance) and a limit (breached: undo).

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{Latency, LatencyLimit, Percent, Percentage};

/// Something measured continuously. Exactly one kind.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.errorRate), has(self.latency)].filter(x, x).size() == 1").message(Message::Expression("\"criterion '\" + self.name + \"' needs exactly one of: errorRate, latency\"".into())))]
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

//! Criteria: what is measured all the time, with a target (needed to advance) and a limit (breached: undo).

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{Latency, Percent};

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
#[x_kube(validation = Rule::new("!has(self.target) || !self.target.matches('^[0-9]+([.][0-9]+)?%$') || !self.limit.matches('^[0-9]+([.][0-9]+)?%$') || double(self.target.replace('%', '')) <= double(self.limit.replace('%', ''))").message(Message::Expression("'target ' + self.target + ' is more than limit ' + self.limit".into())))]
#[x_kube(validation = Rule::new("self.limit != '0%' && self.limit != '100%'").message("limit is more than 0% and less than 100%"))]
pub struct ErrorRate {
    /// Needed to advance. Default: the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Percent>,
    /// Breached: undo.
    pub limit: Percent,
    /// What a breach does. Default: Undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_limit: Option<OnLimit>,
}

/// A quantile of the time that requests take: "99 % take less than 500ms".
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.target) || !self.target.matches('^[0-9]+([.][0-9]+)?(us|ms|s)$') || !self.limit.matches('^[0-9]+([.][0-9]+)?(us|ms|s)$') || duration(self.target) <= duration(self.limit)").message(Message::Expression("'target ' + self.target + ' is more than limit ' + self.limit".into())))]
pub struct LatencyBound {
    /// 0.5, 0.9, 0.95, 0.99 ...
    #[x_kube(validation = Rule::new("self > 0.0 && self < 1.0").message("quantile is between 0 and 1: write 0.99"))]
    pub quantile: f64,
    /// Needed to advance. Default: the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Latency>,
    /// Breached: undo.
    pub limit: Latency,
    /// What a breach does. Default: Undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_limit: Option<OnLimit>,
}

/// What a breach of a limit does: go back, stand still, or only say so.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnLimit {
    #[default]
    Undo,
    Hold,
    Notify,
}

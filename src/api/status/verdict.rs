//! What criteria say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Stamp;

/// What a criterion says now.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct VerdictStatus {
    pub criterion: String,
    /// `Pass`, `Hold`, `Breach` or `Unknown`.
    pub verdict: String,
    /// `0.04%`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What it may really be: `[0.01%, 0.2%]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interval: Vec<String>,
    #[serde(default)]
    pub limit: String,
    #[serde(default)]
    pub target: String,
    /// A word for programs.
    #[serde(default)]
    pub reason: String,
    /// A sentence for people.
    #[serde(default)]
    pub message: String,
    /// Requests seen, or what `counted` says.
    #[serde(default)]
    pub have: i64,
    /// About how many it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub need: Option<i64>,
    /// What `have` and `need` count, where it is not requests.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub counted: String,
    /// Where the numbers come from: the series that is read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// How they are asked for, so that somebody could ask again; empty where `source` says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// The time it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// What would make it say something else: `by 14 requests in a row that are bad`
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub settle: String,
    /// Too little is known of stable pods' noise: how errors clump is in part assumed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uncalibrated: bool,
    /// ln of the evidence, and what it must reach: `3.1 of 5.3`. Of numbers that are read, how long it has been so, and how long
    /// that must last: `10 s of 15 s`
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// The smallest rate that each step can find, at the traffic seen now: `tenth 2.3%, half 1.4%`
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub finds: String,
    /// Why not even three times the limit would be found in all steps and the watch; empty when it would.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub blind: String,
    /// Measured and reported, enforced never.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

/// A stretch of time.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    pub from: Stamp,
    pub until: Stamp,
}

//! `ReleaseReport`: the record of one run. Written once, when the run ends, by the operator; the API server refuses to change it.
//!
//! It belongs to nobody: it stays when its Release is deleted. No decision reads it; whoever deletes reports deletes records only, and
//! `kubectl tidegate report --verify` says so.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authors::Authors;
use super::status::{
    Cause, CheckStatus, MigrationStatus, Outcome, Pass, RevisionStatus, Signature, Stamp, StepPassed,
    UndoTimes, VerdictStatus,
};
use super::text::Span;
use super::undo::{HookStatus, PhaseTook, PodEvidence, QuarantinedPod, Validation};

/// The record of one run: what, who, when, each check and verdict with its evidence.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "ReleaseReport",
    namespaced,
    shortname = "rr",
    category = "tidegate",
    doc = "The record of one run. Written once by the operator, never changed.",
    selectable = ".spec.release",
    printcolumn(name = "Release", type_ = "string", json_path = ".spec.release"),
    printcolumn(name = "Run", type_ = "string", json_path = ".spec.run"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".spec.outcome"),
    printcolumn(name = "Started", type_ = "date", json_path = ".spec.startedAt"),
    printcolumn(name = "Ended", type_ = "date", json_path = ".spec.endedAt"),
    printcolumn(name = "Message", type_ = "string", json_path = ".spec.message")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a ReleaseReport is a record: it cannot be changed"))]
pub struct ReleaseReportSpec {
    /// The Release, in the same namespace.
    #[schemars(length(max = 52))]
    pub release: String,
    /// Its UID: another Release may come to have the name.
    #[schemars(length(max = 64))]
    pub release_uid: String,
    /// `deployment/checkout`
    #[schemars(length(max = 300))]
    pub target: String,
    /// `r7`
    #[schemars(length(max = 64))]
    pub run: String,
    pub outcome: Outcome,
    /// How it ended, in a sentence.
    #[schemars(length(max = 4096))]
    pub message: String,
    pub started_at: Stamp,
    pub ended_at: Stamp,
    /// Who changed the template that was released, one a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<Authors>,
    /// What served before.
    #[serde(default)]
    pub stable: RevisionStatus,
    /// What was released.
    #[serde(default)]
    pub canary: RevisionStatus,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 296))]
    pub checks: Vec<CheckStatus>,
    /// Migrations that had begun. None of them is undone by going back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub migrations: Vec<MigrationStatus>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub signatures: Vec<Signature>,
    /// Windows and freezes that somebody let it pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub passes: Vec<Pass>,
    /// Steps in the order in which they were left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub steps: Vec<StepPassed>,
    /// What each criterion said last; on the way back, what it said when that was decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub evidence: Vec<Evidence>,
    /// The way back, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// What people should know and that did not stop the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 1024)))]
    pub notes: Vec<String>,
    /// Version of the operator that wrote this.
    #[schemars(length(max = 64))]
    pub written_by: String,
    /// What ties this record to itself and to the one before it.
    pub chain: Chain,
}

/// A record's place in the chain of its Release's records.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// SHA-256 of everything else in `spec`. See `api::digest`.
    #[schemars(length(max = 64))]
    pub digest: String,
    /// The record of the run before this one. `None`: this one is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Link>,
}

/// Another record.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Its name.
    #[schemars(length(max = 253))]
    pub report: String,
    /// Its digest; empty when it could not be read again after its writing was interrupted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub digest: String,
}

/// A verdict with everything it rests on.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// What status said.
    #[serde(flatten)]
    pub verdict: VerdictStatus,
    /// The canary's requests in the window, and the bad ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Counted>,
    /// The same of stable pods, those of the hour before the run included where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Counted>,
    /// The stretch that speaks against the canary, when one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspicion: Option<Suspicion>,
    /// Each test, with what its evidence must reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub tests: Vec<Test>,
    /// What evidence was divided by since errors clump: 1 when they do not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub divided_by: String,
    /// Bucket bounds at which slow requests were counted, seconds, each with what for: `limit 2`, `target 0.5`, `pass 2`, `stable 0.1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(max = 32)))]
    pub bounds: Vec<String>,
}

/// Requests, and the bad ones among them.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    pub requests: i64,
    pub bad: i64,
}

/// The stretch of a run that speaks against the canary.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Suspicion {
    pub since: Stamp,
    pub requests: i64,
    pub bad: i64,
}

/// One test: ln of its evidence and what that must reach.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Test {
    /// `worse than stable`, `above the limit`, `above what is ignored`, `above its quantile`, `above the target`.
    #[schemars(length(max = 64))]
    pub of: String,
    /// `8.41`
    #[schemars(length(max = 32))]
    pub evidence: String,
    /// `5.99`
    #[schemars(length(max = 32))]
    pub threshold: String,
}

/// The way back.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Undo {
    pub cause: Cause,
    /// Why, in a sentence.
    #[schemars(length(max = 4096))]
    pub message: String,
    pub times: UndoTimes,
    /// `undo.budget` of the Release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Span>,
    /// It took longer than that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over_budget: bool,
    /// Its phases, as far as they came to pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub phases: Vec<PhaseTook>,
    /// What was found of the version that was put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// What was done beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub hooks: Vec<HookStatus>,
    /// The worst canary pods, as they were before they went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub pods: Vec<PodEvidence>,
    /// Pods that were kept alive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub quarantined: Vec<QuarantinedPod>,
}

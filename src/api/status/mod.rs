//! Status of a Release: what is happening, why, and what unblocks it; and everything a run needs to survive a restart.
//!
//! Names are fixed: tools read them. All fields are optional, so that status written by another version still parses.

mod back;
mod check;
mod past;
mod run;
mod signed;
mod stamp;
mod verdict;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use back::{Back, Cause, UndoAsked};
pub use check::{CheckState, CheckStatus, JobStatus, MigrationStatus};
pub use past::{KeptReport, LastRun, Outcome, ReportsStatus, UndoTimes};
pub use run::{LockStanding, LocksStatus, Memory, Progress, Run, Stage, StepPassed};
pub use signed::{Pass, Passed, Signature, SignatureOf};
pub use stamp::{Stamp, sensible};
pub use verdict::{VerdictStatus, Window};

use super::action::Action;
use super::authors::Authors;
use super::notify::NotificationsStatus;
use super::undo::QuarantinedPod;

fn object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// Where a release stands.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Counts the writes of this status: a reader can tell old from new.
    #[serde(default)]
    pub revision: i64,
    /// When it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// In a few words, for `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicasStatus>,
    /// The revision that serves today.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<RevisionStatus>,
    /// What was stable of a Deployment that has been deleted since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<RevisionStatus>,
    /// The revision that is being released, or held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<RevisionStatus>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub verdicts: Vec<VerdictStatus>,
    /// What it is waiting for, and what unblocks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<Blocker>,
    /// How changes are caught.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureStatus>,
    /// The run that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The run that ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<LastRun>,
    /// Records of runs that ended, and what the next one follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reports: Option<ReportsStatus>,
    /// Canary pods that are kept alive, out of traffic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub quarantined: Vec<QuarantinedPod>,
    /// Templates that were undone or aborted and are not started again, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub rejected: Vec<Rejected>,
    /// How often stable took the place of another template without replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwritten: Option<Overwritten>,
    /// Templates that the API server changed as they were written, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub stored_as: Vec<StoredAs>,
    /// Set when the Deployment was handed back by a person: nothing is touched until somebody says `resume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_back: Option<Said>,
    /// ReleaseActions that took effect lately, or are not marked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub handled: Vec<Handled>,
    /// What is still to be told, and what stands that people were told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notifications: Option<NotificationsStatus>,
    /// UID of the Deployment that all this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_uid: Option<String>,
    /// Generation of the Deployment that this was decided on. What has an earlier one was read before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_generation: Option<i64>,
    /// Which spec and template the condition Questionable is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub linted: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

/// The phases a release goes through, and no others.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// At rest.
    Idle,
    /// A new template is held while checks run.
    Preflight,
    /// Pods are on their way from one share to the next.
    Moving,
    /// Standing at a share, measuring.
    Soaking,
    /// Standing still, with a named blocker.
    Held,
    /// Going back.
    Undoing,
    /// Everything is on the new revision and still measured.
    Watching,
    /// The last template was undone or aborted: nothing starts until there is a new one.
    Rejected,
}

/// In a few words.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// `2/4 tenth`
    #[serde(default)]
    pub step: String,
    /// The worst verdict: `errors Breach`.
    #[serde(default)]
    pub worst: String,
    /// What is happening and why, in a sentence.
    #[serde(default)]
    pub message: String,
}

/// The step that a run is at.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// From 1.
    pub index: i32,
    pub of: i32,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Stamp>,
    /// When its soak is over if nothing gets in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Stamp>,
    /// How many canary pods this step means, with today's number of replicas.
    #[serde(default)]
    pub pods: i32,
}

/// Pods, as they are.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ReplicasStatus {
    pub desired: i32,
    #[serde(default)]
    pub stable: PodCount,
    #[serde(default)]
    pub canary: PodCount,
    /// Canary pods among all Ready pods: `10%`.
    #[serde(default)]
    pub share: String,
}

/// Pods of one revision.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PodCount {
    pub pods: i32,
    pub ready: i32,
}

/// One revision of the template.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// Name of the ControllerRevision that holds the template.
    #[serde(default)]
    pub revision: String,
    #[serde(default)]
    pub fingerprint: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub images: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<Authors>,
}

/// How often stable was put in the place of another template since there are no replicas.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Overwritten {
    pub times: i32,
    /// When it was last.
    pub at: Stamp,
}

/// What became of a template that was written.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StoredAs {
    /// Its fingerprint. It is known by that.
    pub written: String,
    /// The fingerprint of what the API server stored in its place.
    pub stored: String,
}

/// What stands in the way, and what takes it away.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Blocker {
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Stamp>,
    /// A command, or what somebody has to do.
    #[serde(default)]
    pub unblock: String,
}

/// How changes are caught.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CaptureStatus {
    /// `Policy`, `Paused` or `React`.
    #[serde(default)]
    pub mode: String,
    #[serde(default)]
    pub message: String,
}

/// Something somebody said.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    pub by: String,
    pub at: Stamp,
    #[serde(default)]
    pub reason: String,
}

impl Said {
    /// `alice said pause: fire drill`.
    pub fn sentence(&self, what: &str) -> String {
        let Self { by, at: _, reason } = self;
        if reason.is_empty() { format!("{by} said {what}") } else { format!("{by} said {what}: {reason}") }
    }
}

/// A ReleaseAction that took effect.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Handled {
    pub uid: String,
    pub action: Action,
    /// False: it was refused.
    pub done: bool,
    #[serde(default)]
    pub message: String,
    /// When it took effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Stamp>,
}

/// A template that is not started again.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    pub fingerprint: String,
    /// ControllerRevision with the template, for `retry`.
    #[serde(default)]
    pub revision: String,
    pub at: Stamp,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub run: String,
    /// Who had changed it, for `retry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<Authors>,
}

//! Status of a Release: what is happening, why, and what unblocks it; and everything a run needs to survive a restart.
//!
//! Names are fixed: tools read them. All fields are optional, so that status written by another version still parses.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::action::Action;
use super::migration::MigrationKind;
use super::notify::NotificationsStatus;
use super::undo::{
    Communication, HookStatus, PodEvidence, QuarantinedPod, UndoPhase, Validating, Validation,
};

/// A moment, to the millisecond, in UTC.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
pub struct Stamp(pub Timestamp);

impl JsonSchema for Stamp {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Stamp".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

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
    /// Set when the Deployment was handed back by a person: nothing is touched until somebody says `resume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_back: Option<Said>,
    /// UIDs of ReleaseActions that took effect and are not yet marked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub handled: Vec<Handled>,
    /// What is still to be told, and what stands that people were told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notifications: Option<NotificationsStatus>,
    /// UID of the Deployment that all this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_uid: Option<String>,
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

/// How a run ended.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Succeeded,
    Undone,
    Aborted,
    Superseded,
    HandedBack,
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
    #[schemars(length(max = 16))]
    pub images: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<String>,
}

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
}

/// A run under way: everything needed to go on, or back, after a restart.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// `r7`
    pub id: String,
    pub number: i64,
    pub started_at: Stamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<String>,
    /// What signatures are given for: SHA-256 of the new template and of the spec, but for `suspend`, `notify` and `reports`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub content: String,
    /// Copy of the Deployment's originals annotation.
    #[schemars(schema_with = "object")]
    pub originals: Value,
    pub stage: Stage,
    /// Index of the step it is at, from 0.
    #[serde(default)]
    pub step: i32,
    #[serde(default)]
    pub progress: Progress,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 296))]
    pub checks: Vec<CheckStatus>,
    /// Migrations that have begun, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub migrations: Vec<MigrationStatus>,
    /// The locks that it asks for, or has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locks: Option<LocksStatus>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub signatures: Vec<Signature>,
    /// What would have held it, and was passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub passes: Vec<Pass>,
    /// Standing still because somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Said>,
    /// What the judge remembers. See `decide::judge::State`.
    #[schemars(schema_with = "object")]
    #[serde(default, skip_serializing_if = "Memory::is_nothing")]
    pub judge: Memory,
    /// What is remembered of criteria that do not count requests. See `decide::values::State`.
    #[schemars(schema_with = "object")]
    #[serde(default, skip_serializing_if = "Memory::is_nothing")]
    pub values: Memory,
    /// When everything stood on the new revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_since: Option<Stamp>,
    /// Somebody is asked whether to go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_asked: Option<UndoAsked>,
    /// Going back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<Back>,
    /// Steps that were left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub passed: Vec<StepPassed>,
    /// What people should know and that does not stop the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub notes: Vec<String>,
}

/// What a judge remembers of a run. A status is copied and compared several times in a look, and this is most of it: copies are of one.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Value>);

impl Memory {
    /// What is to be remembered.
    pub fn of(state: &impl Serialize) -> Self {
        Self(Arc::new(serde_json::to_value(state).unwrap_or_default()))
    }

    /// What is remembered; nothing, when it was written by a build that remembers otherwise.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        T::deserialize(&*self.0).ok()
    }

    /// Whether this field of it is.
    pub fn has(&self, field: &str) -> bool {
        !self.0[field].is_null()
    }

    /// Whether nothing is.
    pub fn is_nothing(&self) -> bool {
        self.0.is_null()
    }
}

impl PartialEq for Memory {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Serialize for Memory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Self(Arc::new(value)))
    }
}

impl Run {
    /// What the judge has counted in: of this run; once the version that was put back is looked at, of that.
    pub fn judged(&self) -> &Memory {
        let validating = self.back.as_ref().and_then(|back| back.validating.as_ref());
        validating
            .map(|validating| &validating.judge)
            .filter(|judge| !judge.is_nothing())
            .unwrap_or(&self.judge)
    }

    /// The fields of the Deployment are the run's, and not its owner's.
    pub fn has_the_fields(&self) -> bool {
        let given_back = self.back.as_ref().is_some_and(|back| back.given_back_at.is_some());
        self.stage != Stage::Watch && !given_back
    }
}

/// A step that was left.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StepPassed {
    #[schemars(length(max = 64))]
    pub name: String,
    /// Canary pods when it was left, of how many.
    pub pods: i32,
    pub of: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Stamp>,
    /// When its pods first stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Stamp>,
    pub left: Stamp,
    /// Who said skip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub skipped_by: Option<String>,
}

/// Which part of a run.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Preflight,
    Steps,
    Watch,
    Back,
}

/// How far the present step has come.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// When the step was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Stamp>,
    /// When its pods first stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Stamp>,
    /// Milliseconds soaked before `soaking_since`.
    #[serde(default)]
    pub soaked: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soaking_since: Option<Stamp>,
    /// Good canary pods at the last progress of a move, and when that was.
    #[serde(default)]
    pub good: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Stamp>,
    /// Somebody said skip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Said>,
    /// The reason for which the run was held when they did: of what is measured, no other hold is passed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub skipped_hold: Option<String>,
}

/// One check of the run.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CheckStatus {
    pub name: String,
    /// The step at which it is done. None: before the first pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    pub state: CheckState,
    /// From 1; each try adds one.
    #[serde(default)]
    pub attempt: i32,
    /// Tries that were made by themselves, since it began or somebody said retry.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retried: i32,
    /// Not tried again before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Stamp>,
    /// The Job that was made for this try: it is never made a second time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    #[serde(default)]
    pub message: String,
    /// Since when it is in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Stamp>,
    /// The end of its Job's log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 1024)))]
    pub log: Vec<String>,
}

/// Locks of a run: all of them together.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LocksStatus {
    #[schemars(length(max = 4), inner(length(max = 63)))]
    pub names: Vec<String>,
    pub standing: LockStanding,
    /// Who asked first has them first.
    pub asked: Stamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Stamp>,
}

/// How a run stands to its locks. See `decide::locks`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockStanding {
    /// It waits for its turn.
    Asked,
    /// It is about to have them, unless somebody else is too.
    Claimed,
    /// It has them.
    Held,
}

/// A migration that has begun.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MigrationStatus {
    #[schemars(length(max = 64))]
    pub name: String,
    pub kind: MigrationKind,
    /// Since when its Job may have been made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Stamp>,
    /// The Job that does it.
    pub work: JobStatus,
    /// The Job that tells whether it has been done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<JobStatus>,
}

/// A Job of a migration.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    pub state: CheckState,
    /// From 1; each try adds one.
    #[serde(default)]
    pub attempt: i32,
    /// The Job that was made for this try: it is never made a second time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub job: Option<String>,
    #[serde(default)]
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Stamp>,
    /// The end of its log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 1024)))]
    pub log: Vec<String>,
}

/// What is known of a check. Unknown is not passed and not failed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    Waiting,
    Passed,
    Failed,
    Unknown,
    Skipped,
}

/// One signature: under an approval, an attestation, or the undo that is asked about.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Signature {
    pub role: String,
    pub by: String,
    pub at: Stamp,
    #[serde(default)]
    pub reason: String,
    /// UID of the ReleaseAction.
    #[serde(default)]
    pub action: String,
    /// What was signed.
    #[serde(default, skip_serializing_if = "SignatureOf::is_approval")]
    pub of: SignatureOf,
    /// The check that was attested: `rehearsed`, of a step `tenth/smoke`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub check: String,
    /// The content that it was given for; empty for an undo.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub content: String,
    /// Since when it does not count any more: what was signed has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voided: Option<Stamp>,
}

/// What a signature is for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SignatureOf {
    /// That it goes forward.
    #[default]
    Approval,
    /// That something is so.
    Attestation,
    /// That it goes back.
    Undo,
}

impl SignatureOf {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_approval(&self) -> bool {
        *self == Self::Approval
    }
}

/// Somebody is asked whether to go back: the run stands still until they say so, or `until`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UndoAsked {
    pub cause: Cause,
    /// Why it would go back, in a sentence.
    #[schemars(length(max = 4096))]
    pub message: String,
    /// When the first evidence of a breach was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breach_at: Option<Stamp>,
    /// Since when somebody is asked.
    pub at: Stamp,
    /// Then it goes back whatever has been said or not.
    pub until: Stamp,
    /// Deciding has taken longer than its budget, and that was said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over: bool,
    /// So has going back, and that was said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over_budget: bool,
    /// Somebody has decided not to go back: the run stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Said>,
}

/// Somebody let the run pass what would have held it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Pass {
    pub of: Passed,
    /// Name of the Freeze; empty for windows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub freeze: String,
    /// Its UID: another one may come to have the name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub freeze_uid: String,
    /// On which of its grounds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub ground: String,
    #[schemars(length(max = 1024))]
    pub by: String,
    pub at: Stamp,
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// UID of the ReleaseAction.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub action: String,
}

/// What was passed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// The windows of the Release.
    Windows,
    /// A Freeze.
    Freeze,
}

/// Going back: why, to what end, and when what happened.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Back {
    pub cause: Cause,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When the first evidence of a breach was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breach_at: Option<Stamp>,
    /// When it was decided to go back.
    pub decided_at: Stamp,
    /// When the last canary pod was ordered away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered_at: Option<Stamp>,
    /// When all stable pods were Ready and no canary pod served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_at: Option<Stamp>,
    /// Where the run goes on once stable stands, for causes that do not end it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Stage>,
    /// A newer template of the owner's, to be put back once stable stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<RevisionStatus>,
    /// It took longer than its budget, and that was said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over_budget: bool,
    /// Phases that took longer than theirs, and that was said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub over: Vec<UndoPhase>,
    /// When the owner's fields were back, while something else is still awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_back_at: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validating: Option<Validating>,
    /// When that was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated_at: Option<Stamp>,
    /// When the record was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communicated_at: Option<Stamp>,
    /// What is done beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub hooks: Vec<HookStatus>,
    /// The worst canary pods, of which evidence is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub worst: Vec<PodEvidence>,
    /// Pods that are kept alive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub quarantined: Vec<QuarantinedPod>,
}

/// Why a run goes back.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A limit was breached.
    Breach,
    /// A criterion with `onUnknown: Undo` was still Unknown at its step's deadline.
    Undecided,
    /// The canary's pods fail by themselves: crash loop, image, readiness.
    PodsFailing,
    /// A check of a step failed.
    CheckFailed,
    /// Somebody said abort, or refused an approval.
    Abort,
    /// The owner put the stable template back.
    Reverted,
    /// The owner wrote a newer template.
    Superseded,
    /// There are no replicas: the run starts again when there are.
    NoReplicas,
    /// More canary pods than the step allows: the step is taken again.
    TooMany,
}

/// The run that ended last.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    pub id: String,
    pub number: i64,
    pub outcome: Outcome,
    pub message: String,
    pub started_at: Stamp,
    pub ended_at: Stamp,
    #[serde(default)]
    pub fingerprint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<UndoTimes>,
    /// What people are told of its way back. None: nobody is to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communication: Option<Communication>,
    /// What was found of the version that was put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Somebody has seen that it does not work either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub validation_seen: bool,
    /// The ReleaseReport with everything else; empty when the API server refused it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub report: String,
}

/// Records of runs that ended.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ReportsStatus {
    /// Of the newest record: the next one carries it on. Empty when it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub digest: String,
    /// Those that were not removed, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub kept: Vec<KeptReport>,
}

/// A record that is kept.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeptReport {
    /// Of the ReleaseReport.
    #[schemars(length(max = 253))]
    pub name: String,
    /// When its run ended.
    pub ended_at: Stamp,
}

/// When what happened in an undo.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UndoTimes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breach_at: Option<Stamp>,
    pub decided_at: Stamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered_at: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_at: Option<Stamp>,
    /// When it was known whether what was put back works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated_at: Option<Stamp>,
    /// When the record was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communicated_at: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

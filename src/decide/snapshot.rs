//! What `decide` looks at: everything known about one Release at one moment, as plain data.
//!
//! `observe/` fills it. Nothing here comes from a client or a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::api::check::JobResult;
use crate::api::status::{Back, LocksStatus, StoredAs};
use crate::api::undo::PodEvidence;
use crate::api::{Action, Authors, ReleaseSpec, ReleaseStatus};
use crate::decide::judge::Slot;
use crate::decide::kept_name::is_named_after;
use crate::decide::notify::Told;
use crate::decide::plan::Meaning;
use crate::decide::refusal::{DoneWithout, Missed};
use crate::decide::values::Sample;

/// Within so long a kind is heard again, or what would go forward waits for it.
const HEARD_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// Which Release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// Everything known about one Release at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub now: Timestamp,
    /// Since when this process looks at the Release without a break; of what was before, only status is witness.
    pub looking_since: Option<Timestamp>,
    /// What of the cluster is not heard at present, for the longest time. `None`: everything is.
    pub unheard: Option<Unheard>,
    /// That Jobs are not heard: one that is not there need not be gone.
    pub unheard_jobs: Option<Unheard>,
    /// That kept templates are not heard: one that is not there may be kept.
    pub unheard_templates: Option<Unheard>,
    pub key: Key,
    /// `None`: deleted, while a Deployment still carries its label.
    pub release: Option<ReleaseFacts>,
    /// Another Release that has the same Deployment, and the older right to it.
    pub rival: Option<String>,
    pub target: Option<Workload>,
    /// Another Deployment that carries the name of this Release, and is nobody's: a copy of the target, made with its label.
    pub copy: Option<Workload>,
    /// What would be signed now. `None`: there is nothing to be released, or nobody can read how.
    pub content: Option<String>,
    /// ReplicaSets of the target.
    pub sets: Vec<PodSet>,
    /// Pods of those ReplicaSets.
    pub pods: Vec<Pod>,
    /// Templates kept as ControllerRevisions, by name.
    pub templates: BTreeMap<String, StoredTemplate>,
    /// Jobs of this Release, by name.
    pub jobs: BTreeMap<String, JobFacts>,
    /// Those of them that run a trial pod, by name.
    pub trials: BTreeMap<String, Trial>,
    /// What Jobs of this Release said at their end, by name, as far as it was asked for.
    pub outputs: BTreeMap<String, JobOutput>,
    /// What other Releases of the namespace ask for, claim and hold, where this one has locks; `None`: that cannot be told now.
    pub locks: Option<Vec<LockFacts>>,
    /// ReleaseActions about this Release, oldest first.
    pub actions: Vec<ActionFacts>,
    pub freezes: Freezes,
    pub served: Served,
    /// Answers of http and config checks, and refused Jobs, by `ProbeId`.
    pub probes: BTreeMap<ProbeId, ProbeAnswer>,
    pub measured: Measured,
    /// What came of telling people, and is not in status yet.
    pub told: Vec<Told>,
    /// Pods that are kept alive for this Release.
    pub quarantined: Vec<Quarantined>,
    /// What was read of pods before they went.
    pub gathered: Option<Gathered>,
    /// Where new pods are, as it was read last, for a step that counts some of them only.
    pub placed: Option<Arc<Placed>>,
    /// What the API server made of templates that were written. Everywhere else in here they are known by what was written.
    pub stored: Stored,
    /// Why it goes back and how far that has come, which status need not say yet.
    pub way_back: Option<WayBack>,
    /// Writes that were refused, and done without.
    pub missed: BTreeMap<DoneWithout, Missed>,
    /// Actions that this process has marked, by uid, and when: those whose mark has not come back to it yet.
    pub marked: BTreeMap<String, Timestamp>,
}

/// A kind that cannot be listed and watched: what is known of it was so when it failed, and need not be any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unheard {
    /// For people.
    pub kind: String,
    /// Which objects of it; `None`: all.
    pub namespace: Option<String>,
    pub since: Timestamp,
    /// How it failed first.
    pub why: String,
}

impl Unheard {
    /// Whether it has been for so long that nothing may rest on it. A watch that broke off is mostly heard again within some seconds.
    pub fn lasts(&self, now: Timestamp) -> bool {
        // The clock may have been set back.
        now.duration_since(self.since).abs() >= HEARD_AGAIN
    }

    /// Whether it is this kind.
    pub fn is_of(&self, kind: &str) -> bool {
        // In one namespace it is "Pod in shop".
        self.kind.split(' ').next() == Some(kind)
    }

    /// Whether it is what a move is seen by: without it nobody can tell whether one comes on.
    pub fn is_of_pods(&self) -> bool {
        ["Deployment", "ReplicaSet", "Pod"].into_iter().any(|kind| self.is_of(kind))
    }
}

/// Where new pods are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub at: Timestamp,
    /// Which were asked about, by uid.
    pub asked: BTreeSet<String>,
    /// Those of them that are there, by uid. `Err`: why it cannot be told.
    pub found: Result<BTreeMap<String, Place>, String>,
}

/// What a pod is like, and what the node is like that it is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub labels: BTreeMap<String, String>,
    /// `None`: they were not asked for, or the node is gone.
    pub node_labels: Option<BTreeMap<String, String>>,
}

/// A way back that this process goes, and how far it has come, whether or not status has it already.
#[derive(Clone, Debug)]
pub struct WayBack {
    pub run: String,
    /// Fingerprint of the version that the run is about.
    pub canary: String,
    pub back: Back,
    /// `status.revision` of the status that it was decided on. Status has this one still where it could not be written, by nobody.
    pub decided_on: i64,
}

/// The last write of this process to the Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastWrite {
    pub uid: String,
    /// The Deployment's after it. While it has this one, what stands there is what came of the write.
    pub generation: i64,
    /// Fingerprint of the template that stood there before.
    pub before: String,
    /// Of the one that was to stand there after it.
    pub meant: String,
}

/// A Deployment on which this process has put the label. That raises no generation: with this one it may be shown as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    pub uid: String,
    pub generation: i64,
}

impl Labelled {
    /// One that was put there and has not been seen is put there again after so long: whoever has taken it off before that tells nobody.
    pub const UNSEEN: Duration = Duration::from_secs(30);
}

/// What the API server made of templates that were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// As status says, and what the last write has shown.
    pub known: Vec<StoredAs>,
    /// What stands there came of the last write, and is not what was written, nor is it made of that as far as can be told.
    pub otherwise: Option<StoredAs>,
}

/// A pod in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    pub name: String,
    pub uid: String,
    pub until: Timestamp,
}

/// What was read of pods before they went, in one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Gathered {
    pub run: String,
    pub pods: Vec<PodEvidence>,
}

/// The Release as its author and we wrote it.
#[derive(Clone, Debug)]
pub struct ReleaseFacts {
    pub uid: String,
    pub generation: i64,
    pub resource_version: String,
    /// The Deployment that it names, also where nothing else of the spec can be read. `None`: it names none that there can be.
    pub target: Option<String>,
    /// `Err`: what is stored cannot be read by this build; the sentence says why.
    pub spec: Result<Arc<ReleaseSpec>, String>,
    /// What that spec means.
    pub meaning: Arc<Meaning>,
    pub status: Arc<ReleaseStatus>,
    /// What of that is not done.
    pub withheld: Option<Withheld>,
}

/// What a Release asks for is not done, since nobody has seen to it that its author has the rights that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// The policy that is not in force.
    pub policy: &'static str,
    /// Where it is written; never empty.
    pub fields: Vec<String>,
}

impl ReleaseFacts {
    /// Whether this is the Deployment that it names. One that cannot be read is about the Deployment that carries its name.
    pub fn is_about(&self, target: &Workload) -> bool {
        self.spec.as_ref().map_or(true, |spec| spec.target_ref.name == target.name)
    }
}

/// The Deployment, as far as it matters.
#[derive(Clone, Debug)]
pub struct Workload {
    pub uid: String,
    pub name: String,
    pub generation: i64,
    /// Generation that the native controller has seen.
    pub observed_generation: i64,
    pub has_annotations: bool,
    pub has_labels: bool,
    pub release_label: Option<String>,
    /// This process has put the label there not long ago, and has not seen it since: it is not put there again.
    pub label_unseen: bool,
    pub originals: Option<String>,
    pub stable: Option<String>,
    pub held: Option<String>,
    pub on_delete: Option<String>,
    pub changed_by: Option<Authors>,
    /// The native controller's number of the template that it saw last.
    pub revision: Option<String>,
    /// Which of `metadata.managedFields` says that fields of its spec are ours, other than `paused`.
    pub managed_by_us: Option<usize>,
    pub replicas: i32,
    pub paused: bool,
    pub min_ready_seconds: i32,
    pub progress_deadline_seconds: Option<i32>,
    /// `spec.strategy` as stored.
    pub strategy: Value,
    pub template: Template,
    /// Why the template is not read: it is `null` then, and known by its fingerprint only.
    pub too_much: Option<String>,
    pub fingerprint: String,
    /// All that the template names, each once.
    pub images: Vec<String>,
    pub updated_replicas: i32,
    pub available_replicas: i32,
    pub status_replicas: i32,
}

/// A ReplicaSet.
#[derive(Clone, Debug, Default)]
pub struct PodSet {
    pub name: String,
    pub uid: String,
    /// Of its template, without `pod-template-hash`.
    pub fingerprint: String,
    /// Of what was written this is what was stored once; the Deployment's template is what is stored now.
    pub outdated: bool,
    /// `spec.replicas`
    pub replicas: i32,
    /// The Deployment's replicas when the native controller scaled it last.
    pub desired: Option<i32>,
    /// The native controller's number of its template: the newest has the highest.
    pub revision: Option<i64>,
    /// Ready pods that its controller has counted since it was told how many there are to be; `None`: it has not looked since. Pods are
    /// watched apart from their set, so what is known of them may be of an earlier moment than it.
    pub counted: Option<i32>,
}

/// Why a container ended that took more memory than it may.
pub const OUT_OF_MEMORY: &str = "OOMKilled";

/// A pod.
#[derive(Clone, Debug, Default)]
pub struct Pod {
    pub name: String,
    pub uid: String,
    pub set_uid: String,
    pub ip: Option<String>,
    pub ready_since: Option<Timestamp>,
    pub terminating: bool,
    /// It was ended, and nobody has said that its containers are gone.
    pub lingers: bool,
    pub started_at: Option<Timestamp>,
    /// Of the container that was restarted most.
    pub restarts: u32,
    /// Of all its containers.
    pub restarts_in_all: u32,
    /// Why a container waits: `CrashLoopBackOff`, `ImagePullBackOff` ...
    pub waiting: Option<String>,
    pub waiting_message: Option<String>,
    /// Why a container ended last, unless by itself and well: `OOMKilled` before all others, `Error`.
    pub ended: Option<String>,
    /// When that was.
    pub ended_at: Option<Timestamp>,
    /// What it said of its end.
    pub ended_message: Option<String>,
    /// Since when no node has room for it.
    pub unschedulable_since: Option<Timestamp>,
    /// Its node is not heard from: its containers were ready when they were last heard of, or those of another pod there.
    pub cut_off: bool,
}

/// A template kept as a ControllerRevision.
#[derive(Clone, Debug)]
pub struct StoredTemplate {
    /// Of its ControllerRevision.
    pub uid: String,
    pub fingerprint: String,
    pub template: Template,
    /// This process has deleted it: that may not have been heard of yet, or be on its way. Who needs it keeps it anew.
    pub let_go: bool,
}

impl StoredTemplate {
    /// Whether it is what its name says. Whoever may write ControllerRevisions can put another template under the name of one that was kept.
    fn is_named(&self, name: &str) -> bool {
        is_named_after(name, &self.fingerprint)
    }
}

/// A pod template as JSON text: whole, with fields that this build does not know, and a tenth of the memory of a parsed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Arc<str>);

impl Template {
    /// Keeps a template.
    pub fn new(value: &Value) -> Self {
        // Not as it is shown: that goes through a formatter piece by piece.
        Self(serde_json::to_string(value).unwrap_or_default().into())
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The template itself.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

/// A Job of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFacts {
    pub state: JobState,
    /// What its check asked for when it was made.
    pub definition: Option<String>,
}

/// How a Job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    Running,
    Succeeded,
    Failed { message: String },
}

/// The Job of a trial pod, and its pod.
#[derive(Clone, Debug)]
pub struct Trial {
    pub uid: String,
    /// It is being deleted.
    pub terminating: bool,
    pub pod: Option<Pod>,
    /// How a container of it ended, none of which is started again.
    pub exit: Option<Exit>,
    /// Why no node takes it.
    pub unplaced: Option<String>,
}

/// How a container ended otherwise than well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
    pub reason: Option<String>,
}

/// Locks of another Release.
#[derive(Clone, Debug, PartialEq)]
pub struct LockFacts {
    pub release: String,
    pub run: String,
    pub locks: LocksStatus,
}

/// What a Job said at its end. `Err`: why it could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOutput {
    pub at: Timestamp,
    pub log: Result<LogEnd, String>,
    pub termination: Result<String, String>,
    /// Told once, where it was read: that takes longer than a look should. `None`: nothing was asked of it then, or it was not told.
    pub answer: Option<JobAnswer>,
}

/// Whether what must hold of what a Job said does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobAnswer {
    /// What must hold.
    pub to: JobResult,
    pub result: ProbeResult,
    pub message: String,
}

/// The end of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// Its last line that is not blank, as it is. `None`: it is longer than is read.
    pub last: Option<String>,
    /// Its last lines, to be kept: printable, and bounded.
    pub lines: Vec<String>,
}

/// What a person said, and it is not marked on it yet what came of that.
#[derive(Clone, Debug)]
pub struct ActionFacts {
    pub uid: String,
    pub name: String,
    pub created: Timestamp,
    pub action: Action,
    pub role: Option<String>,
    /// Which check is attested.
    pub check: Option<String>,
    /// It is about the undo that is asked about.
    pub undo: bool,
    /// What is signed.
    pub content: Option<String>,
    pub freeze: Option<String>,
    pub ground: Option<String>,
    pub run: Option<String>,
    pub by: Option<String>,
    pub reason: String,
}

/// The freezes that are about this Release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freezes {
    /// By name; those that are over too.
    pub known: Vec<FreezeFacts>,
    /// Why there may be others: what cannot be read.
    pub unread: Option<String>,
}

/// A freeze.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreezeFacts {
    pub name: String,
    pub uid: String,
    pub from: Timestamp,
    /// `Timestamp::MAX`: until it is deleted.
    pub until: Timestamp,
    pub reason: String,
    /// Grounds on which it may be passed.
    pub grounds: Vec<String>,
}

/// What the API server enforces for us: policies with bindings that have an effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// MutatingAdmissionPolicies that hold a changed template and guard the paced fields, with their bindings.
    pub hold: bool,
    /// The ValidatingAdmissionPolicy that says who may act, with its binding: without it `spec.by` proves nothing.
    pub rights: bool,
    /// One of those that keep a Release from lending the operator's rights to its author, which is not in force.
    pub lends: Option<&'static str>,
}

/// One try of one check of one run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId {
    pub run: String,
    pub check: String,
    pub attempt: i32,
    /// The digest of what it asks for, where that may be changed meanwhile: what was answered to something else is no answer.
    pub definition: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeAnswer {
    pub at: Timestamp,
    pub result: ProbeResult,
    pub message: String,
}

/// Unknown is not passed and not failed: it is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    Passed,
    Failed,
    Unknown,
}

/// What was measured since status was written.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// What slots, history and missing pods were read with (see [`definition`](super::definition)); empty: with what is asked for.
    pub definition: String,
    pub slots: Vec<Slot>,
    /// What stable pods did before the run, where a server still knows it: the judge learns from it before the first slot.
    pub history: Arc<Vec<Slot>>,
    /// Canary pods that should have reported and did not: how many in the round that ended at this second.
    pub missing: Vec<(i64, u32)>,
    /// The same of stable pods, while it is measured whether what was put back works.
    pub stable_missing: Vec<(i64, u32)>,
    /// Of criteria that do not count requests.
    pub values: Vec<Sample>,
    /// Which series are read, for people.
    pub source: String,
    /// How they are asked for.
    pub query: String,
    /// Why there is nothing, or not all, when that is so.
    pub trouble: Option<String>,
}

impl Measured {
    /// Whether what was counted is what is asked for.
    pub fn is_of(&self, definition: &str) -> bool {
        self.definition.is_empty() || self.definition == definition
    }
}

impl Workload {
    /// `paused` was set by the hold policy, or by us between runs, and not by the owner.
    pub fn held_by_us(&self) -> bool {
        self.held.as_deref() == Some("true")
    }
}

impl Pod {
    /// Whether it is Ready, and not on its way out.
    pub fn serves(&self) -> bool {
        self.ready_since.is_some() && !self.terminating
    }
}

impl Snapshot {
    /// A kept template by its name, if it is what that says.
    pub fn kept_as(&self, name: &str) -> Option<&StoredTemplate> {
        self.templates.get(name).filter(|kept| kept.is_named(name))
    }

    /// A kept template by its fingerprint, under a name that says so: by that it is found again where no status is left.
    pub fn kept(&self, fingerprint: &str) -> Option<(&String, &StoredTemplate)> {
        self.templates.iter().find(|(name, kept)| kept.fingerprint == fingerprint && kept.is_named(name))
    }

    /// What is kept with this fingerprint, under whatever name: good enough to read.
    pub fn template(&self, fingerprint: &str) -> Option<&Template> {
        self.templates.values().find(|kept| kept.fingerprint == fingerprint).map(|kept| &kept.template)
    }

    /// That nobody knows what to go back to, where the stable template was kept under this name.
    pub fn stable_is_lost(&self, name: &str) -> String {
        let what = match self.templates.contains_key(name) {
            true => "holds another template now",
            false => "is gone, or has lost its label",
        };
        format!("ControllerRevision {name} with the stable template {what}")
    }

    /// Pods of one set which are not on their way out.
    pub fn live_pods_of<'a>(&'a self, set_uid: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods.iter().filter(move |pod| pod.set_uid == set_uid && !pod.terminating)
    }

    /// Pods of the revisions that are wanted, by their fingerprints, which are not on their way out.
    pub fn live_pods(&self, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = &Pod> {
        let sets = self.sets.iter().filter(move |set| wanted(&set.fingerprint));
        sets.flat_map(|set| self.live_pods_of(&set.uid))
    }
}

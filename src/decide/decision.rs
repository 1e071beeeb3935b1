//! What `decide` says: what to write, what to tell people, and when to look again.

use jiff::Timestamp;
use serde_json::Value;

use super::orphan;
use super::plan::ObjectPatch;
use super::refusal::DoneWithout;
use super::snapshot::{Key, ProbeId, Snapshot, Template, WayBack};
use crate::api::undo::HttpHook;
use crate::api::{Action, ReleaseReportSpec, ReleaseStatus};

/// What is to be done now.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// In this order; the first that fails ends the round, unless it can be done without.
    pub intents: Vec<Intent>,
    /// Written last, when it is worth a write.
    pub status: Option<ReleaseStatus>,
    /// Told to people once everything above has been done.
    pub notices: Vec<Notice>,
    /// Look again at this moment at the latest.
    pub wake: Option<Timestamp>,
    /// Status goes out before the intents: without it a process that starts anew could not tell what they are for.
    pub note_first: bool,
    /// And where it cannot be written, nothing is ordered yet: nothing is wrong that could not wait, and what it says would be lost.
    pub only_noted: bool,
    /// Going back: goes before everything else.
    pub urgent: bool,
    /// Begun in the same look, and waited for by nothing in it.
    pub errands: Vec<Errand>,
}

/// Something done beside the way back. Once begun in a process it is not begun again for the same run.
#[derive(Clone, Debug)]
pub struct Errand {
    pub run: String,
    /// Told apart by it.
    pub name: String,
    pub kind: ErrandKind,
}

/// What is done.
#[derive(Clone, Debug)]
pub enum ErrandKind {
    /// Reads what is left of pods; it comes back as [`super::snapshot::Gathered`].
    Gather(Gather),
    /// What came of these comes back as the answer to a check of their name.
    Call(Box<HttpHook>),
    Patch(ObjectPatch),
    MakeJob {
        body: Value,
    },
}

/// Pods to read before they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gather {
    pub pods: Vec<Witness>,
    /// Whose logs are read.
    pub containers: Vec<String>,
    /// Of each log; 0: none is read.
    pub log_lines: u32,
}

/// A pod to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    pub pod: String,
    /// One of its containers may have written something before it was started again.
    pub began_again: bool,
}

impl Decision {
    /// Whether anything is to be written.
    pub fn writes(&self) -> bool {
        !self.intents.is_empty() || self.status.is_some()
    }

    /// Whether it has something to say, and that orders nothing and has nothing ordered.
    pub fn only_tells(&self) -> bool {
        self.status.is_some() && self.intents.is_empty() && !self.note_first
    }

    /// How far the way back has come, of a run that goes one. Where its Release is gone, or was made anew, no status says why it goes back, and what comes
    /// after stable: that is known from here until it is seen to be noted on the Deployment, whatever becomes of the write.
    pub fn way_back(&self, snapshot: &Snapshot) -> Option<WayBack> {
        let before = snapshot.release.as_ref().map(|release| &*release.status);
        let status = self.status.as_ref().or(before);
        if let Some((status, run)) = status.and_then(|status| Some((status, status.run.as_ref()?))) {
            let canary = status.canary.as_ref().map(|canary| canary.fingerprint.clone());
            let (run, back) = (run.id.clone(), run.back.clone()?);
            let decided_on = before.map_or(0, |before| before.revision);
            return Some(WayBack { run, canary: canary.unwrap_or_default(), back, decided_on });
        }
        let knows_stable = status.is_some_and(|status| status.stable.is_some());
        snapshot.way_back.clone().filter(|_| !knows_stable && orphan::lacks_note(snapshot))
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// Keep a template as a ControllerRevision of the Deployment. `let_go`: the uid of one that this process has deleted. Where that is still there its
    /// deletion has not arrived, or may yet: it is deleted before.
    KeepTemplate {
        name: String,
        fingerprint: String,
        template: Template,
        owner: Owner,
        awaited: Awaited,
        let_go: Option<String>,
    },
    /// Forget a kept template, if it still is this one.
    DropTemplate { name: String, uid: String },
    /// A JSON patch of the Deployment that begins with a test of its generation.
    /// `template`: the fingerprint of the one that it writes, if it does.
    PatchWorkload { name: String, patch: Vec<Value>, why: String, template: Option<String> },
    /// A JSON patch of the Deployment that begins so too, and takes us out of those who manage its fields. A refusal is told, and stops nothing.
    StopManaging { name: String, patch: Vec<Value> },
    /// A JSON patch that begins so too, of another Deployment: it takes off what is ours of a copy of the target. A refusal stops nothing.
    LetCopyGo { name: String, patch: Vec<Value> },
    /// A Job of a check. A refusal is an answer to the check.
    CreateJob { name: String, id: ProbeId, body: Value },
    /// Delete a Job whose pod need not run any more. A refusal is told, and stops nothing.
    DeleteJob { name: String, uid: String },
    /// Keep the record of a run. A refusal is told, and stops nothing.
    KeepReport { name: String, report: Box<ReleaseReportSpec> },
    /// Remove the record of a run.
    DropReport { name: String },
    /// Take pods out of their ReplicaSet and out of traffic. A refusal is told, and stops nothing.
    Quarantine { run: String, pods: Vec<Relabelled> },
    /// Delete a pod whose quarantine is over. A refusal is told, and stops nothing.
    DeletePod { name: String, uid: String },
    /// Say on a ReleaseAction what came of it. A refusal is told, and stops nothing.
    MarkAction { uid: String, name: String, done: bool, message: String, at: Timestamp },
}

impl Intent {
    /// What is written, as a sentence has it.
    pub fn what(&self) -> String {
        match self {
            Self::KeepTemplate { name, .. } => format!("the creation of ControllerRevision {name}"),
            Self::DropTemplate { name, .. } => format!("the deletion of ControllerRevision {name}"),
            Self::PatchWorkload { name, why, .. } => format!("the patch of Deployment {name} ({why})"),
            Self::StopManaging { name, .. } => format!("the patch of managedFields of Deployment {name}"),
            Self::LetCopyGo { name, .. } => format!("the patch of the label of Deployment {name}"),
            Self::CreateJob { name, .. } => format!("the creation of Job {name}"),
            Self::DeleteJob { name, .. } => format!("the deletion of Job {name}"),
            Self::KeepReport { name, .. } => format!("the creation of ReleaseReport {name}"),
            Self::DropReport { name } => format!("the deletion of ReleaseReport {name}"),
            Self::Quarantine { .. } => "the patch of pods' labels".to_owned(),
            Self::DeletePod { name, .. } => format!("the deletion of Pod {name}"),
            Self::MarkAction { name, .. } => format!("the patch of the status of ReleaseAction {name}"),
        }
    }

    /// As what it is remembered when it is refused, if nothing waits for it then, but somebody is to know.
    pub fn done_without(&self) -> Option<DoneWithout> {
        match self {
            Self::MarkAction { uid, .. } => Some(DoneWithout::Mark(uid.clone())),
            Self::KeepTemplate { awaited: Awaited::UnlessRefused | Awaited::Never, fingerprint, .. } => {
                Some(DoneWithout::Template(fingerprint.clone()))
            }
            Self::KeepTemplate { awaited: Awaited::Always, .. }
            | Self::DropTemplate { .. }
            | Self::PatchWorkload { .. }
            | Self::StopManaging { .. }
            | Self::LetCopyGo { .. }
            | Self::CreateJob { .. }
            | Self::DeleteJob { .. }
            | Self::KeepReport { .. }
            | Self::DropReport { .. }
            | Self::Quarantine { .. }
            | Self::DeletePod { .. } => None,
        }
    }

    /// Whether what comes after it waits where it fails in a way that says nothing of the next try.
    pub fn is_awaited(&self) -> bool {
        !matches!(self, Self::KeepTemplate { awaited: Awaited::Never, .. })
    }

    /// The operations of one that orders something of the Deployment itself.
    pub fn order(&mut self) -> Option<&mut Vec<Value>> {
        match self {
            Self::PatchWorkload { patch, .. } => Some(patch),
            Self::KeepTemplate { .. }
            | Self::DropTemplate { .. }
            | Self::StopManaging { .. }
            | Self::LetCopyGo { .. }
            | Self::CreateJob { .. }
            | Self::DeleteJob { .. }
            | Self::KeepReport { .. }
            | Self::DropReport { .. }
            | Self::Quarantine { .. }
            | Self::DeletePod { .. }
            | Self::MarkAction { .. } => None,
        }
    }

    /// Its turn among those of a look that goes back. The order overwrites a template that may have to be kept before; it waits for nothing else.
    pub fn turn_back(&self) -> u8 {
        match self {
            Self::KeepTemplate { .. } => 0,
            Self::PatchWorkload { .. } => 1,
            Self::DropTemplate { .. }
            | Self::StopManaging { .. }
            | Self::LetCopyGo { .. }
            | Self::CreateJob { .. }
            | Self::DeleteJob { .. }
            | Self::KeepReport { .. }
            | Self::DropReport { .. }
            | Self::Quarantine { .. }
            | Self::DeletePod { .. }
            | Self::MarkAction { .. } => 2,
        }
    }
}

/// What waits until a template is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// All that comes after it.
    Always,
    /// The same, unless it is refused: that is told, and stops nothing.
    UnlessRefused,
    /// Nothing. However it fails, that is told, and it is tried again later.
    Never,
}

/// A pod, and the merge patch that takes it out.
#[derive(Clone, Debug, PartialEq)]
pub struct Relabelled {
    pub pod: String,
    pub patch: Value,
}

/// Who owns what is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub name: String,
    pub uid: String,
}

/// Bytes of a note that people are told whole. The API server takes 1024 in an event, of whatever letters, and none of an event with more.
pub const LONGEST_NOTE: usize = 1000;

/// Something worth telling, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// CamelCase, for programs.
    pub reason: &'static str,
    pub note: String,
    pub warning: bool,
    /// Each look says it for as long as it is so, where no status can: it is told once an hour.
    pub lasts: bool,
}

impl Notice {
    /// Something that went as it should.
    pub fn normal(reason: &'static str, note: impl Into<String>) -> Self {
        Self { reason, note: note.into(), warning: false, lasts: false }
    }

    /// Something that somebody should look at.
    pub fn warning(reason: &'static str, note: impl Into<String>) -> Self {
        Self { reason, note: note.into(), warning: true, lasts: false }
    }

    /// The same, for as long as it is so.
    pub fn lasting(self) -> Self {
        Self { lasts: true, ..self }
    }
}

/// A command line that means this namespace, from wherever it is pasted: `kubectl rollout undo deployment/shop -n ns`.
pub fn kubectl(key: &Key, words: &str) -> String {
    format!("kubectl {words} -n {}", key.namespace)
}

/// The command line that says `action`, for status.
pub fn command(key: &Key, action: Action) -> String {
    let command = kubectl(key, &format!("tidegate {} {}", action.command(), key.name));
    match action {
        Action::Approve | Action::Retry | Action::Resume | Action::Pause | Action::Acknowledge => command,
        Action::Attest => format!("{command} --check ... --role ... --reason '...'"),
        Action::PassFreeze => format!("{command} --freeze ... --ground ... --reason '...'"),
        Action::Reject | Action::Abort | Action::Skip | Action::ClearRejection | Action::HandBack => {
            format!("{command} --reason '...'")
        }
    }
}

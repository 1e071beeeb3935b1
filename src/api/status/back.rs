//! The way back of a run, from the question whether to go it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RevisionStatus, Said, Stage, Stamp, UndoTimes};
use crate::api::undo::{HookStatus, PodEvidence, QuarantinedPod, UndoPhase, Validating};

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
    /// Fingerprint of what was to be put back before that one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<String>,
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

impl Back {
    /// When what happened, as far as it has.
    pub fn times(&self) -> UndoTimes {
        UndoTimes {
            breach_at: self.breach_at,
            decided_at: self.decided_at,
            ordered_at: self.ordered_at,
            restored_at: self.restored_at,
            validated_at: self.validated_at,
            communicated_at: self.communicated_at,
            by: self.by.clone(),
        }
    }
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
    /// With `Recreate`, old pods did not go in time: no pod of the version was made, and nothing is known against it.
    OldPodsRemain,
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

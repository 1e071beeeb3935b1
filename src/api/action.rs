//! `ReleaseAction`: what a person says about a release. Made once, never changed; who said it is stamped by the API server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a person says about a release. Made once, never changed.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "ReleaseAction",
    namespaced,
    status = "ReleaseActionStatus",
    shortname = "ra",
    category = "tidegate",
    doc = "What a person says about a release. Made once, never changed.",
    selectable = ".spec.release",
    printcolumn(name = "Release", type_ = "string", json_path = ".spec.release"),
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.by"),
    printcolumn(name = "Result", type_ = "string", json_path = ".status.result"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a ReleaseAction cannot be changed: make another"))]
#[x_kube(validation = Rule::new("self.action in ['Approve', 'Reject', 'Attest'] ? has(self.role) : !has(self.role)").message("role goes with Approve, Reject and Attest, and only with them"))]
#[x_kube(validation = Rule::new("(self.action == 'Attest') == has(self.check)").message("check goes with Attest, and only with it: it names what is attested"))]
#[x_kube(validation = Rule::new("!has(self.undo) || self.action in ['Approve', 'Reject']").message("undo goes with Approve and Reject: an undo that is asked about is agreed to or refused"))]
#[x_kube(validation = Rule::new("!has(self.content) || self.action in ['Approve', 'Attest']").message("content goes with Approve and Attest: it is what they are about"))]
#[x_kube(validation = Rule::new("self.action == 'PassFreeze' ? has(self.freeze) && has(self.ground) : !has(self.freeze) && !has(self.ground)").message("freeze and ground go with PassFreeze, and only with it"))]
#[x_kube(validation = Rule::new("self.action in ['Approve', 'Retry', 'Resume', 'Pause', 'Acknowledge'] || (has(self.reason) && self.reason.size() >= 3)").message(Message::Expression("self.action + ' needs a reason of at least 3 characters'".into())))]
pub struct ReleaseActionSpec {
    /// The Release, in the same namespace.
    #[schemars(length(min = 1, max = 52))]
    pub release: String,
    pub action: Action,
    /// The role signed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub role: Option<String>,
    /// The check that is attested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub check: Option<String>,
    /// It is about the undo that status asks about: Approve goes back, Reject does not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undo: bool,
    /// The Freeze that is passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub freeze: Option<String>,
    /// On which of its grounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub ground: Option<String>,
    /// The run it is about (.status.run.id). Written by the API server when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub run: Option<String>,
    /// What is signed (.status.run.content): the new template and the plan. Written by the API server when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub content: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Who. Written by the API server, whatever is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub by: Option<String>,
}

/// What can be said.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Sign an approval in a role.
    Approve,
    /// Refuse an approval in a role: the run goes back.
    Reject,
    /// Say that what a check asks for is so, in a role.
    Attest,
    /// Go back to stable now.
    Abort,
    /// Stand still.
    Pause,
    /// End a pause, or take up a Deployment again that was handed back.
    Resume,
    /// Try failed checks again, or the rejected template.
    Retry,
    /// Count what is waited for (checks, a soak, the watch, a window) as done.
    Skip,
    /// Let the run pass a Freeze, on one of its grounds.
    PassFreeze,
    /// Say that a hold, or a wait for a signature, is known: nobody else is woken for it.
    Acknowledge,
    /// Forget a rejection.
    ClearRejection,
    /// Give the Deployment back to its owner as it is.
    HandBack,
}

impl Action {
    /// Whether it keeps a run from going on: that is heard before all else.
    pub fn stops(self) -> bool {
        matches!(self, Self::Abort | Self::Pause)
    }

    /// The command of `kubectl tidegate` that says it.
    pub fn command(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Attest => "attest",
            Self::Abort => "abort",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::PassFreeze => "pass-freeze",
            Self::Acknowledge => "acknowledge",
            Self::ClearRejection => "clear-rejection",
            Self::HandBack => "hand-back",
        }
    }
}

/// What became of it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseActionStatus {
    /// `Done` or `Refused`.
    #[serde(default)]
    pub result: String,
    #[serde(default)]
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

//! What people have signed, and what they have let a run pass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Stamp;

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
    /// Since when the operator had asked for it: for no other step, sign-off or undo it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Stamp>,
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

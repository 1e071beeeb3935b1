//! Checks and migrations of a run, and the Jobs of either.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Stamp;
use crate::api::migration::MigrationKind;

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
    /// What this try asks for: the first digits of the digest of its definition. One that has another since is tried anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub definition: Option<String>,
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

impl CheckState {
    /// Whether its answer is still awaited.
    pub fn is_open(self) -> bool {
        match self {
            Self::Waiting | Self::Unknown => true,
            Self::Passed | Self::Failed | Self::Skipped => false,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

//! The run that ended last, and the records of those before.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Stamp;
use crate::api::authors::Authors;
use crate::api::undo::{Communication, Validation};

/// How a run ended.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Succeeded,
    Undone,
    Aborted,
    Superseded,
    HandedBack,
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
    pub changed_by: Option<Authors>,
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

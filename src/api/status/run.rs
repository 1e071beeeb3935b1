//! The run that is under way: everything needed to go on, or back, after a restart.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{Back, CheckStatus, MigrationStatus, Pass, Said, Signature, Stamp, UndoAsked, object};
use crate::api::authors::Authors;

/// A run under way: everything needed to go on, or back, after a restart.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// `r7`
    pub id: String,
    pub number: i64,
    pub started_at: Stamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<Authors>,
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
    /// Since when a newer template stands there in the watch, where a migration's Job may have been made that no answer said is. None is made from then on until
    /// that template is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overtaken_since: Option<Stamp>,
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

    /// Whether this one has changed what is released, or may have.
    pub fn may_be_by(&self, who: &str) -> bool {
        self.changed_by.as_ref().is_some_and(|authors| authors.may_include(who))
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
    /// Those of them that counted as pilots, where the step asks for some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pilots: Option<i32>,
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
    /// Name and share of the step that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub step: Option<String>,
    /// That step was written anew while the run was in it: whether it may begin is asked again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub written_anew: bool,
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
    /// Since when the native controllers have not carried out what was ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsettled: Option<Stamp>,
    /// Somebody said skip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Said>,
    /// They said so while it was held because nothing goes back by itself any more: what would go back does not hold this step again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped_barrier: bool,
    /// The reason for which the run was held when they did: of what is measured, no other hold is passed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub skipped_hold: Option<String>,
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

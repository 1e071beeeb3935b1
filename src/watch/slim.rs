//! Slim views of cluster objects: only what is read is deserialised and kept, and what is read seldom stays text.
//!
//! One object that cannot be read must not stop the watch of all others, so whatever users write freely (a spec, a template that is
//! kept) is taken as it comes, however deep it is, and read where it is looked at.
//!
//! However large an object is, its view takes some kilobytes, but for texts: those of a Release, what people said, and templates. They take room (see [`super::room`]);
//! where there is none, an outline stands for the object, which says what it concerns, and what it was when it is told from others.

mod action;
mod deployment;
mod pod;
mod release;
mod template;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::key::ObjectKey;
use super::meta::Meta;

pub use action::ReleaseAction;
pub use deployment::{Deployment, ReplicaSet};
pub use pod::{Holds, Node, Pod, PodIs, PodPhase, PodStatus, Terminated};
pub use release::Release;
pub use template::{KeptTemplate, StoredTemplate, fingerprint};

/// A part of an object, kept as JSON text: a tree of maps takes ten times the room, and is needed only for a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document(Box<str>);

impl Document {
    /// What it says.
    ///
    /// # Errors
    /// When it is not a `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl Default for Document {
    fn default() -> Self {
        Self("null".into())
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// A Freeze, which may say what this build does not know.
#[derive(Deserialize, Clone, Debug)]
pub struct Freeze {
    pub metadata: Meta,
    #[serde(default)]
    pub spec: Document,
}

/// A namespace: its labels.
#[derive(Deserialize, Clone, Debug)]
pub struct Namespace {
    #[serde(deserialize_with = "namespace_metadata")]
    pub metadata: Meta,
}

/// A namespace is kept as if it lay in itself: so each has a listing of its own, where the operator sees some only.
fn namespace_metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Meta, D::Error> {
    let metadata = Meta::deserialize(deserializer)?;
    let name = metadata.key.name();
    Ok(Meta { key: ObjectKey::new(name, name), ..metadata })
}

/// A Job of a check or a migration.
#[derive(Deserialize, Clone, Debug)]
pub struct Job {
    pub metadata: Meta,
    #[serde(default)]
    pub status: JobStatus,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct JobStatus {
    pub conditions: Vec<JobCondition>,
}

#[derive(Deserialize, Clone, Debug)]
pub struct JobCondition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
}

//! What is kept of an object's metadata: what is read of it, in as little room as it takes.
//!
//! There are five objects for each Release at rest, and thousands of Releases. The API's own metadata takes 400 bytes before it says
//! anything, and a tree for one label 600 more: nodes of a tree keep room for eleven.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::key::ObjectKey;
use crate::api::RELEASE_LABEL;
use crate::api::status::sensible;

/// Bytes of a name: no object has a longer one. Whom an object belongs to is for whoever writes it to say, though.
pub const LONGEST_NAME: usize = 253;
/// Owners of an object that are looked at.
const MOST_OWNERS: usize = 8;
/// Bytes of a uid, and of an annotation that is a number or a moment.
const SHORT: usize = 64;

/// An object's metadata.
#[derive(Deserialize, Clone, Debug)]
#[serde(from = "Known")]
pub struct Meta {
    pub key: ObjectKey,
    pub uid: Box<str>,
    pub resource_version: Box<str>,
    pub generation: i64,
    pub created: Option<Timestamp>,
    /// It has been deleted, and is on its way out.
    pub deleted: bool,
    /// `None`: it has none at all. A JSON patch needs to know.
    pub labels: Option<Texts>,
    /// The same.
    pub annotations: Option<Texts>,
    pub owners: Box<[Owner]>,
}

impl Meta {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.as_ref()?.get(name)
    }

    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(name)
    }

    /// The Release that its label names.
    pub fn release(&self) -> Option<ObjectKey> {
        Some(self.key.beside(self.label(RELEASE_LABEL)?))
    }

    /// Who controls it, if that is of this kind.
    pub fn controller(&self, kind: OwnerKind) -> Option<&ObjectKey> {
        let owner = self.owners.iter().find(|owner| owner.kind == kind && owner.controls)?;
        Some(&owner.key)
    }

    /// Whether this is an owner of it, controlling or not.
    pub fn is_owned_by(&self, uid: &str) -> bool {
        self.owners.iter().any(|owner| *owner.uid == *uid)
    }
}

/// Labels or annotations, sorted by name.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(from = "BTreeMap<Box<str>, Box<str>>")]
pub struct Texts(Box<[(Box<str>, Box<str>)]>);

impl Texts {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, text)| text)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (&**name, &**text))
    }

    /// Forgets all others.
    pub fn keep(&mut self, names: &[&str]) {
        let all = std::mem::take(&mut self.0).into_iter();
        self.0 = all.filter(|(name, _)| names.contains(&&**name)).collect();
    }

    /// Forgets what is no number and no moment.
    pub fn keep_short(&mut self) {
        let all = std::mem::take(&mut self.0).into_iter();
        self.0 = all.filter(|(_, text)| text.len() <= SHORT).collect();
    }

    /// How many bytes they have, and how many it takes that there are so many.
    pub fn bytes(&self) -> usize {
        self.iter().map(|(name, text)| name.len() + text.len() + EACH).sum()
    }
}

/// Bytes that a label takes, however short it is.
const EACH: usize = 32;

impl From<BTreeMap<Box<str>, Box<str>>> for Texts {
    fn from(all: BTreeMap<Box<str>, Box<str>>) -> Self {
        Self(all.into_iter().collect())
    }
}

/// Whom an object belongs to.
#[derive(Clone, Debug)]
pub struct Owner {
    pub kind: OwnerKind,
    pub key: ObjectKey,
    pub uid: Box<str>,
    pub controls: bool,
}

/// Kinds of owners by which objects are looked up.
#[derive(Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnerKind {
    Deployment,
    ReplicaSet,
    #[default]
    #[serde(other)]
    Other,
}

/// What is read of an object's metadata. Who manages which field is mostly not (`M`): that list is as deep as the object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "M: Deserialize<'de>"))]
pub(super) struct Known<M = IgnoredAny> {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<Box<str>>,
    resource_version: Option<Box<str>>,
    generation: Option<i64>,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<Timestamp>,
    labels: Option<Texts>,
    annotations: Option<Texts>,
    owner_references: Option<Vec<Reference>>,
    pub managed_fields: Option<M>,
}

/// An owner as it is referred to: it lies in the same namespace.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Reference {
    kind: OwnerKind,
    name: String,
    uid: Box<str>,
    controller: Option<bool>,
}

impl<M> From<Known<M>> for Meta {
    fn from(known: Known<M>) -> Self {
        let namespace = known.namespace.unwrap_or_default();
        let is_one = |owner: &Reference| owner.name.len() <= LONGEST_NAME && owner.uid.len() <= SHORT;
        let owner = |Reference { kind, name, uid, controller }| Owner {
            kind,
            key: ObjectKey::new(&namespace, &name),
            uid,
            controls: controller == Some(true),
        };
        Self {
            key: ObjectKey::new(&namespace, &known.name.unwrap_or_default()),
            uid: known.uid.unwrap_or_default(),
            resource_version: known.resource_version.unwrap_or_default(),
            generation: known.generation.unwrap_or(0),
            created: known.creation_timestamp.map(sensible),
            deleted: known.deletion_timestamp.is_some(),
            labels: known.labels,
            annotations: known.annotations,
            owners: known
                .owner_references
                .into_iter()
                .flatten()
                .filter(is_one)
                .take(MOST_OWNERS)
                .map(owner)
                .collect(),
        }
    }
}

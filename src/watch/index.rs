//! Everything watched, in memory. Plain functions: an object goes in, the Releases that it concerns come out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api as kinds;
use kube::Resource;
use serde::de::DeserializeOwned;

use super::key::ObjectKey;
use super::meta::{Meta, OwnerKind, Texts};
use super::slim::{self, KeptTemplate};
use super::table::Table;
use crate::api::{
    self, CHANGED_BY, CHECK_LABEL, DEFINITION_LABEL, HELD, ON_DELETE, ORIGINALS, QUARANTINE,
    QUARANTINED_UNTIL, RELEASE_LABEL, STABLE, TRIAL,
};
use crate::decide::Key;
use crate::decide::fields::REVISION;

/// Annotation by which the native controller notes the Deployment's replicas on its ReplicaSets.
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";

/// Everything watched.
#[derive(Debug, Default)]
pub struct Index {
    pub releases: Table<slim::Release>,
    pub deployments: Table<slim::Deployment>,
    pub sets: Table<slim::ReplicaSet>,
    pub pods: Table<slim::Pod>,
    pub templates: Table<slim::StoredTemplate>,
    pub jobs: Table<slim::Job>,
    pub actions: Table<slim::ReleaseAction>,
    pub freezes: Table<slim::Freeze>,
    /// By their own name twice: see [`slim::Namespace`].
    pub namespaces: Table<slim::Namespace>,
    /// Kinds that cannot be read and are done without, and why.
    pub unread: BTreeMap<String, String>,
    /// Admission policies and bindings of ours that are there, as `Kind/name`.
    pub policies: BTreeSet<String>,
}

/// The index, shared between the watches that fill it and those who read it. Never held across an await.
#[derive(Clone, Debug, Default)]
pub struct SharedIndex(Arc<Mutex<Index>>);

impl SharedIndex {
    /// The index. A panic while it was held does not make it unusable: what is in it is replaced object by object.
    pub fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A kind that the index keeps.
pub trait Indexed: DeserializeOwned + Clone + std::fmt::Debug + Send + 'static {
    /// What the API calls it.
    type Kind: Resource<DynamicType = ()>;
    /// Its table.
    fn table(index: &mut Index) -> &mut Table<Self>;
    fn metadata(&self) -> &Meta;
    /// By what it is looked up besides its name.
    fn parent(&self) -> Option<ObjectKey>;
    /// Takes out of its metadata what nobody reads.
    fn strip(&mut self);
    /// Takes what it has in common with another object from there.
    fn share(&mut self, _: &Index) {}
    /// The Releases that it concerns.
    fn concerns(&self, index: &Index) -> Vec<Key>;
}

/// An object came or changed.
pub fn apply<T: Indexed>(index: &mut Index, mut object: T) -> Vec<Key> {
    object.strip();
    object.share(index);
    let key = object.metadata().key.clone();
    let mut concerned = Vec::new();
    if let Some(old) = T::table(index).delete(&key) {
        concerned = old.concerns(index);
    }
    concerned.extend(object.concerns(index));
    let parent = object.parent();
    T::table(index).apply(key, parent, object);
    concerned.sort();
    concerned.dedup();
    concerned
}

/// An object went.
pub fn delete<T: Indexed>(index: &mut Index, object: &T) -> Vec<Key> {
    let concerned = object.concerns(index);
    T::table(index).delete(&object.metadata().key);
    concerned
}

/// A listing of a namespace, or of all, ended: what it did not name is gone.
pub fn end_listing<T: Indexed>(index: &mut Index, namespace: Option<&str>) -> Vec<Key> {
    let gone = T::table(index).end_listing(namespace);
    gone.iter().flat_map(|(_, object)| object.concerns(index)).collect()
}

/// Takes out of metadata all labels and annotations but these, and the resourceVersion.
fn strip(metadata: &mut Meta, labels: &[&str], annotations: &[&str]) {
    metadata.resource_version = Box::default();
    keep(metadata.labels.as_mut(), labels);
    keep(metadata.annotations.as_mut(), annotations);
}

/// What is left may be nothing, but that there were some is kept: a JSON patch needs to know.
fn keep(texts: Option<&mut Texts>, names: &[&str]) {
    if let Some(texts) = texts {
        texts.keep(names);
    }
}

/// Takes one of these that says the same.
fn share<'a>(template: &mut Arc<KeptTemplate>, mut known: impl Iterator<Item = &'a Arc<KeptTemplate>>) {
    if let Some(same) = known.find(|known| **known == *template) {
        *template = same.clone();
    }
}

impl Indexed for slim::Release {
    type Kind = api::Release;
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.releases
    }
    fn metadata(&self) -> &Meta {
        &self.metadata
    }
    fn parent(&self) -> Option<ObjectKey> {
        Some(self.metadata.key.beside(self.spec.target.as_ref()?))
    }
    fn strip(&mut self) {
        keep(self.metadata.annotations.as_mut(), &[]);
    }
    fn concerns(&self, index: &Index) -> Vec<Key> {
        let rivals = self.parent().into_iter().flat_map(|target| {
            index.releases.children(&target).map(|(name, _)| Key::from(name)).collect::<Vec<_>>()
        });
        std::iter::once(Key::from(&self.metadata.key)).chain(rivals).collect()
    }
}

impl Indexed for slim::Deployment {
    type Kind = kinds::apps::v1::Deployment;
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.deployments
    }
    fn metadata(&self) -> &Meta {
        &self.metadata
    }
    fn parent(&self) -> Option<ObjectKey> {
        self.metadata.release()
    }
    fn strip(&mut self) {
        let annotations = [ORIGINALS, STABLE, HELD, ON_DELETE, CHANGED_BY, REVISION];
        strip(&mut self.metadata, &[RELEASE_LABEL], &annotations);
    }
    /// Its template with the ControllerRevision that keeps that.
    fn share(&mut self, index: &Index) {
        if let Some(release) = self.metadata.release() {
            share(&mut self.spec.template, index.templates.children(&release).map(|(_, kept)| &kept.data));
        }
    }
    fn concerns(&self, index: &Index) -> Vec<Key> {
        let wanted = index.releases.children(&self.metadata.key).map(|(name, _)| name.into());
        self.metadata.release().iter().map(Key::from).chain(wanted).collect()
    }
}

impl Indexed for slim::ReplicaSet {
    type Kind = kinds::apps::v1::ReplicaSet;
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.sets
    }
    fn metadata(&self) -> &Meta {
        &self.metadata
    }
    fn parent(&self) -> Option<ObjectKey> {
        self.metadata.controller(OwnerKind::Deployment).cloned()
    }
    fn strip(&mut self) {
        strip(&mut self.metadata, &[], &[DESIRED, REVISION]);
    }
    fn concerns(&self, index: &Index) -> Vec<Key> {
        let deployment = self.metadata.controller(OwnerKind::Deployment);
        let deployment = deployment.and_then(|name| index.deployments.get(name));
        deployment.map(|deployment| deployment.concerns(index)).unwrap_or_default()
    }
}

/// Under what pods in quarantine for a Release are found: no ReplicaSet can be called so.
pub fn quarantine_of(namespace: &str, release: &str) -> ObjectKey {
    ObjectKey::new(namespace, &format!("quarantine/{release}"))
}

/// Under what trial pods of a Release are found.
pub fn trials_of(namespace: &str, release: &str) -> ObjectKey {
    ObjectKey::new(namespace, &format!("trial/{release}"))
}

/// Whether an object's label says that it is of a trial. What it belongs to is to be looked at too: anybody may write that.
pub fn is_of_trial(metadata: &Meta) -> bool {
    metadata.label(CHECK_LABEL) == Some(TRIAL)
}

impl slim::Pod {
    /// The Release for which it is on trial.
    fn on_trial_for(&self) -> Option<Key> {
        self.metadata.release().filter(|_| is_of_trial(&self.metadata)).as_ref().map(Key::from)
    }

    /// The Release that keeps it in quarantine.
    pub fn quarantined_for(&self) -> Option<Key> {
        let release = self.metadata.label(QUARANTINE)?;
        Some(Key { namespace: self.metadata.key.namespace().to_owned(), name: release.to_owned() })
    }
}

impl Indexed for slim::Pod {
    type Kind = kinds::core::v1::Pod;
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.pods
    }
    fn metadata(&self) -> &Meta {
        &self.metadata
    }
    fn parent(&self) -> Option<ObjectKey> {
        let quarantined = self.quarantined_for().map(|key| quarantine_of(&key.namespace, &key.name));
        let on_trial = || self.on_trial_for().map(|key| trials_of(&key.namespace, &key.name));
        let set = || self.metadata.controller(OwnerKind::ReplicaSet).cloned();
        quarantined.or_else(set).or_else(on_trial)
    }
    fn strip(&mut self) {
        strip(&mut self.metadata, &[RELEASE_LABEL, QUARANTINE, CHECK_LABEL], &[QUARANTINED_UNTIL]);
    }
    fn concerns(&self, index: &Index) -> Vec<Key> {
        if let Some(key) = self.quarantined_for() {
            return vec![key];
        }
        match self.metadata.controller(OwnerKind::ReplicaSet) {
            Some(name) => index.sets.get(name).map(|set| set.concerns(index)).unwrap_or_default(),
            None => self.on_trial_for().into_iter().collect(),
        }
    }
}

impl Indexed for slim::StoredTemplate {
    type Kind = kinds::apps::v1::ControllerRevision;
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.templates
    }
    fn metadata(&self) -> &Meta {
        &self.metadata
    }
    fn parent(&self) -> Option<ObjectKey> {
        self.metadata.release()
    }
    fn strip(&mut self) {
        strip(&mut self.metadata, &[RELEASE_LABEL], &[]);
    }
    /// Its template with the Deployment that has it.
    fn share(&mut self, index: &Index) {
        if let Some(release) = self.parent() {
            let deployments = index.deployments.children(&release);
            share(&mut self.data, deployments.map(|(_, deployment)| &deployment.spec.template));
        }
    }
    fn concerns(&self, _: &Index) -> Vec<Key> {
        self.parent().iter().map(Key::from).collect()
    }
}

impl Indexed for slim::Job {
    type Kind = kinds::batch::v1::Job;
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.jobs
    }
    fn metadata(&self) -> &Meta {
        &self.metadata
    }
    fn parent(&self) -> Option<ObjectKey> {
        self.metadata.release()
    }
    fn strip(&mut self) {
        strip(&mut self.metadata, &[RELEASE_LABEL, CHECK_LABEL, DEFINITION_LABEL], &[]);
    }
    fn concerns(&self, _: &Index) -> Vec<Key> {
        self.parent().iter().map(Key::from).collect()
    }
}

impl Indexed for slim::ReleaseAction {
    type Kind = api::ReleaseAction;
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.actions
    }
    fn metadata(&self) -> &Meta {
        &self.metadata
    }
    fn parent(&self) -> Option<ObjectKey> {
        Some(self.metadata.key.beside(&self.spec.release))
    }
    fn strip(&mut self) {
        strip(&mut self.metadata, &[], &[]);
    }
    fn concerns(&self, _: &Index) -> Vec<Key> {
        self.parent().iter().map(Key::from).collect()
    }
}

impl Indexed for slim::Freeze {
    type Kind = api::Freeze;
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.freezes
    }
    fn metadata(&self) -> &Meta {
        &self.metadata
    }
    fn parent(&self) -> Option<ObjectKey> {
        None
    }
    fn strip(&mut self) {
        strip(&mut self.metadata, &[], &[]);
    }
    /// All: those that it selects now, and those that it selected before.
    fn concerns(&self, index: &Index) -> Vec<Key> {
        index.releases.iter().map(|(name, _)| name.into()).collect()
    }
}

impl Indexed for slim::Namespace {
    type Kind = kinds::core::v1::Namespace;
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.namespaces
    }
    fn metadata(&self) -> &Meta {
        &self.metadata
    }
    fn parent(&self) -> Option<ObjectKey> {
        None
    }
    fn strip(&mut self) {
        keep(self.metadata.annotations.as_mut(), &[]);
    }
    /// Releases in it, where there is a freeze that may select it.
    fn concerns(&self, index: &Index) -> Vec<Key> {
        if index.freezes.iter().next().is_none() {
            return Vec::new();
        }
        let inside = index.releases.iter().filter(|(name, _)| name.namespace() == self.metadata.key.name());
        inside.map(|(name, _)| name.into()).collect()
    }
}

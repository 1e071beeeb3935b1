//! The kinds that the index keeps: what is left of each, by what it is looked up, what room it takes, and which Releases it concerns.

use std::sync::Arc;

use k8s_openapi::api as kinds;

use super::{Index, Indexed};
use crate::api::{
    self, CHANGED_BY, CHECK_LABEL, DEFINITION_LABEL, HELD, ON_DELETE, ORIGINALS, QUARANTINE,
    QUARANTINED_UNTIL, RELEASE_LABEL, STABLE, TRIAL,
};
use crate::decide::Key;
use crate::decide::fields::REVISION;
use crate::watch::key::ObjectKey;
use crate::watch::meta::{Meta, Owner, OwnerKind, Texts};
use crate::watch::slim::{self, KeptTemplate};
use crate::watch::table::Table;

/// Annotation by which the native controller notes the Deployment's replicas on its ReplicaSets.
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";

impl Indexed for slim::Release {
    type Kind = api::Release;
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.releases
    }
    fn metadata(&self) -> &Meta {
        &self.metadata
    }
    fn parent(&self) -> Option<ObjectKey> {
        self.target()
    }
    fn strip(&mut self) {
        keep(self.metadata.annotations.as_mut(), &[]);
    }
    fn settle(&mut self, index: &Index) {
        if !self.takes(&index.room) {
            self.outline();
        }
    }
    fn enter(&self, index: &mut Index) {
        index.claims.enter(self);
    }
    fn leave(&self, index: &mut Index) {
        index.claims.leave(self);
    }
    fn note_deleted(&self, index: &mut Index) {
        index.deleted_releases.insert(self.metadata.key.clone());
    }
    /// What it is about, and what carries its name: where that may make a difference.
    fn disputes(index: &Index, key: &ObjectKey, new: Option<&Self>) -> Vec<ObjectKey> {
        let old = index.releases.get(key);
        if old.map(Self::claim) == new.map(Self::claim) {
            return Vec::new();
        }
        let targets = old.into_iter().chain(new).filter_map(Self::target);
        let labelled = index.deployments.children(key).map(|(name, _)| name.clone());
        targets.chain(labelled).collect()
    }
    /// Itself. Those that are about the same Deployment look at nothing of it.
    fn concerns(&self, _: &Index) -> Vec<Key> {
        vec![Key::from(&self.metadata.key)]
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
    fn settle(&mut self, index: &Index) {
        let is_named = || index.releases.children(&self.metadata.key).next().is_some();
        let is_wanted = self.metadata.release().is_some() || is_named();
        if !self.takes(if is_wanted { &index.room } else { &index.spare }) {
            self.outline();
        }
    }
    fn disputes(_: &Index, key: &ObjectKey, _: Option<&Self>) -> Vec<ObjectKey> {
        vec![key.clone()]
    }
    /// Who holds it, and who it says does. Those that wait for it are woken when that changes.
    fn concerns(&self, index: &Index) -> Vec<Key> {
        self.metadata.release().iter().chain(&index.holder(self)).map(Key::from).collect()
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
        strip_to_short(&mut self.metadata, &[], &[DESIRED, REVISION]);
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

    /// The Release that keeps it in quarantine. The label alone says nothing: whoever patches pods may write it on any. What quarantine takes
    /// out belongs to a Deployment, which does not control it, and to nothing else; a pod that is run by something stays with that.
    pub fn quarantined_for(&self) -> Option<Key> {
        let release = self.metadata.label(QUARANTINE)?;
        let [Owner { kind: OwnerKind::Deployment, controls: false, .. }] = &*self.metadata.owners else {
            return None;
        };
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
        let labels = [RELEASE_LABEL, QUARANTINE, CHECK_LABEL];
        strip_to_short(&mut self.metadata, &labels, &[QUARANTINED_UNTIL]);
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
    fn settle(&mut self, index: &Index) {
        if !self.takes(&index.room) {
            self.outline();
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
    /// Nobody deletes those that are marked, and they become more and more.
    fn is_over(&self) -> bool {
        self.is_marked || self.spec.action.is_none()
    }
    fn settle(&mut self, index: &Index) {
        if !self.takes(&index.room) {
            self.outline();
        }
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

/// Takes out of metadata all labels and annotations but these, and the resourceVersion.
fn strip(metadata: &mut Meta, labels: &[&str], annotations: &[&str]) {
    metadata.resource_version = Box::default();
    keep(metadata.labels.as_mut(), labels);
    keep(metadata.annotations.as_mut(), annotations);
}

/// The same, of annotations that are numbers or moments: whatever else somebody writes there is none.
fn strip_to_short(metadata: &mut Meta, labels: &[&str], annotations: &[&str]) {
    strip(metadata, labels, annotations);
    if let Some(annotations) = &mut metadata.annotations {
        annotations.keep_short();
    }
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

//! Everything watched, in memory. Plain functions: an object goes in, the Releases that it concerns come out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;
use kube::api::ObjectMeta;

use super::slim;
use super::table::{ObjectKey, Table};
use crate::api::{
    CHANGED_BY, CHECK_LABEL, FINGERPRINT, HELD, ON_DELETE, ORIGINALS, QUARANTINE, QUARANTINED_UNTIL,
    RELEASE_LABEL, STABLE, TRIAL,
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
pub trait Indexed: Sized {
    /// Its table.
    fn table(index: &mut Index) -> &mut Table<Self>;
    /// By what it is looked up besides its name.
    fn parent(&self) -> Option<ObjectKey>;
    /// Takes out of its metadata what nobody reads.
    fn strip(&mut self);
    /// The Releases that it concerns.
    fn concerns(&self, index: &Index) -> Vec<Key>;
}

/// An object came or changed.
pub fn apply<T: Indexed + ResourceExt>(index: &mut Index, mut object: T) -> Vec<Key> {
    object.strip();
    let key = object_key(&object);
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
pub fn delete<T: Indexed + ResourceExt>(index: &mut Index, object: &T) -> Vec<Key> {
    let concerned = object.concerns(index);
    T::table(index).delete(&object_key(object));
    concerned
}

/// A listing of a namespace, or of all, ended: what it did not name is gone.
pub fn end_listing<T: Indexed>(index: &mut Index, namespace: Option<&str>) -> Vec<Key> {
    let gone = T::table(index).end_listing(namespace);
    gone.iter().flat_map(|(_, object)| object.concerns(index)).collect()
}

fn object_key(object: &impl ResourceExt) -> ObjectKey {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn in_namespace(metadata: &ObjectMeta, name: &str) -> ObjectKey {
    (metadata.namespace.clone().unwrap_or_default(), name.to_owned())
}

fn release_of(metadata: &ObjectMeta) -> Option<ObjectKey> {
    let release = metadata.labels.as_ref()?.get(RELEASE_LABEL)?;
    Some(in_namespace(metadata, release))
}

fn owner_of(metadata: &ObjectMeta, kind: &str) -> Option<ObjectKey> {
    let owners = metadata.owner_references.as_ref()?;
    let owner = owners.iter().find(|owner| owner.kind == kind && owner.controller == Some(true))?;
    Some(in_namespace(metadata, &owner.name))
}

fn key((namespace, name): ObjectKey) -> Key {
    Key { namespace, name }
}

fn strip(metadata: &mut ObjectMeta, annotations: &[&str]) {
    metadata.managed_fields = None;
    metadata.generate_name = None;
    metadata.finalizers = None;
    metadata.self_link = None;
    // What is left may be nothing, but that there were some is kept: a JSON patch needs to know.
    if let Some(all) = &mut metadata.annotations {
        *all = std::mem::take(all)
            .into_iter()
            .filter(|(name, _)| annotations.contains(&name.as_str()))
            .collect();
    }
    if let Some(all) = &mut metadata.labels {
        *all = std::mem::take(all).into_iter().filter(|(name, _)| name == RELEASE_LABEL).collect();
    }
}

/// The same where more labels are asked for.
fn strip_but(metadata: &mut ObjectMeta, labels: &[&str], annotations: &[&str]) {
    let all = metadata.labels.as_mut();
    let kept: Vec<(String, String)> =
        all.map(|all| labels.iter().filter_map(|name| all.remove_entry(*name)).collect()).unwrap_or_default();
    strip(metadata, annotations);
    if !kept.is_empty() {
        metadata.labels.get_or_insert_default().extend(kept);
    }
}

/// The same where every label may be asked for.
fn keeping_labels(metadata: &mut ObjectMeta) {
    let labels = metadata.labels.take();
    strip(metadata, &[]);
    metadata.labels = labels;
}

impl Indexed for slim::Release {
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.releases
    }
    fn parent(&self) -> Option<ObjectKey> {
        Some(in_namespace(&self.metadata, self.spec.target.as_ref()?))
    }
    fn strip(&mut self) {
        keeping_labels(&mut self.metadata);
    }
    fn concerns(&self, index: &Index) -> Vec<Key> {
        let rivals = self.parent().into_iter().flat_map(|target| {
            index.releases.children(&target).map(|(name, _)| key(name.clone())).collect::<Vec<_>>()
        });
        std::iter::once(key(object_key(self))).chain(rivals).collect()
    }
}

impl Indexed for slim::Deployment {
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.deployments
    }
    fn parent(&self) -> Option<ObjectKey> {
        release_of(&self.metadata)
    }
    fn strip(&mut self) {
        strip(&mut self.metadata, &[ORIGINALS, STABLE, HELD, ON_DELETE, CHANGED_BY, REVISION]);
    }
    fn concerns(&self, index: &Index) -> Vec<Key> {
        let name = object_key(self);
        let wanted = index.releases.children(&name).map(|(name, _)| key(name.clone()));
        release_of(&self.metadata).map(key).into_iter().chain(wanted).collect()
    }
}

impl Indexed for slim::ReplicaSet {
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.sets
    }
    fn parent(&self) -> Option<ObjectKey> {
        owner_of(&self.metadata, "Deployment")
    }
    fn strip(&mut self) {
        strip(&mut self.metadata, &[DESIRED, REVISION]);
    }
    fn concerns(&self, index: &Index) -> Vec<Key> {
        let Some(deployment) = self.parent().and_then(|name| index.deployments.get(&name)) else {
            return Vec::new();
        };
        deployment.concerns(index)
    }
}

/// Under what pods in quarantine for a Release are found: no ReplicaSet can be called so.
pub fn quarantine_of(namespace: &str, release: &str) -> ObjectKey {
    (namespace.to_owned(), format!("quarantine/{release}"))
}

/// Under what trial pods of a Release are found.
pub fn trials_of(namespace: &str, release: &str) -> ObjectKey {
    (namespace.to_owned(), format!("trial/{release}"))
}

/// Whether an object's label says that it is of a trial. What it belongs to is to be looked at too: anybody may write that.
pub fn is_of_trial(metadata: &ObjectMeta) -> bool {
    metadata.labels.as_ref().and_then(|labels| labels.get(CHECK_LABEL)).is_some_and(|value| value == TRIAL)
}

impl slim::Pod {
    /// The Release for which it is on trial.
    fn on_trial_for(&self) -> Option<Key> {
        release_of(&self.metadata).filter(|_| is_of_trial(&self.metadata)).map(key)
    }

    /// The Release that keeps it in quarantine.
    pub fn quarantined_for(&self) -> Option<Key> {
        let release = self.metadata.labels.as_ref()?.get(QUARANTINE)?;
        Some(key(in_namespace(&self.metadata, release)))
    }
}

impl Indexed for slim::Pod {
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.pods
    }
    fn parent(&self) -> Option<ObjectKey> {
        let quarantined = self.quarantined_for().map(|key| quarantine_of(&key.namespace, &key.name));
        let on_trial = || self.on_trial_for().map(|key| trials_of(&key.namespace, &key.name));
        quarantined.or_else(|| owner_of(&self.metadata, "ReplicaSet")).or_else(on_trial)
    }
    fn strip(&mut self) {
        strip_but(&mut self.metadata, &[QUARANTINE, CHECK_LABEL], &[QUARANTINED_UNTIL]);
    }
    fn concerns(&self, index: &Index) -> Vec<Key> {
        if let Some(key) = self.quarantined_for() {
            return vec![key];
        }
        match owner_of(&self.metadata, "ReplicaSet") {
            Some(name) => index.sets.get(&name).map(|set| set.concerns(index)).unwrap_or_default(),
            None => self.on_trial_for().into_iter().collect(),
        }
    }
}

impl Indexed for slim::StoredTemplate {
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.templates
    }
    fn parent(&self) -> Option<ObjectKey> {
        release_of(&self.metadata)
    }
    fn strip(&mut self) {
        strip(&mut self.metadata, &[FINGERPRINT]);
    }
    fn concerns(&self, _: &Index) -> Vec<Key> {
        self.parent().map(key).into_iter().collect()
    }
}

impl Indexed for slim::Job {
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.jobs
    }
    fn parent(&self) -> Option<ObjectKey> {
        release_of(&self.metadata)
    }
    fn strip(&mut self) {
        strip_but(&mut self.metadata, &[CHECK_LABEL], &[]);
    }
    fn concerns(&self, _: &Index) -> Vec<Key> {
        self.parent().map(key).into_iter().collect()
    }
}

impl Indexed for slim::ReleaseAction {
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.actions
    }
    fn parent(&self) -> Option<ObjectKey> {
        Some(in_namespace(&self.metadata, &self.spec.release))
    }
    fn strip(&mut self) {
        strip(&mut self.metadata, &[]);
    }
    fn concerns(&self, _: &Index) -> Vec<Key> {
        self.parent().map(key).into_iter().collect()
    }
}

impl Indexed for slim::Freeze {
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.freezes
    }
    fn parent(&self) -> Option<ObjectKey> {
        None
    }
    fn strip(&mut self) {
        strip(&mut self.metadata, &[]);
    }
    /// All: those that it selects now, and those that it selected before.
    fn concerns(&self, index: &Index) -> Vec<Key> {
        index.releases.iter().map(|(name, _)| key(name.clone())).collect()
    }
}

impl Indexed for slim::Namespace {
    fn table(index: &mut Index) -> &mut Table<Self> {
        &mut index.namespaces
    }
    fn parent(&self) -> Option<ObjectKey> {
        None
    }
    fn strip(&mut self) {
        keeping_labels(&mut self.metadata);
    }
    /// Releases in it, where there is a freeze that may select it.
    fn concerns(&self, index: &Index) -> Vec<Key> {
        if index.freezes.iter().next().is_none() {
            return Vec::new();
        }
        let name = self.metadata.name.clone().unwrap_or_default();
        let inside = index.releases.iter().filter(|((namespace, _), _)| *namespace == name);
        inside.map(|(name, _)| key(name.clone())).collect()
    }
}

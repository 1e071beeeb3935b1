//! Which Releases are about a Deployment, and which one has the older right to it. Nobody walks over all of them for that: a Deployment may have
//! thousands, and each of its pods is an event.
//!
//! All others wait, and see nothing of the Deployment but that: so they are woken when there is another holder, and not before.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::index::Index;
use super::key::ObjectKey;
use super::slim;
use crate::api::STABLE;
use crate::decide::Key;

/// Releases by the Deployment that they are about.
#[derive(Debug, Default)]
pub struct Claims {
    /// Each Deployment with when a Release was made, and its name.
    by_age: BTreeSet<(ObjectKey, Option<Timestamp>, ObjectKey)>,
    /// Each Deployment with the Releases that have taken one up.
    taken_up: BTreeSet<(ObjectKey, ObjectKey)>,
}

impl Claims {
    pub fn enter(&mut self, release: &slim::Release) {
        let Some(target) = release.target() else { return };
        let slim::Release { metadata, has_stable, .. } = release;
        if *has_stable {
            self.taken_up.insert((target.clone(), metadata.key.clone()));
        }
        self.by_age.insert((target, metadata.created, metadata.key.clone()));
    }

    pub fn leave(&mut self, release: &slim::Release) {
        let Some(target) = release.target() else { return };
        let metadata = &release.metadata;
        self.taken_up.remove(&(target.clone(), metadata.key.clone()));
        self.by_age.remove(&(target, metadata.created, metadata.key.clone()));
    }

    /// Of those that are about this Deployment, the one made first.
    fn oldest(&self, deployment: &ObjectKey) -> Option<&ObjectKey> {
        let first = (deployment.clone(), None, ObjectKey::default());
        let (target, _, name) = self.by_age.range(first..).next()?;
        (target == deployment).then_some(name)
    }

    /// Whether one of those that are about this Deployment has taken one up.
    fn is_taken_up(&self, deployment: &ObjectKey) -> bool {
        let first = (deployment.clone(), ObjectKey::default());
        self.taken_up.range(first..).next().is_some_and(|(target, _)| target == deployment)
    }
}

impl Index {
    /// The Release that has the older right to a Deployment: the one that its label names, or in whose run it has lost that, also when it is deleted, or made anew for another one, and
    /// has not given the Deployment back yet; else the one made first.
    pub fn holder(&self, deployment: &slim::Deployment) -> Option<ObjectKey> {
        let holds = |name: &ObjectKey| match self.releases.get(name) {
            None => true,
            Some(release) if self.is_about(release, deployment) => true,
            Some(_) => self.gives_back_first(name, deployment),
        };
        let named = deployment.metadata.release().or_else(|| self.in_whose_run(deployment));
        named.filter(holds).or_else(|| self.claims.oldest(&deployment.metadata.key).cloned())
    }

    /// The Release in whose run a Deployment is that has lost its label: the template that it would go back to is kept for that.
    fn in_whose_run(&self, deployment: &slim::Deployment) -> Option<ObjectKey> {
        let metadata = &deployment.metadata;
        if metadata.release().is_some() || !deployment.is_in_a_run() {
            return None;
        }
        let kept = &self.templates.get(&metadata.key.beside(metadata.annotation(STABLE)?))?.metadata;
        let is_its = kept.owners.is_empty() || kept.is_owned_by(&metadata.uid);
        kept.release().filter(|_| is_its)
    }

    /// Whether a Release is about another Deployment than this one, which carries its name, and has not taken that up yet: a former Release of that name
    /// was deleted, and this one made, before the Deployment was given back. What was kept for the way back is kept under that name, so one that is
    /// about this Deployment waits until it is over. Where such a one has it in hand already somebody has changed the label, and it takes it back.
    pub fn gives_back_first(&self, name: &ObjectKey, deployment: &slim::Deployment) -> bool {
        let Some(release) = self.releases.get(name) else { return false };
        let is_about_another = !release.has_stable && !self.is_about(release, deployment);
        is_about_another && !self.claims.is_taken_up(&deployment.metadata.key)
    }

    fn is_about(&self, release: &slim::Release, deployment: &slim::Deployment) -> bool {
        release.target().as_ref() == Some(&deployment.metadata.key)
    }

    /// Releases that are about this Deployment.
    pub(super) fn candidates(&self, deployment: &ObjectKey) -> impl Iterator<Item = Key> {
        self.releases.children(deployment).map(|(name, _)| Key::from(name))
    }
}

/// What those that wait for a Deployment see of it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    uid: Box<str>,
    holder: Option<ObjectKey>,
}

/// How Deployments stand before something changes.
#[derive(Debug)]
pub struct Standing(BTreeMap<ObjectKey, Option<Seen>>);

impl Standing {
    pub fn of(index: &Index, deployments: impl IntoIterator<Item = ObjectKey>) -> Self {
        let all = deployments.into_iter().map(|name| {
            let seen = seen(index, &name);
            (name, seen)
        });
        Self(all.collect())
    }

    /// Those that a change since then concerns, though they do not hold the Deployment.
    pub fn waiting(self, index: &Index) -> Vec<Key> {
        let changed = self.0.into_iter().filter(|(name, before)| seen(index, name) != *before);
        changed.flat_map(|(name, _)| index.candidates(&name).collect::<Vec<_>>()).collect()
    }
}

/// `None`: it is not there, or on its way out.
fn seen(index: &Index, name: &ObjectKey) -> Option<Seen> {
    let deployment = index.deployments.get(name).filter(|found| !found.metadata.deleted)?;
    Some(Seen { uid: deployment.metadata.uid.clone(), holder: index.holder(deployment) })
}

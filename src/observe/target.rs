//! Which Deployment a Release is about: the one that it names; one that a former Release of its name has left behind; and, where the Release is gone or
//! cannot be read, the one that carries its name, or has lost that in the middle of a run. What becomes of it is not known here.

use crate::decide::snapshot::ReleaseFacts;
use crate::watch::ObjectKey;
use crate::watch::again::Again;
use crate::watch::index::Index;
use crate::watch::meta::OwnerKind;
use crate::watch::slim;

/// The Deployment, if there is one.
pub fn deployment_of<'i>(
    index: &'i Index,
    again: &'i Again,
    name: &ObjectKey,
    release: Option<&ReleaseFacts>,
) -> Option<&'i slim::Deployment> {
    let found = |key: ObjectKey| again.deployment(index, &key);
    match release.map(|release| &release.spec) {
        Some(Ok(spec)) => {
            let target = found(name.beside(&spec.target_ref.name));
            let is_new = release.is_some_and(|release| release.status.stable.is_none());
            is_new.then(|| left_behind(index, name)).flatten().and_then(found).or(target)
        }
        // Going back must work with a spec that cannot be read, and with none: the label says which Deployment it is.
        Some(Err(_)) | None => {
            // What a Release that is gone has kept for it, too, gives that no right to another's run.
            let may_be_ours = |found: &slim::Deployment| {
                release.is_some() || index.holder(found).is_none_or(|holder| holder == *name)
            };
            let is_ours = |found: &&slim::Deployment| {
                found.metadata.release().is_some() || (found.is_in_a_run() && may_be_ours(found))
            };
            in_hand(index, name).and_then(found).filter(is_ours)
        }
    }
}

/// The Deployment that carries the name of a Release, or has lost it in the middle of a run.
pub fn in_hand(index: &Index, name: &ObjectKey) -> Option<ObjectKey> {
    let labelled = index.deployments.children(name).next().map(|(key, _)| key.clone());
    labelled.or_else(|| unlabelled(index, name))
}

/// A Deployment from which somebody has taken the name of a Release in the middle of a run: what is kept for the way back belongs to it.
fn unlabelled(index: &Index, name: &ObjectKey) -> Option<ObjectKey> {
    let kept = index.templates.children(name).filter_map(|(_, kept)| waited_for_by(index, kept));
    let mut lost = kept.filter(|found| found.metadata.release().is_none());
    lost.next().map(|found| found.metadata.key.clone())
}

/// The Deployment that a template is kept for, where that is, or may be, in the middle of a run.
pub fn waited_for_by<'i>(index: &'i Index, kept: &slim::StoredTemplate) -> Option<&'i slim::Deployment> {
    let mut owners = kept.metadata.owners.iter().filter(|owner| owner.kind == OwnerKind::Deployment);
    owners.find_map(|owner| {
        let found = index.deployments.get(&owner.key)?;
        let is_it = found.metadata.uid == owner.uid && (found.is_outline || found.is_in_a_run());
        is_it.then_some(found)
    })
}

/// A Deployment that carries the name of a Release that gives it back before it takes up its own, or has lost that.
pub fn left_behind(index: &Index, name: &ObjectKey) -> Option<ObjectKey> {
    let has_stable = index.releases.get(name).is_none_or(|release| release.has_stable);
    if has_stable {
        return None;
    }
    let mut labelled =
        index.deployments.children(name).filter(|(_, found)| index.gives_back_first(name, found));
    let lost = || {
        let key = unlabelled(index, name)?;
        let found = index.deployments.get(&key)?;
        (found.is_in_a_run() && index.gives_back_first(name, found)).then_some(key)
    };
    labelled.next().map(|(key, _)| key.clone()).or_else(lost)
}

/// A Deployment that carries the name of a Release, and is nobody's: the Release is about another one, and has taken that up.
pub fn copy(index: &Index, name: &ObjectKey) -> Option<ObjectKey> {
    // Of one that cannot be read it is not known what it is about.
    index.releases.get(name)?.target()?;
    let is_nobodys = |found: &slim::Deployment| !found.metadata.deleted && index.holder(found).is_none();
    let labelled = index.deployments.children(name).filter(|(_, found)| is_nobodys(found));
    // One that was made of a Deployment in a run stays as it is, and is to keep no other from being let go.
    labelled.min_by_key(|(_, found)| found.is_in_a_run()).map(|(key, _)| key.clone())
}

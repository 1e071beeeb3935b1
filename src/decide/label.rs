//! The label that names the Release, on a Deployment that is in somebody's hands: policies, people and the operator itself find it by that. Where somebody
//! has taken it off it is put back; but where all that is ours went with it, the Deployment was given back by hand, and is left to its owner. How a
//! Deployment comes by its label, and loses it, while no run is under way, is not known here.

use super::actions;
use super::decision::{Intent, Notice};
use super::draft::Draft;
use super::fields::{Originals, Wanted, guarded, labelling, lent, parked};
use super::orphan;
use super::scene::Scene;
use super::snapshot::{Labelled, Workload};
use crate::api::RELEASE_LABEL;
use crate::api::status::{Run, Said};

/// What is told of a copy.
const COPIED: &str = "DeploymentCopied";

/// In a run it is put back.
pub fn keep(draft: &mut Draft<'_>, target: &Workload) {
    if draft.status.run.is_none() {
        return;
    }
    let release = draft.name();
    if target.label_unseen && target.release_label.as_deref() != Some(release) {
        draft.wake_in(Labelled::UNSEEN);
    }
    // Where there is no label at all it comes after what is ordered, which would be refused once somebody has written another one.
    if target.has_labels || !draft.has_ordered() {
        put_back(&mut draft.intents, target, release);
    }
}

/// With what is ordered anyhow, else by itself. Nothing waits for it: a tool that takes it off again and again keeps nothing from going on.
pub fn put_back(intents: &mut Vec<Intent>, target: &Workload, release: &str) {
    let operations = labelling(target, release);
    if operations.is_empty() || target.label_unseen {
        return;
    }
    if let Some(patch) = intents.iter_mut().find_map(Intent::order) {
        patch.extend(operations);
        return;
    }
    intents.push(Intent::PatchWorkload {
        name: target.name.clone(),
        patch: guarded(target, operations),
        why: "put its label back".into(),
        template: None,
    });
}

/// Ends the run where the Deployment was given back by hand while it had the fields, and nobody has said so: whether it was. What was given back is
/// not gone back from.
pub fn ends_run(draft: &mut Draft<'_>, scene: &Scene<'_>) -> bool {
    let run = draft.status.run.as_ref().filter(|run| run.has_the_fields());
    let canary = draft.status.canary.as_ref();
    let is_of_run =
        scene.at_stable() || canary.is_some_and(|canary| canary.fingerprint == scene.target.fingerprint);
    if draft.has_ordered() || !is_of_run || !run.is_some_and(|run| is_given_back(scene.target, run)) {
        return false;
    }
    let reason = format!(
        "its fields were written back, and label {RELEASE_LABEL} was taken off with what a run notes there"
    );
    let said = Said { by: "somebody".to_owned(), at: draft.now(), reason };
    actions::note_handed_back(draft, scene, said);
    true
}

/// Whether nothing of a run is left on it but who has changed its template. Where that is gone as well, or nobody notes it, somebody may have written the
/// Deployment as a whole, who knows nothing of a run: it goes on.
fn is_given_back(target: &Workload, run: &Run) -> bool {
    let Workload { release_label, originals, stable, held, on_delete, changed_by, .. } = target;
    let is_noted = [release_label, originals, stable, held, on_delete].into_iter().any(Option::is_some);
    // Nothing but the pause is a run's then.
    let recreates = Originals::from_value(&run.originals).is_some_and(|owners| owners.recreate());
    let is_left = is_noted || parked(target) || recreates && target.paused;
    changed_by.is_some() && !is_left
}

/// A copy of the Deployment that was made with its label is nobody's: policies would hold each template that is written to it, and nobody would release
/// that. So what is ours is taken off, and it is told. Not in the middle of a run: which of its fields are to be its owner's is not for us to say.
pub fn let_copy_go(draft: &mut Draft<'_>) {
    let snapshot = draft.snapshot;
    let Some(copy) = &snapshot.copy else { return };
    let what =
        format!("Deployment {} carries the label of this Release, which is not about it: a copy", copy.name);
    if lent(copy) {
        let note = format!("{what} of one in a run, that is held, and that nobody releases; give it back: ");
        let note = orphan::with_line(note, &snapshot.key, &copy.name);
        return draft.notices.push(Notice::warning(COPIED, note).lasting());
    }
    let wanted = Wanted::given_back(&Originals::take(copy)).labelled(None);
    if let Some(patch) = wanted.patch(copy) {
        draft.intents.push(Intent::LetCopyGo { name: copy.name.clone(), patch });
        let note = format!(
            "{what}; label and hold are taken off, and what is written to it is rolled out as by any Deployment"
        );
        draft.notices.push(Notice::warning(COPIED, note));
    }
}

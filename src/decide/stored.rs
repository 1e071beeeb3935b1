//! The API server stores another template than was written, because somebody's admission changes it: that is said, and what came of our own write is not
//! taken for its owner's. How it is found out, and that it is known by what was written, is not known here.

use super::decision::Notice;
use super::draft::Draft;
use super::kept_name::template_name;
use super::scene::Scene;
use super::snapshot::Workload;
use crate::api::Action;
use crate::api::status::{RevisionStatus, StoredAs};

/// That it does.
const CHANGED: &str = "TemplateChanged";
/// Where to look for what does it.
const WHO: &str = "kubectl get mutatingadmissionpolicies,mutatingwebhookconfigurations";

/// Notes what the last write has shown.
pub fn note(draft: &mut Draft<'_>, target: &Workload) {
    let known = &draft.snapshot.stored.known;
    if let Some(made) = known.iter().find(|made| !draft.status.stored_as.contains(made)) {
        let sentence = sentence(draft, target, made);
        draft.notices.push(Notice::warning(CHANGED, sentence));
        give_back_next(draft, target, made);
    }
    draft.status.stored_as.clone_from(known);
}

fn sentence(draft: &Draft<'_>, target: &Workload, StoredAs { written, stored }: &StoredAs) -> String {
    let stable = draft.status.stable.as_ref().map(|stable| &stable.fingerprint);
    let which = if stable == Some(written) { "stable template" } else { "template" };
    let [written, stored] = [written, stored].map(|fingerprint| template_name(&target.name, fingerprint));
    format!(
        "the API server changes what is written: {which} {written} is stored as {stored}, and counts as the same; what does it: {WHO}"
    )
}

/// A process that did not know of it has taken it for a newer template of the owner's.
fn give_back_next(draft: &mut Draft<'_>, target: &Workload, made: &StoredAs) {
    let Some(back) = draft.status.run.as_mut().and_then(|run| run.back.as_mut()) else { return };
    if back.next.as_ref().is_some_and(|next| next.fingerprint == made.stored) {
        back.next = back.next_before.take().map(|fingerprint| RevisionStatus {
            revision: template_name(&target.name, &fingerprint),
            fingerprint,
            ..RevisionStatus::default()
        });
    }
}

/// Whether what stands there came of our own write, though it is not what was written.
pub fn is_of_our_own(draft: &Draft<'_>) -> bool {
    draft.snapshot.stored.otherwise.is_some()
}

/// Says that stable is written and another template stands there, which cannot be taken for it.
pub fn say_what_stands_instead(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let Some(made) = &draft.snapshot.stored.otherwise else { return };
    if made.written != scene.stable_fingerprint {
        return;
    }
    let stands = template_name(&scene.target.name, &made.stored);
    let message = format!(
        "the stable template is written, and the API server stores {stands} in its place, which is not known to be made of it"
    );
    let unblock = format!(
        "have what does it let the stable template be, and it goes on by itself: {WHO}; or: {}",
        draft.command(Action::HandBack)
    );
    draft.blocked(CHANGED, message, unblock);
}

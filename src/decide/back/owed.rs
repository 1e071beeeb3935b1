//! What comes after stable: a newer template of the owner's, or that of the run. Of what they have taken back themselves nothing does, and what does
//! not come because somebody has the Deployment handed back is named. How it is kept, and when its turn comes, is not known here.

use super::{Back, Cause, Draft, GoingBack, Notice, Scene, Why, goes_on, is_undo, named, seen_here};
use crate::api::Authors;
use crate::api::status::RevisionStatus;
use crate::decide::evidence::shortened;
use crate::decide::fields::{PARKED_DEADLINE, Wanted, parked};
use crate::decide::orphan;
use crate::decide::own_template;
use crate::decide::rest;
use crate::decide::snapshot::{StoredTemplate, Workload};

/// Puts what comes after stable into the Deployment, held: it is released by a run, this one or a new one.
pub fn put_held(
    draft: &mut Draft<'_>,
    way: &GoingBack<'_>,
    kept: &StoredTemplate,
    authors: Option<&Authors>,
) {
    let GoingBack { originals, stable, on_delete, target, .. } = way;
    let wanted = Wanted::held(originals, stable.0, *on_delete, target.replicas)
        .by(authors)
        .with_template(kept.fingerprint.clone(), kept.template.clone());
    draft.want(target, &wanted, "put the owner's template back, held");
}

/// That somebody has put the stable template back.
pub fn reverted(scene: &Scene<'_>) -> Why {
    let by = scene.last_author();
    let who = by.unwrap_or("somebody");
    Why::new(Cause::Reverted, format!("{who} put the stable template back")).said_by(by.map(str::to_owned))
}

/// The stable template stands there. Where it is no order of ours that put it there, its owner has done so after what was to come: that does not
/// come any more.
pub fn note_revert(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let canary = draft.status.canary.clone().unwrap_or_default();
    let Some(back) = draft.run().back.as_mut() else { return };
    if !is_of_its_owner(scene, back) && !has_ended(scene, back, &canary) {
        return note_what_was_decided(draft);
    }
    let dropped = back.next.take().map(|next| does_not_come(&next));
    if !is_undo(back.cause) {
        let Why { cause, message, by, breach_at: _ } = reverted(scene);
        (back.cause, back.message, back.by, back.resume) = (cause, message, by, None);
    }
    if let Some(dropped) = &dropped {
        back.message = shortened(&format!("{}; {dropped}", back.message));
    }
    if let Some(dropped) = dropped {
        draft.notices.push(dropped_for(&dropped, "the stable template"));
    }
}

/// What comes after stable, which stands there as it was ordered, is what this process has decided when it ordered that: where status could not be written then,
/// it does not say so yet.
fn note_what_was_decided(draft: &mut Draft<'_>) {
    let unwritten = seen_here(draft.snapshot, draft.run());
    let unwritten = unwritten.filter(|seen| draft.release.status.revision == seen.decided_on);
    let (Some(seen), Some(back)) = (unwritten, &mut draft.run().back) else { return };
    let seen = seen.back.clone();
    (back.next, back.next_before) = (seen.next, seen.next_before);
    (back.cause, back.message, back.by, back.resume) = (seen.cause, seen.message, seen.by, seen.resume);
}

/// Whether a run that went back for something that comes after stable does so since its owner has put stable back: that is yet to be noted.
pub fn is_taken_back(draft: &Draft<'_>, back: &Back) -> bool {
    let before = draft.release.status.run.as_ref().and_then(|run| run.back.as_ref());
    back.cause == Cause::Reverted && before.is_some()
}

fn does_not_come(next: &RevisionStatus) -> String {
    format!("{} does not come any more", named(next))
}

/// That its owner's last word is another one.
fn dropped_for(dropped: &str, other: &str) -> Notice {
    let note = format!("{dropped}: {other} was written after it. Push it again if that was not meant");
    Notice::warning("TemplateDropped", note)
}

/// The version of the run stands there: as long as nothing is ordered, or since its owner has written it again. What they wrote meanwhile they have taken back
/// themselves.
pub fn note_written_again(draft: &mut Draft<'_>, scene: &Scene<'_>, current: &RevisionStatus) {
    let Some(back) = draft.run().back.as_mut() else { return };
    let cause = back.cause;
    let before = back.next.take();
    back.next = before.as_ref().filter(|_| cause == Cause::Superseded).map(|_| current.clone());
    if let Some(dropped) = before.filter(|next| next.fingerprint != current.fingerprint) {
        draft.notices.push(dropped_for(&does_not_come(&dropped), "the version of the run"));
    }
    if goes_on(cause) {
        // The order overwrites it.
        own_template::keep_before(draft, scene);
    } else if cause == Cause::Superseded {
        // The same; and it is what comes next, which is waited for where nothing is wrong.
        rest::keep(draft, scene, current);
    }
}

/// Whether an order of ours would have left something else. It takes the parking off, and what is put back after it is parked again. It leaves the
/// deadline parked, no pause (where the policies are served, whoever writes a template pauses it), and a note of the owner's fields, until these
/// are given back. With `Recreate` nothing but the deadline is parked, on the way back only: while the fields are noted, it is the owner's before that
/// order and after what is put back, or held where it stands.
fn is_of_its_owner(scene: &Scene<'_>, back: &Back) -> bool {
    let Workload { paused, progress_deadline_seconds, originals, stable, .. } = scene.target;
    let is_noted = originals.is_some() || stable.is_some();
    let keeps_deadline = *progress_deadline_seconds == Some(PARKED_DEADLINE);
    let is_paused = *paused && scene.snapshot.served.hold;
    let is_open = back.restored_at.is_none();
    let is_at_theirs = !keeps_deadline
        && match is_noted {
            // Paused, it is as it was while its pods were to be counted, before the order.
            true => scene.recreate() || *paused && is_open,
            false => is_open,
        };
    parked(scene.target) || (is_paused && (is_open || keeps_deadline)) || is_at_theirs
}

/// Whether the owner has the fields again, and nothing of what was to come after stable, though that is kept: a look has taken it for theirs before, and
/// was killed before status said so. Until then an order leaves the fields noted, and what is put back after it does.
fn has_ended(scene: &Scene<'_>, back: &Back, canary: &RevisionStatus) -> bool {
    let Workload { progress_deadline_seconds, originals, stable, .. } = scene.target;
    let is_given_back = originals.is_none() && stable.is_none();
    let is_kept = scene.kept(&back.next.as_ref().unwrap_or(canary).fingerprint).is_some();
    let is_parked = parked(scene.target) || *progress_deadline_seconds == Some(PARKED_DEADLINE);
    back.restored_at.is_some() && is_given_back && !is_parked && is_kept
}

/// Somebody has the Deployment handed back while a run goes back, or a Release takes up the way back of an earlier one: which template does not come
/// any more, and where it is.
pub fn not_put_back(draft: &Draft<'_>, scene: &Scene<'_>) -> Option<String> {
    let Some(run) = &draft.status.run else { return of_an_earlier_release(draft, scene) };
    let back = run.back.as_ref().filter(|_| scene.at_stable())?;
    let of_the_run = draft.status.canary.as_ref().filter(|_| !is_undo(back.cause));
    let owed = back.next.as_ref().or(of_the_run)?;
    let kept = scene.kept(&owed.fingerprint).map(|(name, _)| name.as_str());
    Some(left_out(&named(owed), kept))
}

fn of_an_earlier_release(draft: &Draft<'_>, scene: &Scene<'_>) -> Option<String> {
    if draft.status.stable.is_some() {
        return None;
    }
    let originals = scene.originals.as_ref().ok()?;
    let way = GoingBack::noted(scene.snapshot, scene.target, originals)?;
    let then = orphan::owed(&way).filter(|_| way.is_at_stable())?;
    let kept = scene.snapshot.kept_as(&then).map(|_| then.as_str());
    Some(left_out(&format!("template {then}"), kept))
}

fn left_out(template: &str, kept_as: Option<&str>) -> String {
    let place = kept_as.map(|name| format!(" (it is kept as ControllerRevision {name})"));
    format!("{template} was not put back{}: push it again", place.unwrap_or_default())
}

//! Stable stands: the owner has the fields back, and the run is over but for what is looked at and done beside. None of it keeps a newer
//! template waiting.

use super::{Draft, Originals, end, hold, hooks, phases, rejection, validation, witnesses};
use crate::api::Phase;
use crate::decide::scene::Scene;
use crate::decide::{migrations, overwriting, rest};

/// Why nothing more is looked at.
pub const NEWER: &str = "a newer template has come";

/// Whether the owner has written another template than the one that was gone back from.
pub fn is_newer(draft: &Draft<'_>, scene: &Scene<'_>) -> bool {
    let canary = draft.status.canary.as_ref().map(|canary| canary.fingerprint.as_str());
    let back = draft.status.run.as_ref().and_then(|run| run.back.as_ref());
    let is_rejected =
        canary == Some(&scene.target.fingerprint) && back.is_some_and(|back| rejection::rejects(back.cause));
    !scene.at_stable() && !is_rejected
}

/// What the end of the run waits for, in words; `None`: nothing.
pub fn awaited(draft: &mut Draft<'_>, scene: &Scene<'_>) -> Option<String> {
    let validating = validation::look(draft, scene);
    let back = draft.run().back.clone()?;
    let (hooks, evidence) = (hooks::is_awaited(draft, &back), witnesses::is_awaited(draft, &back));
    if hooks && let Some(until) = hooks::awaited_until(&back) {
        draft.wake_at(until);
    }
    if evidence {
        draft.wake_at(witnesses::awaited_until(&back));
    }
    let beside = match (hooks, evidence) {
        (true, _) => Some("waiting for its hooks".to_owned()),
        (false, true) => Some("reading what its pods wrote".to_owned()),
        (false, false) => None,
    };
    validating.or(beside)
}

/// Gives the owner's fields back, and stands by.
pub fn stand_by(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals, words: &str) {
    let now = draft.now();
    let is_moving = scene.stand.canary > 0
        || (!scene.at_stable() && scene.target.replicas == 0 && overwriting::is_due(draft));
    match scene.kept(&scene.stable_fingerprint) {
        _ if scene.at_stable() => {
            let wanted = rest::at_rest_fields(scene.capture, originals);
            draft.want(scene.target, &wanted, "give the owner's fields back");
        }
        // The rejected one again. Pods that started before it was held go as they do where no run is under way.
        Some((_, kept)) if is_moving => {
            let stable = (scene.stable_fingerprint.clone(), kept.template.clone());
            let wanted = rest::on_stable_fields(scene, originals).with_template(stable.0, stable.1);
            draft.want(scene.target, &wanted, "put the stable template in the place of a rejected one");
        }
        Some(_) | None => hold(draft, scene, originals),
    }
    if let Some(back) = &mut draft.run().back {
        back.given_back_at.get_or_insert(now);
    }
    draft.phase(Phase::Undoing, format!("stable stands again; {words}"));
    draft.wake_in(rest::LOOK_AGAIN);
}

/// The fields are the owner's.
pub fn decide(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let Ok(originals) = scene.originals.clone() else {
        // Somebody has parked it, and not we: that is looked at where no run is under way.
        let Some(back) = draft.run().back.clone() else { return };
        migrations::note_what_stays(draft, scene);
        return draft.end_run(super::outcome(back.cause), back.message);
    };
    hooks::look(draft, scene);
    witnesses::look(draft, scene);
    let awaited = (!is_newer(draft, scene)).then(|| awaited(draft, scene)).flatten();
    phases::watch(draft, scene.undo);
    match awaited {
        Some(words) => stand_by(draft, scene, &originals, &words),
        None => {
            validation::cut_short(draft, NEWER);
            let Some(back) = draft.run().back.clone() else { return };
            end(draft, scene, &originals, &back);
        }
    }
}

//! A run is under way. First everything that leads back, in order of certainty; then what the stage asks for.

use super::back;
use super::draft::Draft;
use super::evidence::{self, Evidence};
use super::judge::OnLimit;
use super::scene::Scene;
use super::{
    asking, content, label, migrations, podhealth, preflight, refusal, rest, steps, unheard, watching,
};
use crate::api::status::{Cause, Stage};
use crate::api::{CaptureMode, Outcome, Phase};

/// What to do while a run is under way.
pub fn decide(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    if draft.status.run.as_ref().is_some_and(|run| run.back.is_none()) {
        content::note(draft, scene);
    }
    super::actions::apply(draft, scene);
    if label::ends_run(draft, scene) {
        return rest::decide(draft, scene);
    }
    let Some(run) = &draft.status.run else { return };
    if run.back.is_some() {
        // What somebody says is noted in this look, and ordered. It may stand already, by a look whose status was lost: it ends in the next.
        if draft.notes_first() {
            return;
        }
        return match turned_bad(draft, scene) {
            Some(why) => back::begin(draft, scene, why),
            None => back::decide(draft, scene),
        };
    }
    let (stage, began) = (run.stage, run.started_at.0);
    let barred = migrations::barrier(run).is_some();
    let goes_on = migrations::is_passed_over(run);
    if let Some(end) = overtaken(draft, scene, stage) {
        return end;
    }
    if scene.target.replicas == 0 && stage != Stage::Watch {
        return back::begin(draft, scene, back::Why::new(Cause::NoReplicas, rest::NO_REPLICAS));
    }
    // Scaled up from nothing, a held Deployment starts the newest revision that has had pods: one of an earlier run. None of them says
    // anything of the version that is released, good or bad.
    let strangers = scene.strangers();
    let they_go_back = match stage {
        Stage::Preflight => !barred,
        Stage::Steps => !goes_on,
        Stage::Watch | Stage::Back => false,
    };
    if they_go_back && strangers > 0 {
        let message =
            format!("{strangers} pods are of a revision that is neither stable nor the one that is released");
        return back::begin(draft, scene, back::Why::new(Cause::TooMany, message));
    }
    let failing = if goes_on { Vec::new() } else { podhealth::failing(scene, began) };
    let leads_to = watching::leads_to(draft, scene, &failing);
    if let (Some(worst), OnLimit::Undo) = (failing.first(), leads_to) {
        return back::begin(draft, scene, back::Why::new(Cause::PodsFailing, worst.message.clone()));
    }
    // Where the way back is barred they stay, and the run goes on with what must be done before them.
    if stage == Stage::Preflight && scene.stand.canary > 0 && !barred {
        let message =
            format!("{} pods of the new template had started before it was held", scene.stand.canary);
        return back::begin(draft, scene, back::Why::new(Cause::TooMany, message));
    }
    let mut evidence = match stage {
        Stage::Preflight | Stage::Back => Evidence::none(),
        Stage::Steps | Stage::Watch => evidence::weigh(draft, scene),
    };
    watching::note_failing(draft, scene, &mut evidence, &failing, leads_to);
    if draft.run().undo_asked.is_some() {
        return asking::decide(draft, scene);
    }
    if let Some(breach) = evidence.breach.as_ref().filter(|_| !goes_on) {
        let why = back::Why::new(Cause::Breach, breach.message.clone()).seen_at(breach.since);
        return asking::before(draft, scene, why);
    }
    match stage {
        Stage::Preflight => preflight::decide(draft, scene),
        Stage::Steps => steps::decide(draft, scene, &evidence),
        Stage::Watch => watching::decide(draft, scene, &evidence),
        Stage::Back => draft.run().stage = Stage::Steps,
    }
}

/// Why a run goes back for good that waits for a newer template to be kept, which was refused: its own version serves meanwhile, and its pods fail, or it
/// breaches a limit. Nobody is asked about that: its owner has written another one. Who has refused an undo before has decided that no breach leads back.
/// That a write was refused status says, as of the last look, and not which: while that template is not kept nothing else is tried before it.
fn turned_bad(draft: &mut Draft<'_>, scene: &Scene<'_>) -> Option<back::Why> {
    let is_refused = draft.release.status.blocked_by.as_ref().is_some_and(refusal::is_one);
    let waits = is_refused && back::waits_to_be_kept(scene.snapshot, &draft.status);
    let is_barred = migrations::barrier(draft.run()).is_some();
    if !waits || is_barred || scene.stand.canary == 0 {
        return None;
    }
    let began = draft.run().started_at.0;
    let canary = draft.status.canary.as_ref()?.fingerprint.clone();
    if let Some(worst) = podhealth::failing_of(scene, &canary, began).into_iter().next() {
        return Some(back::Why::new(Cause::PodsFailing, worst.message));
    }
    let breach = evidence::weigh(draft, scene).breach;
    let breach = breach.filter(|_| draft.run().undo_asked.is_none())?;
    Some(back::Why::new(Cause::Breach, breach.message).seen_at(breach.since))
}

/// Somebody changed the template in mid-run.
fn overtaken(draft: &mut Draft<'_>, scene: &Scene<'_>, stage: Stage) -> Option<()> {
    let canary = draft.status.canary.clone().unwrap_or_default();
    if scene.target.fingerprint == canary.fingerprint {
        draft.run().overtaken_since = None;
        return None;
    }
    let by = scene.last_author();
    let who = by.unwrap_or("somebody");
    if scene.at_stable() {
        if let Some(end) = back::take_up(draft, scene) {
            return Some(end);
        }
        back::begin(draft, scene, back::reverted(scene));
        return Some(());
    }
    if stage == Stage::Watch
        && let Some(why) = to_be_undone(draft, scene, who)
    {
        back::begin(draft, scene, why);
        return Some(());
    }
    if stage == Stage::Watch && does_not_end_yet(draft, scene, who) {
        if scene.capture == CaptureMode::React
            && let Ok(originals) = &scene.originals
            && let Some((out, _)) = scene.kept(&canary.fingerprint)
        {
            // Nobody else holds what comes next. All pods are of the version that is watched: without a Release that is what is gone back to.
            let held = rest::held_fields(scene, originals, out);
            draft.want(scene.target, &held, "hold the newer template");
        }
        return Some(());
    }
    if stage == Stage::Watch {
        migrations::note_what_stays(draft, scene);
        // All its pods are there and nothing is known to be wrong with it: a newer version does not take it away, it follows it.
        draft.end_run(Outcome::Superseded, format!("{who} wrote a newer template during the watch"));
        (draft.status.stable, draft.status.former) = (Some(canary), None);
        draft.phase(Phase::Idle, "a newer template has come during the watch");
        return Some(());
    }
    let why = back::Why::new(Cause::Superseded, format!("{who} wrote a newer template"))
        .said_by(by.map(str::to_owned));
    back::begin(draft, scene, why);
    Some(())
}

/// Whether the watch does not end yet, though a newer template has come: a Job of a migration has not ended, or it cannot be told now whether anything is
/// wrong with what is watched.
fn does_not_end_yet(draft: &mut Draft<'_>, scene: &Scene<'_>, who: &str) -> bool {
    migrations::note_overtaken(draft);
    let Some(awaited) = migrations::still_running(draft, scene) else { return unheard::holds(draft) };
    let message = format!("{who} wrote a newer template; {}", awaited.message);
    draft.phase(Phase::Watching, message.clone());
    draft.blocked(migrations::RUNNING, message, awaited.unblock);
    draft.wake_in(rest::LOOK_AGAIN);
    true
}

/// Why the version that is watched does not become stable, though a newer one has come: somebody is asked about its undo, or its pods fail, and
/// that goes back.
fn to_be_undone(draft: &mut Draft<'_>, scene: &Scene<'_>, who: &str) -> Option<back::Why> {
    let run = draft.run();
    if migrations::barrier(run).is_some() {
        return None;
    }
    if let Some(asked) = run.undo_asked.as_ref().filter(|asked| asked.refused.is_none()) {
        let message = format!("{}. {who} wrote a newer template while somebody was asked", asked.message);
        return Some(back::Why::new(asked.cause, message).seen_at(asked.breach_at.map(|at| at.0)));
    }
    let began = run.started_at.0;
    let canary = draft.status.canary.as_ref()?.fingerprint.clone();
    let failing = podhealth::failing_of(scene, &canary, began);
    let goes_back = watching::leads_to(draft, scene, &failing) == OnLimit::Undo;
    let worst = failing.into_iter().next().filter(|_| goes_back)?;
    Some(back::Why::new(Cause::PodsFailing, worst.message))
}

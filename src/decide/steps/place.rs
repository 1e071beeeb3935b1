//! Where a run stands among its steps, and what is noted of that. What is done in a step is not known here.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Draft, Plan, PlannedStep, Scene, evidence, pilots};
use crate::api::status::{Progress, Stamp, StepPassed, StepStatus};

/// Steps left in one run that are remembered.
const REMEMBERED: usize = 64;

/// Which step the run is in. Its author may write the steps anew meanwhile: one that has fewer before it now is known by its name, and none is passed over where
/// it has more. What was counted in a step of another name or share says nothing of this one.
pub fn find(draft: &mut Draft<'_>, scene: &Scene<'_>, plan: &Plan) -> usize {
    let run = draft.run();
    let known = run.progress.step.clone();
    let name = known.as_deref().and_then(|known| known.split(' ').next());
    let by_name = name.and_then(|name| plan.steps.iter().position(|step| step.name == name));
    let by_number = usize::try_from(run.step).unwrap_or(0).min(plan.steps.len() - 1);
    let index = by_name.map_or(by_number, |index| index.min(by_number));
    let present = known_as(&plan.steps[index]);
    if known.is_some_and(|known| known != present) {
        evidence::begin_step(draft);
        draft.run().progress = Progress { good: scene.stand.good, written_anew: true, ..Progress::default() };
    }
    let run = draft.run();
    run.step = i32::try_from(index).unwrap_or(i32::MAX);
    run.progress.step = Some(present);
    index
}

/// What is remembered of a step: its name and its share.
fn known_as(PlannedStep { name, share, .. }: &PlannedStep) -> String {
    match &share.0 {
        IntOrString::Int(pods) => format!("{name} {pods}"),
        IntOrString::String(share) => format!("{name} {share}"),
    }
}

/// How far a run is that begins with a step. `good`: canary pods that are good already.
pub fn begun(step: &PlannedStep, now: Stamp, good: i32) -> Progress {
    Progress { begun: Some(now), good, step: Some(known_as(step)), ..Progress::default() }
}

/// One is left.
pub fn note_passed(draft: &mut Draft<'_>, scene: &Scene<'_>, step: &PlannedStep) {
    let left = draft.now();
    let run = draft.run();
    if run.passed.len() >= REMEMBERED {
        return;
    }
    run.passed.push(StepPassed {
        name: step.name.clone(),
        pods: scene.stand.canary,
        of: scene.stand.replicas,
        pilots: pilots::count(scene, step),
        begun: run.progress.begun,
        reached: run.progress.reached,
        left,
        skipped_by: run.progress.skipped.as_ref().map(|said| said.by.clone()),
    });
}

/// Says in status which one it is. `pods`: how many it wants.
pub fn note_step(draft: &mut Draft<'_>, plan: &Plan, index: usize, pods: i32) {
    let now = draft.now();
    let since = *draft.run().progress.begun.get_or_insert(now);
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    draft.status.step = Some(StepStatus {
        index: count(index + 1),
        of: count(plan.steps.len()),
        name: plan.steps[index].name.clone(),
        since: Some(since),
        until: None,
        pods,
    });
}

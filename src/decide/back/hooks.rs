//! What is done in the moment of going back, beside it. A hook that fails is told; nothing waits for one but, for a while, the record.

use std::sync::Arc;
use std::time::Duration;

use super::Draft;
use crate::api::status::{Back, Stamp};
use crate::api::undo::{HookState, HookStatus};
use crate::decide::checks::Found;
use crate::decide::decision::{Errand, ErrandKind, Notice};
use crate::decide::elapsed::yet_to_come;
use crate::decide::jobs::{self, PlannedJob, Seen, Stands};
use crate::decide::plan::{HookKind, PlannedHook, PlannedUndo};
use crate::decide::rights;
use crate::decide::scene::Scene;
use crate::decide::snapshot::{ProbeId, ProbeResult};
use crate::letters::on_one_line;

/// What has not ended by then, after stable stands, is not waited for.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a Job may take, unless its template says so. Nothing waits for it for so long.
const LONGEST_JOB: Duration = Duration::from_secs(600);
/// Characters of a message that are kept.
const MESSAGE: usize = 512;

/// All that are planned, before any of them is begun.
pub fn planned(scene: &Scene<'_>) -> Vec<HookStatus> {
    let one = |hook: &PlannedHook| HookStatus {
        name: hook.name.clone(),
        state: HookState::Started,
        message: String::new(),
        job: None,
        log: Vec::new(),
    };
    scene.undo.hooks.iter().map(one).collect()
}

/// Under which name what came of one comes back.
pub fn id(run: &str, hook: &str) -> ProbeId {
    ProbeId { run: run.to_owned(), check: format!("undo.hooks/{hook}"), attempt: 1, definition: None }
}

/// What the errand of one is called.
pub fn errand(hook: &str) -> String {
    format!("hook/{hook}")
}

/// Begins those that are not begun, and notes what came of them.
pub fn look(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let run = draft.run().id.clone();
    let Some(back) = draft.run().back.clone() else { return };
    let is_late = is_late(draft, &back);
    let is_open = |(_, known): &(usize, HookStatus)| known.state == HookState::Started;
    for (place, mut known) in back.hooks.into_iter().enumerate().filter(is_open) {
        let planned = scene.undo.hooks.iter().find(|hook| hook.name == known.name);
        let planned = planned.map(|hook| &hook.kind);
        let release = draft.release;
        // A Job that is made is looked at.
        let begins = known.job.is_none();
        let withheld = release.withheld.as_ref().filter(|_| begins && planned.is_some_and(rights::hook));
        let (state, message) = match (planned, withheld) {
            (None, _) => (HookState::Failed, "it is not written any more".to_owned()),
            // The policies may be back before anybody has stopped waiting for it.
            (Some(_), Some(withheld)) if is_late => (HookState::Failed, withheld.sentence()),
            (Some(_), Some(withheld)) => (HookState::Started, withheld.sentence()),
            (Some(HookKind::Call(call)), None) => done_by_us(draft, &known, ErrandKind::Call(call.clone())),
            (Some(HookKind::Patch(patch)), None) => {
                done_by_us(draft, &known, ErrandKind::Patch(patch.clone()))
            }
            (Some(HookKind::Job(job)), None) => done_by_a_job(draft, scene, &mut known, job),
        };
        if state == HookState::Failed {
            let note = format!("run {run}: hook {} failed: {message}", known.name);
            draft.notices.push(Notice::warning("HookFailed", note));
        }
        (known.state, known.message) = (state, on_one_line(&message).take(MESSAGE).collect());
        // At once: the next one's log has the room that this one leaves.
        if let Some(noted) = draft.run().back.as_mut().and_then(|back| back.hooks.get_mut(place)) {
            *noted = known;
        }
    }
}

/// Not where nobody waits for it any more: a process that is killed after each hook would do it over and over, and come to nothing else.
fn begin(draft: &mut Draft<'_>, known: &HookStatus, kind: ErrandKind) {
    let back = draft.status.run.as_ref().and_then(|run| run.back.as_ref());
    if back.is_some_and(|back| is_late(draft, back)) {
        return;
    }
    let run = draft.run().id.clone();
    draft.errands.push(Errand { run, name: errand(&known.name), kind });
}

fn done_by_us(draft: &mut Draft<'_>, known: &HookStatus, kind: ErrandKind) -> (HookState, String) {
    let id = id(&draft.run().id, &known.name);
    let Some(answer) = draft.snapshot.probes.get(&id) else {
        begin(draft, known, kind);
        return (HookState::Started, "begun".to_owned());
    };
    let state = match answer.result {
        ProbeResult::Passed => HookState::Done,
        ProbeResult::Failed | ProbeResult::Unknown => HookState::Failed,
    };
    (state, answer.message.clone())
}

/// The Job is made as an errand: as a write of the look it would go before the order that goes back, and could fail it.
fn done_by_a_job(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    known: &mut HookStatus,
    job: &PlannedJob,
) -> (HookState, String) {
    let id = id(&draft.run().id, &known.name);
    let made = draft.snapshot.probes.get(&id).filter(|answer| answer.result == ProbeResult::Passed);
    let this = jobs::Try {
        id,
        label: format!("hook.{}", known.name),
        timeout: LONGEST_JOB,
        job,
        made: known.job.clone(),
        since: made.map(|answer| Stamp(answer.at)),
    };
    let seen = match jobs::stands(draft, scene, &this) {
        Stands::Seen(seen) => seen,
        Stands::Unmade { name, body: _ } if made.is_some() => {
            let message = format!("job {name} was made");
            known.job = Some(name);
            return (HookState::Started, message);
        }
        Stands::Unmade { name: _, body } => {
            begin(draft, known, ErrandKind::MakeJob { body });
            return (HookState::Started, "begun".to_owned());
        }
    };
    let Seen { found, made, is_refused: _, log } = seen;
    known.job = made;
    known.log = jobs::kept(draft.run(), &known.log, log);
    match found {
        // What it said may be read yet.
        Found::Waiting(message) | Found::Answer(ProbeResult::Unknown, message) => {
            (HookState::Started, message)
        }
        Found::Answer(ProbeResult::Passed, message) => (HookState::Done, message),
        Found::Answer(ProbeResult::Failed, message) => (HookState::Failed, message),
    }
}

/// Jobs of hooks that wait for their end, or for what they said.
pub fn open_jobs(back: &Back, planned: &PlannedUndo) -> Vec<(String, Arc<PlannedJob>)> {
    let of_one = |known: &HookStatus| {
        let hook = planned.hooks.iter().find(|hook| hook.name == known.name)?;
        match &hook.kind {
            HookKind::Job(job) => Some((known.job.clone()?, job.clone())),
            HookKind::Call(_) | HookKind::Patch(_) => None,
        }
    };
    back.hooks.iter().filter(|known| known.state == HookState::Started).filter_map(of_one).collect()
}

/// Whether the record is to wait for them.
pub fn is_awaited(draft: &Draft<'_>, back: &Back) -> bool {
    let is_open = |hook: &HookStatus| hook.state == HookState::Started;
    back.restored_at.is_some() && !is_late(draft, back) && back.hooks.iter().any(is_open)
}

/// Nobody waits for them any more.
fn is_late(draft: &Draft<'_>, back: &Back) -> bool {
    let now = draft.snapshot.now;
    back.restored_at.is_some_and(|restored| yet_to_come(restored.0, LONGEST, now).is_none())
}

/// Until when the record waits for them, once stable stands.
pub fn awaited_until(back: &Back) -> Option<jiff::Timestamp> {
    Some(back.restored_at?.0 + LONGEST)
}

//! What has happened between two statuses of a Release.

use jiff::Timestamp;

use crate::api::notify::{Event, Owed, Turn};
use crate::api::status::{LastRun, Run, Stamp, StepPassed};
use crate::api::undo::ValidationResult;
use crate::api::{Outcome, Phase, ReleaseStatus};
use crate::decide::back;

/// What has happened, in its order. Holds are not among it: they last.
pub fn between(old: &ReleaseStatus, new: &ReleaseStatus, now: Timestamp) -> Vec<Owed> {
    let mut happened = Vec::new();
    let before = old.run.as_ref();
    if let Some(run) = &new.run {
        let same = before.filter(|before| before.id == run.id);
        if same.is_none() {
            happened.push(started(new, run, now));
        }
        let left = same.map_or(0, |before| before.passed.len());
        happened.extend(run.passed.iter().skip(left).map(|step| step_passed(new, run, step, now)));
        if let Some(back) = &run.back
            && back::is_undo(back.cause)
            && !same.and_then(|before| before.back.as_ref()).is_some_and(|before| back::is_undo(before.cause))
        {
            happened.push(Owed { message: back.message.clone(), ..about(new, Event::Undoing, &run.id, now) });
        }
    }
    let ended_before = old.last_run.as_ref().map(|last| last.number);
    if let Some(last) = &new.last_run
        && ended_before != Some(last.number)
    {
        happened.push(ended(old, new, last, now));
    } else if let Some(said) = &new.handed_back
        && old.handed_back.is_none()
    {
        // Between runs.
        happened.push(Owed { message: said.sentence("hand-back"), ..about(new, Event::HandedBack, "", now) });
    }
    if new.phase == Some(Phase::Rejected) && old.phase != Some(Phase::Rejected) {
        let blocker = new.blocked_by.clone().unwrap_or_default();
        let run = new.last_run.as_ref().map(|last| last.id.as_str()).unwrap_or_default();
        let reason = blocker.reason;
        let told = about(new, Event::Rejected, run, now);
        happened.push(Owed { reason, message: blocker.message, unblock: blocker.unblock, ..told });
    }
    happened
}

/// A message about where the Release stands now.
pub fn about(status: &ReleaseStatus, event: Event, run: &str, now: Timestamp) -> Owed {
    let step = status.step.as_ref().map(|step| step.name.clone());
    Owed {
        id: String::new(),
        event,
        turn: Turn::New,
        at: Stamp(now),
        to: Vec::new(),
        run: run.to_owned(),
        phase: status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default(),
        step: step.unwrap_or_default(),
        share: status.replicas.as_ref().map(|replicas| replicas.share.clone()).unwrap_or_default(),
        reason: String::new(),
        message: String::new(),
        unblock: String::new(),
        images: status.canary.as_ref().map(|canary| canary.images.clone()).unwrap_or_default(),
        report: String::new(),
    }
}

fn started(new: &ReleaseStatus, run: &Run, now: Timestamp) -> Owed {
    let who = run.changed_by.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string);
    Owed { message: format!("{who} changed the template"), ..about(new, Event::Started, &run.id, now) }
}

fn step_passed(new: &ReleaseStatus, run: &Run, step: &StepPassed, now: Timestamp) -> Owed {
    let StepPassed { name, pods, of, pilots, .. } = step;
    let pilots = pilots.map(|pilots| format!(", {pilots} of them pilots")).unwrap_or_default();
    let message = format!("step {name} was left with {pods} of {of} pods on the new revision{pilots}");
    Owed { step: name.clone(), message, ..about(new, Event::StepPassed, &run.id, now) }
}

fn ended(old: &ReleaseStatus, new: &ReleaseStatus, last: &LastRun, now: Timestamp) -> Owed {
    let event = match last.outcome {
        Outcome::Succeeded => Event::Succeeded,
        Outcome::Undone => Event::Undone,
        Outcome::Aborted => Event::Aborted,
        Outcome::Superseded => Event::Superseded,
        Outcome::HandedBack => Event::HandedBack,
    };
    let told = about(new, event, &last.id, now);
    let failed = last.validation.as_ref().filter(|found| found.result == ValidationResult::ValidationFailed);
    let message = match failed {
        Some(found) => format!("{}. What was put back does not work either: {}", last.message, found.message),
        None => last.message.clone(),
    };
    // What it was about is not in the new status any more.
    Owed {
        message,
        report: last.report.clone(),
        step: old.step.as_ref().map(|step| step.name.clone()).unwrap_or_default(),
        images: old.canary.as_ref().map(|canary| canary.images.clone()).unwrap_or_default(),
        ..told
    }
}

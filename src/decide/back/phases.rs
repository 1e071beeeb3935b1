//! How long the way back takes, phase by phase. One that takes longer than it may is told once, and nothing else comes of it.
//!
//! The last phase lasts until people have been told, and that is after the record, which cannot be changed any more, and after the run. So the
//! record has it until it was written itself, and status has the rest.

use std::time::Duration;

use super::{Draft, MOST_NOTES, is_undo};
use crate::api::ReleaseSpec;
use crate::api::notify::Event;
use crate::api::report::Undo;
use crate::api::status::{Back, LastRun, Stamp};
use crate::api::text::Span;
use crate::api::undo::{Communication, PhaseTook, UndoPhase, UndoPhases};
use crate::decide::decision::Notice;
use crate::decide::plan::PlannedUndo;

/// A phase, when it began and when it ended, as far as that is so.
type Lasted = (UndoPhase, Option<Stamp>, Option<Stamp>);

/// The phases of a way back. One that the run goes on from is over once stable stands.
fn lasted(back: &Back) -> [Lasted; 4] {
    let validated = back.validating.is_some();
    let told_from = if validated { back.validated_at } else { back.restored_at };
    [
        (UndoPhase::Decision, back.breach_at, Some(back.decided_at)),
        (UndoPhase::Execution, Some(back.decided_at), back.restored_at),
        (UndoPhase::Validation, back.restored_at.filter(|_| validated), back.validated_at),
        (UndoPhase::Communication, told_from.filter(|_| is_undo(back.cause)), back.communicated_at),
    ]
}

/// Tells what has taken too long by now, and looks again when the next would.
pub fn watch(draft: &mut Draft<'_>, planned: &PlannedUndo) {
    let Some(back) = draft.status.run.as_ref().and_then(|run| run.back.clone()) else { return };
    let mut over: Vec<(UndoPhase, Duration)> = Vec::new();
    for (phase, from, until) in lasted(&back) {
        let (Some(budget), Some(from)) = (planned.budget_of(phase), from) else { continue };
        if !back.over.contains(&phase) && is_over(draft, from, until, budget) {
            over.push((phase, budget));
        }
    }
    let last = if is_undo(back.cause) { back.communicated_at } else { back.restored_at };
    let first = back.breach_at.unwrap_or(back.decided_at);
    let all = planned.budget.filter(|budget| !back.over_budget && is_over(draft, first, last, *budget));
    if let Some(back) = &mut draft.run().back {
        back.over.extend(over.iter().map(|(phase, _)| *phase));
        back.over_budget |= all.is_some();
    }
    let phases = over.into_iter().map(|(phase, budget)| of_a_phase(phase, budget));
    for notice in phases.chain(all.map(of_all)) {
        tell(draft, notice);
    }
}

/// The same while somebody is asked whether to go back: that is part of the decision.
pub fn watch_asked(draft: &mut Draft<'_>, planned: &PlannedUndo) {
    let Some(asked) = draft.run().undo_asked.clone() else { return };
    let from = asked.breach_at.unwrap_or(asked.at);
    let decision = planned.budget_of(UndoPhase::Decision);
    let decision = decision.filter(|budget| !asked.over && is_over(draft, from, None, *budget));
    let all = planned.budget.filter(|budget| !asked.over_budget && is_over(draft, from, None, *budget));
    if let Some(asked) = &mut draft.run().undo_asked {
        asked.over |= decision.is_some();
        asked.over_budget |= all.is_some();
    }
    let decision = decision.map(|budget| of_a_phase(UndoPhase::Decision, budget));
    for notice in decision.into_iter().chain(all.map(of_all)) {
        tell(draft, notice);
    }
}

/// Messages about the way back of a run that ends: nothing waits for them, they are followed after it.
pub fn told_later(back: &Back) -> Option<Communication> {
    (is_undo(back.cause) && back.restored_at.is_some()).then(|| Communication {
        told_at: None,
        over: back.over.contains(&UndoPhase::Communication),
        over_budget: back.over_budget,
    })
}

/// Follows them, whatever the Release does by now: when the last was delivered or given up, and whether that took too long.
pub fn watch_communication(draft: &mut Draft<'_>) {
    let is_open = |last: &&LastRun| last.communication.as_ref().is_some_and(|known| known.told_at.is_none());
    let Some(last) = draft.status.last_run.as_ref().filter(is_open).cloned() else { return };
    let (Some(known), Some(times)) = (last.communication, last.undo) else { return };
    let Some(from) = times.validated_at.or(times.restored_at) else { return };
    let mut owed = draft.status.notifications.iter().flat_map(|known| &known.owed);
    let is_owed = owed.any(|owed| owed.run == last.id && is_of_the_way_back(owed.event));
    let before = draft.release.status.last_run.as_ref().map(|before| before.number);
    let communication = if !is_owed && before != Some(last.number) {
        None
    } else {
        let told_at = (!is_owed).then(|| draft.now());
        let planned = draft.release.undo();
        let phase = planned.budget_of(UndoPhase::Communication);
        let phase = phase.filter(|budget| !known.over && is_over(draft, from, told_at, *budget));
        let first = times.breach_at.unwrap_or(times.decided_at);
        let all = planned.budget;
        let all = all.filter(|budget| !known.over_budget && is_over(draft, first, told_at, *budget));
        let over = phase.map(|budget| of_a_phase(UndoPhase::Communication, budget));
        draft.notices.extend(over.into_iter().chain(all.map(of_all)));
        Some(Communication {
            told_at,
            over: known.over || phase.is_some(),
            over_budget: known.over_budget || all.is_some(),
        })
    };
    if let Some(last) = &mut draft.status.last_run {
        last.communication = communication;
    }
}

/// Whether a message is about going back, or about how that has ended.
fn is_of_the_way_back(event: Event) -> bool {
    match event {
        Event::Undoing | Event::Undone | Event::Aborted | Event::HandedBack => true,
        Event::Started
        | Event::AwaitingApproval
        | Event::Held
        | Event::MissingRight
        | Event::StepPassed
        | Event::Succeeded
        | Event::Superseded
        | Event::Rejected => false,
    }
}

/// Whether something has taken longer than it may. What has not ended is looked at again when it would have.
fn is_over(draft: &mut Draft<'_>, from: Stamp, until: Option<Stamp>, budget: Duration) -> bool {
    // Beyond the end of time nothing is late.
    let Ok(due) = from.0.checked_add(budget) else { return false };
    match until {
        Some(until) => until.0 > due,
        None if due <= draft.now().0 => true,
        None => {
            draft.wake_at(due);
            false
        }
    }
}

fn of_a_phase(phase: UndoPhase, budget: Duration) -> Notice {
    let (word, seconds) = (phase.word(), budget.as_secs());
    let note = format!("going back: its {word} has taken longer than its budget of {seconds} s");
    Notice::warning("UndoPhaseOverBudget", note)
}

fn of_all(budget: Duration) -> Notice {
    let note = format!("going back has taken longer than its budget of {} s", budget.as_secs());
    Notice::warning("UndoOverBudget", note)
}

/// Says it, and keeps it for the record.
fn tell(draft: &mut Draft<'_>, notice: Notice) {
    let notes = &mut draft.run().notes;
    if notes.len() < MOST_NOTES {
        notes.push(notice.note.clone());
    }
    draft.notices.push(notice);
}

/// What the record says of the phases that came to pass.
fn took(back: &Back, written: Option<&UndoPhases>) -> Vec<PhaseTook> {
    let budget = |phase| -> Option<Span> {
        let written = written?;
        let text = match phase {
            UndoPhase::Decision => &written.decision,
            UndoPhase::Execution => &written.execution,
            UndoPhase::Validation => &written.validation,
            UndoPhase::Communication => &written.communication,
        };
        text.clone().filter(|text| text.parse().is_some())
    };
    let one = |(phase, from, until): Lasted| {
        let took = until?.0.duration_since(from?.0).as_millis();
        let milliseconds = i64::try_from(took).unwrap_or(i64::MAX).max(0);
        Some(PhaseTook { phase, milliseconds, budget: budget(phase), over: back.over.contains(&phase) })
    };
    lasted(back).into_iter().filter_map(one).collect()
}

/// The way back, for the record. `pods`: with what was read of them.
pub fn recorded(back: &Back, spec: Option<&ReleaseSpec>, undo: Undo) -> Undo {
    let written = spec.and_then(|spec| spec.undo.as_ref());
    Undo {
        budget: written.and_then(|undo| undo.budget.clone()).filter(|it| it.parse().is_some()),
        over_budget: back.over_budget,
        phases: took(back, written.and_then(|undo| undo.phases.as_ref())),
        ..undo
    }
}

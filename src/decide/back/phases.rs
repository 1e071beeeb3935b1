//! How long the way back takes, phase by phase. One that takes longer than it may is told once, and nothing else comes of it.

use std::time::Duration;

use jiff::Timestamp;

use super::{Draft, MOST_NOTES, is_undo};
use crate::api::ReleaseSpec;
use crate::api::report::Undo;
use crate::api::status::{Back, Stamp};
use crate::api::text::Span;
use crate::api::undo::{PhaseTook, UndoPhase, UndoPhases};
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
    let now = draft.now().0;
    let Some(back) = draft.status.run.as_ref().and_then(|run| run.back.clone()) else { return };
    let mut wake: Option<Timestamp> = None;
    let mut is_over = |from: Timestamp, until: Option<Stamp>, budget: Duration| {
        let due = from + budget;
        match until {
            Some(until) => until.0 > due,
            None if due <= now => true,
            None => {
                wake = Some(wake.map_or(due, |wake| wake.min(due)));
                false
            }
        }
    };
    let mut over: Vec<(UndoPhase, Duration)> = Vec::new();
    for (phase, from, until) in lasted(&back) {
        let (Some(budget), Some(from)) = (planned.budget_of(phase), from) else { continue };
        if !back.over.contains(&phase) && is_over(from.0, until, budget) {
            over.push((phase, budget));
        }
    }
    let first = back.breach_at.unwrap_or(back.decided_at).0;
    let last = if is_undo(back.cause) { back.communicated_at } else { back.restored_at };
    let all = planned.budget.filter(|budget| !back.over_budget && is_over(first, last, *budget));
    if let Some(wake) = wake {
        draft.wake_at(wake);
    }
    let mut told = Vec::new();
    let run = draft.run();
    if let Some(back) = &mut run.back {
        for (phase, budget) in over {
            back.over.push(phase);
            let (word, seconds) = (phase.word(), budget.as_secs());
            let note = format!("going back: its {word} has taken longer than its budget of {seconds} s");
            told.push(("UndoPhaseOverBudget", note));
        }
        if let Some(budget) = all {
            back.over_budget = true;
            let note = format!("going back has taken longer than its budget of {} s", budget.as_secs());
            told.push(("UndoOverBudget", note));
        }
    }
    for (reason, note) in told {
        let run = draft.run();
        if run.notes.len() < MOST_NOTES {
            run.notes.push(note.clone());
        }
        draft.notices.push(Notice::warning(reason, note));
    }
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

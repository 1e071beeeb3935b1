//! Whether the version that was put back works: its checks, and stable pods held against the limits, as if they were a canary that has
//! nothing beside it. A failure is told, loudly; nothing is undone a second time. Checks that take rights are left out while nobody asks whether their
//! author has these: that is told, too, and settles nothing.

use super::{Draft, hooks};
use crate::api::criterion::OnLimit;
use crate::api::status::{Back, CheckStatus, Memory, Stamp};
use crate::api::undo::{Validating, Validation, ValidationResult};
use crate::decide::checks::{self, Standing};
use crate::decide::decision::Notice;
use crate::decide::evidence;
use crate::decide::judge::{self, Judgement, Measure, Revision, Slot, Verdict};
use crate::decide::plan::{Measuring, PlannedCheck, PlannedValidation};
use crate::decide::scene::Scene;
use crate::letters::on_one_line;

/// Where its checks stand among those of steps: no step can be called so.
pub const PLACE: &str = "undo.validate";
/// Where nothing says anything of it.
const NOTHING: &str = "nothing says whether it works: there are no checks, and no criterion that is enforced counts the requests of one version";
/// Characters of a message that are kept.
const MESSAGE: usize = 1024;

/// The criteria that say of one version alone how it should be.
pub fn criteria(measuring: &Measuring) -> Vec<judge::Criterion> {
    let is_absolute = |criterion: &&judge::Criterion| match criterion.measure {
        Measure::ErrorRate { .. } | Measure::Latency { .. } => !criterion.shadow,
        Measure::ErrorRateOfStable { .. } | Measure::LatencyOfStable { .. } => false,
    };
    let enforced = |criterion: &judge::Criterion| judge::Criterion {
        // What is told of stable is told, whatever a canary's breach leads to.
        on_limit: OnLimit::Notify,
        ..criterion.clone()
    };
    measuring.criteria.iter().filter(is_absolute).map(enforced).collect()
}

/// Begins, goes on, and says what it waits for; `None`: it is over, or not asked for.
pub fn look(draft: &mut Draft<'_>, scene: &Scene<'_>) -> Option<String> {
    let back = draft.run().back.clone()?;
    let restored = back.restored_at?;
    if back.validated_at.is_some() {
        return None;
    }
    let Some(planned) = &scene.undo.validation else {
        if back.validating.is_some() {
            end(draft, ValidationResult::Undecided, "it is not asked for any more");
        }
        return None;
    };
    if back.validating.is_none() {
        let until = Stamp(restored.0 + planned.measured);
        let validating = Validating { until, judge: Memory::default(), found: None };
        draft.run().back.as_mut()?.validating = Some(validating);
    }
    checks::look(draft, scene, &planned.checks, Some(PLACE), |_| true);
    let measured = measure(draft, scene, planned, &back);
    let mut standing = checks::standing(draft.run(), &planned.checks, Some(PLACE));
    let left_out = LeftOut::of(scene, planned, &mut standing, &back);
    match found(scene, planned, &standing, left_out.as_ref(), &measured, restored) {
        Found::Over(result, message) => {
            end(draft, result, &message);
            None
        }
        Found::Waiting(message) => {
            draft.wake_at(restored.0 + planned.longest);
            if planned.measured < planned.longest {
                draft.wake_at(draft.snapshot.now.max(restored.0 + planned.measured));
            }
            Some(message)
        }
    }
}

enum Found {
    Waiting(String),
    Over(ValidationResult, String),
}

/// Checks that are not begun while the policies are missing that ask for the rights they take.
struct LeftOut {
    count: usize,
    /// Which, and why.
    words: String,
    /// The policies may be back before anybody has stopped waiting for hooks.
    is_waited_for: bool,
}

impl LeftOut {
    /// Takes them out of what is waited for. A Job that was made is waited for all the same.
    fn of(
        scene: &Scene<'_>,
        planned: &PlannedValidation,
        standing: &mut Standing,
        back: &Back,
    ) -> Option<Self> {
        let withheld = scene.snapshot.release.as_ref()?.withheld.as_ref()?;
        let is_left_out = |known: &CheckStatus| {
            let is_lent = |check: &PlannedCheck| check.name == known.name && check.lent;
            known.job.is_none() && planned.checks.iter().any(is_lent)
        };
        let waiting = std::mem::take(&mut standing.waiting);
        let (left_out, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_left_out);
        standing.waiting = waiting;
        let names: Vec<&str> = left_out.iter().map(|check| check.name.as_str()).collect();
        let until = hooks::awaited_until(back);
        (!names.is_empty()).then(|| Self {
            count: names.len(),
            words: format!("left out: {} ({})", names.join(", "), withheld.sentence()),
            is_waited_for: until.is_some_and(|until| scene.now() < until),
        })
    }
}

/// What stable pods' answers come to.
#[derive(Default)]
struct Judged {
    judgements: Vec<Judgement>,
    /// The most of them that were counted at once.
    pods: u64,
}

fn found(
    scene: &Scene<'_>,
    planned: &PlannedValidation,
    standing: &Standing,
    left_out: Option<&LeftOut>,
    Judged { judgements, pods }: &Judged,
    restored: Stamp,
) -> Found {
    let and_left_out = |message: String| match left_out {
        Some(LeftOut { words, .. }) => format!("{message}; {words}"),
        None => message,
    };
    let said = |judgement: &Judgement| {
        format!("{}: {}", judgement.criterion, judgement.message.trim_end_matches('.'))
    };
    if let Some(failed) = &standing.failed {
        let message = format!("check {} failed: {}", failed.name, failed.message);
        return Found::Over(ValidationResult::ValidationFailed, message);
    }
    let of = |verdict: Verdict| judgements.iter().find(move |judgement| judgement.verdict == verdict);
    if let Some(breach) = of(Verdict::Breach) {
        return Found::Over(ValidationResult::ValidationFailed, said(breach));
    }
    let is_measured = scene.now() >= restored.0 + planned.measured;
    let is_late = scene.now() >= restored.0 + planned.longest;
    let waiting: Vec<&str> = standing.waiting.iter().map(|check| check.name.as_str()).collect();
    if !waiting.is_empty() && is_late {
        let message = format!("no answer in time from: {}", waiting.join(", "));
        return Found::Over(ValidationResult::Undecided, and_left_out(message));
    }
    if !waiting.is_empty() {
        return Found::Waiting(format!("checks of what was put back: {}", waiting.join(", ")));
    }
    if !is_measured {
        return Found::Waiting(format!("its pods are measured for {} s", planned.measured.as_secs()));
    }
    if let Some(left_out) = left_out.filter(|left_out| left_out.is_waited_for && !is_late) {
        return Found::Waiting(format!("checks of what was put back, {}", left_out.words));
    }
    if let Some(unknown) = of(Verdict::Unknown) {
        return Found::Over(ValidationResult::Undecided, and_left_out(said(unknown)));
    }
    let word = |judgement: &Judgement| format!("{} {:?}", judgement.criterion, judgement.verdict);
    let mut words: Vec<String> = judgements.iter().map(word).collect();
    if !words.is_empty() {
        let stable = u64::try_from(scene.stand.stable).unwrap_or_default();
        words.push(format!("measured on {pods} of {} pods", stable.max(*pods)));
    }
    if planned.checks.len() > left_out.map_or(0, |left_out| left_out.count) {
        let which = if left_out.is_some() { "its other checks passed" } else { "its checks passed" };
        words.insert(0, which.to_owned());
    }
    if words.is_empty() {
        return Found::Over(ValidationResult::Undecided, and_left_out(NOTHING.to_owned()));
    }
    let result = match left_out {
        Some(_) => ValidationResult::Undecided,
        None => ValidationResult::Validated,
    };
    Found::Over(result, and_left_out(words.join(", ")))
}

/// Adds what stable pods answered since they stand again, and judges that alone.
fn measure(draft: &mut Draft<'_>, scene: &Scene<'_>, planned: &PlannedValidation, back: &Back) -> Judged {
    let (Some(measuring), Some(restored)) = (scene.measuring, back.restored_at) else {
        return Judged::default();
    };
    let criteria = criteria(measuring);
    if planned.measured.is_zero() || criteria.is_empty() {
        return Judged::default();
    }
    let now = scene.now().as_second();
    // After the clock was set back, all that is read now is later.
    let since = Some(restored.0.as_second()).filter(|since| !judge::is_ahead(Some(*since), now));
    let since = since.unwrap_or(i64::MIN);
    let mut state: judge::State =
        back.validating.as_ref().and_then(|validating| validating.judge.read()).unwrap_or_default();
    if state.is_ahead(now) {
        state.set_back(now);
        draft.clock_was_set_back();
    }
    let is_of_now = |slot: &&Slot| slot.revision == Revision::Stable && slot.t >= since;
    let as_canary = |slot: &Slot| Slot { revision: Revision::Canary, ..slot.clone() };
    state.read_with(&measuring.definition);
    let measured = evidence::asked_for(scene, measuring);
    let slots = measured.iter().flat_map(|measured| &measured.slots).filter(is_of_now);
    let slots: Vec<Slot> = slots.map(as_canary).collect();
    let settings = judge::Settings::default();
    judge::fold(&criteria, &mut state, &slots, &settings);
    let missing = measured.iter().flat_map(|measured| &measured.stable_missing);
    for (t, pods) in missing.filter(|(t, _)| *t >= since) {
        judge::note_missing(&mut state, *t, *pods);
    }
    if let Some(validating) = draft.run().back.as_mut().and_then(|back| back.validating.as_mut()) {
        validating.judge = Memory::of(&state);
    }
    Judged { judgements: judge::judge(&criteria, &state, &settings), pods: state.pods }
}

/// Ends it before anything is known.
pub fn cut_short(draft: &mut Draft<'_>, why: &str) {
    let is_open = |back: &Back| back.validating.is_some() && back.validated_at.is_none();
    if draft.status.run.as_ref().and_then(|run| run.back.as_ref()).is_some_and(is_open) {
        end(draft, ValidationResult::Undecided, why);
    }
}

fn end(draft: &mut Draft<'_>, result: ValidationResult, message: &str) {
    let message: String = on_one_line(message).take(MESSAGE).collect();
    let now = draft.now();
    let run = draft.run();
    let note = |what: &str| format!("run {}: what was put back {what}: {message}", run.id);
    let notice = match result {
        ValidationResult::Validated => Notice::normal("Validated", note("works")),
        ValidationResult::ValidationFailed => {
            Notice::warning("ValidationFailed", note("does not work either"))
        }
        ValidationResult::Undecided => Notice::warning("ValidationUndecided", note("may or may not work")),
    };
    if let Some(back) = &mut run.back {
        back.validated_at = Some(now);
        if let Some(validating) = &mut back.validating {
            validating.found = Some(Validation { result, message });
        }
    }
    draft.notices.push(notice);
}

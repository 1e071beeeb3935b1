//! From measurements to what they mean for the run: go back, stand still, or go on.

use jiff::Timestamp;

use super::back::MOST_NOTES;
use super::decision::Notice;
use super::draft::Draft;
use super::judge::{self, Judgement, Measure, OnLimit, OnUnknown, Revision, Slot, Verdict};
use super::plan::{Measuring, Source};
use super::scene::Scene;
use super::snapshot::{Measured, Snapshot};
use super::{sight, values};
use crate::api::status::{Memory, Progress, Stamp, VerdictStatus, Window};
use crate::letters::on_one_line;

/// Reason of the event that says that a limit was breached and nothing is done for it.
const LIMIT_BREACHED: &str = "LimitBreached";

/// What the measurements say.
#[derive(Debug, Default)]
pub struct Evidence {
    /// A limit is breached: go back.
    pub breach: Option<Breach>,
    /// Stand still.
    pub holds: Option<Reason>,
    /// Not enough to go on yet, by criterion.
    pub lacking: Vec<Lacking>,
    /// All criteria that could stand in the way pass, and one of them at least measures something.
    pub passed: bool,
    /// They pass by what was counted before this process looked: it reads for itself before it goes on.
    pub of_before: bool,
    /// In a few words.
    pub words: String,
}

/// A breached limit.
#[derive(Debug)]
pub struct Breach {
    pub message: String,
    /// Start of the first slot that speaks for it.
    pub since: Option<Timestamp>,
}

/// Why not to go on.
#[derive(Debug)]
pub struct Reason {
    pub reason: &'static str,
    pub message: String,
}

/// A criterion that is Unknown.
#[derive(Debug)]
pub struct Lacking {
    pub reason: Reason,
    /// What would settle it.
    pub settle: &'static str,
    /// What it leads to at the step's deadline.
    pub then: OnUnknown,
}

impl Evidence {
    /// Nothing is measured yet.
    pub fn none() -> Self {
        Self::default()
    }

    /// Why not to go on, unless somebody said skip while the run was held for that.
    pub fn stands_in_the_way(&self, progress: &Progress) -> Option<&Reason> {
        let is_passed_over = |holds: &&Reason| {
            progress.skipped.is_some() && progress.skipped_hold.as_deref() == Some(holds.reason)
        };
        self.holds.as_ref().filter(|holds| !is_passed_over(holds))
    }
}

/// Adds what was measured since status was written, and judges.
pub fn weigh(draft: &mut Draft<'_>, scene: &Scene<'_>) -> Evidence {
    let Some(measuring) = scene.measuring else { return Evidence::none() };
    if measuring.criteria.is_empty() && measuring.values.is_empty() {
        draft.status.verdicts.clear();
        return Evidence { words: "no criteria: time alone decides".into(), ..Evidence::default() };
    }
    let Counted { mut weighed, of_before } = counted(draft, scene, measuring);
    for (place, value) in other(draft, scene, &measuring.values) {
        weighed.insert(place.min(weighed.len()), value);
    }
    let passed = passed(draft, scene, &weighed) && !of_before;
    let mut evidence = Evidence { passed, of_before, ..Evidence::default() };
    for Weighed { judgement, enforced, since, shown, .. } in &weighed {
        if enforced.shadow {
            continue;
        }
        let message = format!("{}: {}", judgement.criterion, judgement.message);
        match (judgement.verdict, on_limit(draft, scene, enforced.on_limit)) {
            (Verdict::Breach, OnLimit::Undo) => {
                evidence.breach.get_or_insert(Breach { message, since: *since });
            }
            (Verdict::Breach, OnLimit::Hold) => {
                evidence.holds.get_or_insert(Reason { reason: "AboveLimit", message });
            }
            (Verdict::Breach, OnLimit::Notify) => {
                tell_breach(draft, judgement, &message);
            }
            (Verdict::Hold, OnLimit::Undo | OnLimit::Hold) => {
                let reason = if judgement.reason == judge::Reason::StableAsBad {
                    "StableAsBad"
                } else if judgement.reason == judge::Reason::NoData {
                    "NoMeasurements"
                } else {
                    "AboveTarget"
                };
                evidence.holds.get_or_insert(Reason { reason, message });
            }
            (Verdict::Unknown, OnLimit::Undo | OnLimit::Hold) => {
                let is_unread = matches!(judgement.reason, judge::Reason::NoData | judge::Reason::Unreadable)
                    || (shown.counted.is_empty() && scene.snapshot.measured.trouble.is_some());
                let reason = if is_unread { "NoMeasurements" } else { "NotEnoughEvidence" };
                let message = format!("{}: {}", judgement.criterion, shown.message);
                let settle = match (shown.counted.is_empty(), is_unread) {
                    (true, _) => "send traffic",
                    (false, true) => "see why it cannot be read",
                    (false, false) => "wait",
                };
                let reason = Reason { reason, message };
                evidence.lacking.push(Lacking { reason, settle, then: enforced.on_unknown });
            }
            (Verdict::Hold | Verdict::Unknown, OnLimit::Notify) | (Verdict::Pass, _) => {}
        }
    }
    evidence.words = words(&weighed);
    draft.status.verdicts = weighed.into_iter().map(|weighed| weighed.shown).collect();
    evidence
}

/// That the pods are Ready says nothing of what they do: by itself it is no evidence.
fn passed(draft: &mut Draft<'_>, scene: &Scene<'_>, weighed: &[Weighed]) -> bool {
    let mut measured = false;
    for Weighed { judgement, enforced, .. } in weighed {
        if enforced.shadow || on_limit(draft, scene, enforced.on_limit) == OnLimit::Notify {
            continue;
        }
        if judgement.verdict != Verdict::Pass {
            return false;
        }
        measured |= enforced.measures;
    }
    measured
}

/// What stable pods did before the run is learnt once, before anything else: whatever is in the state already is later.
fn learn(criteria: &[judge::Criterion], state: &mut judge::State, measured: &Measured) {
    if state.last_slot.is_some() || measured.history.is_empty() {
        return;
    }
    let first = measured.slots.iter().map(|slot| slot.t).min().unwrap_or(i64::MAX);
    let before = |slot: &&Slot| slot.t < first && slot.revision == Revision::Stable;
    let history: Vec<Slot> = measured.history.iter().filter(before).cloned().collect();
    judge::learn(criteria, state, &history);
}

/// What was counted of what is asked for now; what was counted before that was changed says nothing of it, whoever still has it.
pub fn asked_for<'s>(scene: &Scene<'s>, measuring: &Measuring) -> Option<&'s Measured> {
    let snapshot: &'s Snapshot = scene.snapshot;
    Some(&snapshot.measured).filter(|measured| measured.is_of(&measuring.definition))
}

/// A judgement, and what is made of it.
struct Weighed {
    judgement: Judgement,
    enforced: Enforced,
    /// When the first evidence of a breach was seen.
    since: Option<Timestamp>,
    shown: VerdictStatus,
}

/// How a criterion is enforced.
struct Enforced {
    on_limit: OnLimit,
    on_unknown: OnUnknown,
    shadow: bool,
    /// It measures what pods do, and not only whether they are there.
    measures: bool,
}

/// What the judge says, criterion by criterion.
struct Counted {
    weighed: Vec<Weighed>,
    /// Of what is known nothing was counted by this process, and soon will be.
    of_before: bool,
}

/// Adds the slots, and judges.
fn counted(draft: &mut Draft<'_>, scene: &Scene<'_>, measuring: &Measuring) -> Counted {
    let Measuring { criteria, source, .. } = measuring;
    let slot_seconds = match source {
        Source::Pods { .. } => 1,
        Source::Prometheus { scrape_interval, .. } => u32::try_from(scrape_interval.as_secs()).unwrap_or(1),
    };
    let settings = judge::Settings { slot_seconds, ..judge::Settings::default() };
    let mut state = remembered(draft);
    let now = scene.now().as_second();
    if state.is_ahead(now) {
        state.set_back(now);
        draft.clock_was_set_back();
    }
    state.read_with(&measuring.definition);
    match asked_for(scene, measuring) {
        Some(measured) => {
            learn(criteria, &mut state, measured);
            judge::fold(criteria, &mut state, &measured.slots, &settings);
            for (t, pods) in &measured.missing {
                judge::note_missing(&mut state, *t, *pods);
            }
        }
        None => judge::fold(criteria, &mut state, &[], &settings),
    }
    let standing = standing(scene, &state, settings);
    let weigh = |mut judgement: Judgement| {
        if standing == Standing::Outdated && judgement.verdict == Verdict::Pass {
            judgement = of_before(judgement);
        }
        let criterion = criteria.iter().find(|criterion| criterion.name == judgement.criterion)?;
        let sight = sight::of(scene, &state, &settings, &judgement);
        let since = state.criteria.get(&judgement.criterion).map(|memory| memory.limit.since);
        Some(Weighed {
            enforced: Enforced {
                on_limit: criterion.on_limit,
                on_unknown: criterion.on_unknown,
                shadow: criterion.shadow,
                measures: true,
            },
            since: since.and_then(|since| Timestamp::from_second(since).ok()),
            shown: VerdictStatus {
                finds: sight.finds,
                blind: sight.blind,
                ..shown(scene, criterion, &judgement)
            },
            judgement,
        })
    };
    let weighed = judge::judge(criteria, &state, &settings).into_iter().filter_map(weigh).collect();
    draft.run().judge = Memory::of(&state);
    Counted { weighed, of_before: standing == Standing::OfBefore }
}

/// In so many seconds, or rounds where those take longer, this process should have counted something.
const READ_AGAIN_SECONDS: i64 = 120;
const READ_AGAIN_ROUNDS: i64 = 4;

/// What was counted, beside the time since which this process looks without a break: what was known before may have ended since.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Some of it was counted since then, or there is nothing yet that could have ended.
    OfNow,
    /// All of it was counted before, which is no wonder yet.
    OfBefore,
    /// The same, though something should have been counted by now.
    Outdated,
}

fn standing(scene: &Scene<'_>, state: &judge::State, settings: judge::Settings) -> Standing {
    let Some(since) = scene.snapshot.looking_since.map(|since| since.as_second()) else {
        return Standing::OfNow;
    };
    // What this process counts begins when it looks, or later. How long a slot is that began before is not known so exactly.
    let is_of_now = state.last_slot.is_none_or(|last| last >= since);
    if scene.stand.canary <= 0 || state.first_slot.is_none() || is_of_now {
        return Standing::OfNow;
    }
    let patience = READ_AGAIN_SECONDS.max(READ_AGAIN_ROUNDS.saturating_mul(settings.slot_seconds.into()));
    match scene.now().as_second() < since.saturating_add(patience) {
        true => Standing::OfBefore,
        false => Standing::Outdated,
    }
}

/// It passed, by what was counted before.
fn of_before(judgement: Judgement) -> Judgement {
    let message = format!(
        "By what was counted before the operator began to look, or its clock was set: {}",
        judgement.message
    );
    Judgement {
        verdict: Verdict::Unknown,
        reason: judge::Reason::NoData,
        message,
        settle: "when the pods are read again".to_owned(),
        ..judgement
    }
}

/// What the other criteria say, with their places among all.
fn other(draft: &mut Draft<'_>, scene: &Scene<'_>, criteria: &[values::Criterion]) -> Vec<(usize, Weighed)> {
    let mut state: values::State = draft.run().values.read().unwrap_or_default();
    let now = scene.now().as_second();
    let looking_since = scene.snapshot.looking_since.map(|since| since.as_second());
    if state.set_back(now) {
        draft.clock_was_set_back();
    }
    let looked = state.look(criteria, pods(scene), now, looking_since);
    values::fold(criteria, &mut state, &scene.snapshot.measured.values);
    values::fold(criteria, &mut state, &looked);
    let due = criteria.iter().filter_map(|criterion| state.due(criterion)).filter(|due| *due > now);
    if let Some(due) = due.min().and_then(|due| Timestamp::from_second(due).ok()) {
        draft.wake_at(due);
    }
    let weigh = |(criterion, judgement): (&values::Criterion, Judgement)| {
        let since = state.breached_since(&criterion.name);
        let weighed = Weighed {
            enforced: Enforced {
                on_limit: criterion.on_limit,
                on_unknown: criterion.on_unknown,
                shadow: criterion.shadow,
                measures: !criterion.kind.is_of_pods(),
            },
            since: since.and_then(|since| Timestamp::from_second(since).ok()),
            shown: shown_value(criterion, &judgement),
            judgement,
        };
        (criterion.place, weighed)
    };
    let judgements = values::judge(criteria, &state, now);
    let weighed = criteria.iter().zip(judgements).map(weigh).collect();
    draft.run().values = match criteria {
        [] => Memory::default(),
        _ => Memory::of(&state),
    };
    weighed
}

/// Pods on nodes that are not heard from are nobody's fault.
fn pods(scene: &Scene<'_>) -> values::Pods {
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let canary: Vec<_> = scene.canary_pods().collect();
    let cut_off = count(canary.iter().filter(|pod| pod.cut_off).count());
    values::Pods {
        canary: (scene.stand.canary - cut_off).max(0),
        canary_ready: count(canary.iter().filter(|pod| pod.serves()).count()),
        stable: scene.stand.stable,
        stable_ready: scene.stand.stable_ready,
        restarts: canary.iter().map(|pod| pod.restarts_in_all).fold(0, u32::saturating_add),
    }
}

/// A new step begins: faults that begin with it get their full attention.
pub fn begin_step(draft: &mut Draft<'_>) {
    if draft.run().judge.is_nothing() {
        return;
    }
    let mut state = remembered(draft);
    judge::begin_step(&mut state);
    draft.run().judge = Memory::of(&state);
}

/// What the judge remembers; nothing, when it was written by a build that remembers otherwise.
fn remembered(draft: &mut Draft<'_>) -> judge::State {
    draft.run().judge.read().unwrap_or_default()
}

/// What a breach does now: in the watch the stage may say so.
pub fn on_limit(draft: &mut Draft<'_>, scene: &Scene<'_>, usual: OnLimit) -> OnLimit {
    let Some(measuring) = scene.measuring else { return usual };
    measuring.on_limit(draft.run(), scene.now(), usual)
}

/// A breach that is only told. A run has no room for so many notes as there may be criteria: of those without one the verdict in status says whether
/// they were told.
fn tell_breach(draft: &mut Draft<'_>, judgement: &Judgement, message: &str) {
    let note = format!("{} breached its limit", judgement.criterion);
    let notes = &draft.run().notes;
    if notes.len() < MOST_NOTES || notes.contains(&note) {
        return tell_once(draft, note, LIMIT_BREACHED, message);
    }
    let said = said(judgement);
    let is_told = |known: &VerdictStatus| known.criterion == said.criterion && known.verdict == said.verdict;
    if !draft.status.verdicts.iter().any(is_told) {
        draft.notices.push(Notice::warning(LIMIT_BREACHED, message));
    }
}

/// Once in a run, and only told.
pub fn tell_once(draft: &mut Draft<'_>, note: String, event: &'static str, message: &str) {
    let run = draft.run();
    if run.notes.contains(&note) || run.notes.len() >= MOST_NOTES {
        return;
    }
    run.notes.push(note);
    draft.notices.push(Notice::warning(event, message));
}

fn explained(scene: &Scene<'_>, message: String) -> String {
    match &scene.snapshot.measured.trouble {
        Some(trouble) => format!("{message} ({trouble})"),
        None => message,
    }
}

fn words(weighed: &[Weighed]) -> String {
    let word = |Weighed { judgement, shown, .. }: &Weighed| match &shown.value {
        Some(value) => format!("{} {:?} at {value}", judgement.criterion, judgement.verdict),
        None => format!("{} {:?}", judgement.criterion, judgement.verdict),
    };
    weighed.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn shown(scene: &Scene<'_>, criterion: &judge::Criterion, judgement: &Judgement) -> VerdictStatus {
    let (target, limit) = thresholds(&criterion.measure);
    VerdictStatus {
        value: judgement.value.map(percent),
        interval: judgement.interval.map(|(low, high)| vec![percent(low), percent(high)]).unwrap_or_default(),
        limit,
        target,
        message: shortened(&explained(scene, judgement.message.clone())),
        source: scene.snapshot.measured.source.clone(),
        query: scene.snapshot.measured.query.clone(),
        evidence: format!("{:.1} of {:.1}", judgement.evidence.log_e, judgement.evidence.threshold),
        shadow: criterion.shadow,
        ..said(judgement)
    }
}

fn shown_value(criterion: &values::Criterion, judgement: &Judgement) -> VerdictStatus {
    let kind = &criterion.kind;
    VerdictStatus {
        value: judgement.value.map(|value| kind.show(value)),
        limit: kind.show_bound(criterion.limit),
        target: criterion.target.map(|target| kind.show_bound(target)).unwrap_or_default(),
        message: shortened(&judgement.message),
        counted: "samples".to_owned(),
        source: kind.source(),
        evidence: judgement.window.map(|window| lasted(criterion, window)).unwrap_or_default(),
        shadow: criterion.shadow,
        ..said(judgement)
    }
}

/// Time stands in for statistics where a number is read.
fn lasted(criterion: &values::Criterion, (since, until): (i64, i64)) -> String {
    format!("{} s of {} s", until.saturating_sub(since), criterion.held_for.as_secs())
}

fn said(judgement: &Judgement) -> VerdictStatus {
    VerdictStatus {
        criterion: judgement.criterion.clone(),
        verdict: format!("{:?}", judgement.verdict),
        reason: format!("{:?}", judgement.reason),
        have: i64::try_from(judgement.have).unwrap_or(i64::MAX),
        need: judgement.need.map(|need| i64::try_from(need).unwrap_or(i64::MAX)),
        window: judgement.window.and_then(window),
        settle: judgement.settle.clone(),
        uncalibrated: !judgement.calibrated,
        ..VerdictStatus::default()
    }
}

fn window((from, until): (i64, i64)) -> Option<Window> {
    let stamp = |seconds: i64| Timestamp::from_second(seconds).ok().map(Stamp);
    Some(Window { from: stamp(from)?, until: stamp(until)? })
}

/// As much of a message as is kept.
pub fn shortened(message: &str) -> String {
    on_one_line(message).take(1024).collect()
}

/// Target and limit as people write them.
fn thresholds(measure: &Measure) -> (String, String) {
    match *measure {
        Measure::ErrorRate { target, limit } => (percent(target), percent(limit)),
        Measure::Latency { quantile, target, limit } => {
            let of = |seconds: f64| format!("p{} < {}", trimmed(quantile * 100.0, 2), duration(seconds));
            (of(target), of(limit))
        }
        Measure::ErrorRateOfStable { limit, .. } | Measure::LatencyOfStable { limit, .. } => {
            (String::new(), format!("stable +{}", percent(limit)))
        }
    }
}

/// A length of time as people write it: 500ms, 1.5s.
pub fn duration(seconds: f64) -> String {
    if seconds >= 1.0 {
        format!("{}s", trimmed(seconds, 3))
    } else {
        format!("{}ms", trimmed(seconds * 1000.0, 3))
    }
}

/// A share, 0 to 1, in percent: three digits are enough for people.
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    let digits = if value >= 10.0 {
        1
    } else if value >= 1.0 {
        2
    } else {
        3
    };
    format!("{}%", trimmed(value, digits))
}

fn trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn criteria() -> Vec<judge::Criterion> {
        vec![judge::Criterion {
            name: "errors".into(),
            measure: Measure::ErrorRate { target: 0.01, limit: 0.05 },
            on_limit: OnLimit::Undo,
            on_unknown: OnUnknown::Hold,
            shadow: false,
        }]
    }

    /// Nine stable pods, a request a second each.
    fn slots(from: i64, to: i64) -> Vec<Slot> {
        let slot = |(t, pod)| Slot {
            t,
            revision: Revision::Stable,
            pod: format!("shop-{pod}"),
            requests: 15,
            errors: u64::from((t / 15 + pod) % 40 == 0),
            untold: 0,
            le: Default::default(),
            warming: false,
        };
        (from..to).step_by(15).flat_map(|t| (0..9).map(move |pod| (t, pod))).map(slot).collect()
    }

    #[test]
    fn what_was_before_the_run_is_learnt_once_and_never_after_the_first_slot() {
        let (criteria, settings) = (criteria(), judge::Settings::default());
        let history = Arc::new(slots(0, 3600));
        let measured = Measured { history: history.clone(), ..Measured::default() };
        let mut state = judge::State::default();
        learn(&criteria, &mut state, &measured);
        assert_eq!(state.last_slot, Some(3585));
        assert_eq!(state.first_slot, None, "nothing of it counts");

        // Another look, and another process that was handed the same history with what status says.
        let kept = serde_json::to_value(&state).unwrap();
        let mut again: judge::State = serde_json::from_value(kept).unwrap();
        learn(&criteria, &mut again, &measured);
        assert_eq!(again, state);
        judge::fold(&criteria, &mut again, &slots(3600, 3630), &settings);
        assert!(judge::judge(&criteria, &again, &settings)[0].calibrated);

        // Status was not written in between: the same, from the beginning.
        let mut late = judge::State::default();
        let both = Measured { slots: slots(3600, 3630), history: history.clone(), ..Measured::default() };
        learn(&criteria, &mut late, &both);
        judge::fold(&criteria, &mut late, &both.slots, &settings);
        assert_eq!(late, again);

        // Slots that the run counts itself are not learnt from before.
        let mut early = judge::State::default();
        let overlapping = Measured { slots: slots(3000, 3630), history, ..Measured::default() };
        learn(&criteria, &mut early, &overlapping);
        assert_eq!(early.last_slot, Some(2985));
        judge::fold(&criteria, &mut early, &overlapping.slots, &settings);
        assert_eq!(early.first_slot, Some(3000));

        // A run that has begun without is not told any more.
        let mut begun = judge::State::default();
        judge::fold(&criteria, &mut begun, &slots(3600, 3630), &settings);
        let before = begun.clone();
        learn(&criteria, &mut begun, &measured);
        assert_eq!(begun, before);
        assert!(!judge::judge(&criteria, &begun, &settings)[0].calibrated);
    }
}

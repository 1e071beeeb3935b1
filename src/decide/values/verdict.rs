//! What the numbers that were read are worth: one judgement a criterion, and the sentences of it.

use super::memory::{Breached, Memory, Over, Streak, longest_gap};
use super::{Criterion, Kind, State};
use crate::api::criterion::NoData;
use crate::decide::judge::{Evidence, Judgement, Reason, STANDS, Verdict};

/// What the state is worth at this moment: one judgement a criterion, in their order.
pub fn judge(criteria: &[Criterion], state: &State, now: i64) -> Vec<Judgement> {
    let nothing = Memory::default();
    let of = |criterion: &Criterion| {
        let memory = state.criteria.get(&criterion.name).unwrap_or(&nothing);
        let is_of_pods = criterion.kind.is_of_pods();
        let Word { verdict, reason, message, settle, streak } = match is_of_pods {
            true => memory.until(now).judge(criterion, now),
            false => memory.judge(criterion, now),
        };
        let needed = i64::from(criterion.kind.least_samples())
            .max(criterion.seconds().div_euclid(i64::from(memory.every.max(1))).saturating_add(1));
        let is_open = reason == Reason::TooFewSamples && memory.samples > 0 && !is_of_pods;
        let worst = match &memory.breached {
            Some(breached) => Some(breached.worst.value),
            None => memory.worst.as_ref().map(|worst| worst.value),
        };
        Judgement {
            criterion: criterion.name.clone(),
            verdict,
            reason,
            message,
            settle,
            // What the pods' status says lasts until it changes: its end would be a reason to write at every look.
            window: streak.map(|streak| (streak.since, streak.last.min(memory.last))),
            value: worst,
            interval: None,
            limit: criterion.limit.number,
            have: streak.filter(|_| !is_of_pods).map_or(0, |streak| u64::from(streak.samples)),
            need: is_open.then(|| u64::try_from(needed).unwrap_or(u64::MAX)),
            evidence: Evidence { log_e: 0.0, threshold: 0.0 },
            calibrated: true,
        }
    };
    criteria.iter().map(of).collect()
}

/// What is said of one criterion.
struct Word {
    verdict: Verdict,
    reason: Reason,
    message: String,
    /// What would change it.
    settle: String,
    /// The samples that it rests on.
    streak: Option<Streak>,
}

impl Word {
    /// Nothing that was read says anything.
    fn unknown(reason: Reason, message: String, settle: &str) -> Self {
        Self { verdict: Verdict::Unknown, reason, message, settle: settle.to_owned(), streak: None }
    }
}

impl Memory {
    fn judge(&self, criterion: &Criterion, now: i64) -> Word {
        let kind = &criterion.kind;
        let limit = kind.show_bound(criterion.limit);
        if let Some(Breached { streak, worst }) = &self.breached {
            let message =
                format!("{}: {}.", sentence(&kind.subject(worst)), over_words(kind, &limit, streak));
            return Word {
                verdict: Verdict::Breach,
                reason: Reason::AboveLimit,
                message,
                settle: STANDS.to_owned(),
                streak: Some(*streak),
            };
        }
        if self.samples == 0 {
            let message = match kind {
                Kind::Availability | Kind::Restarts => "No canary pod has been Ready yet.",
                Kind::PodGauge(_) | Kind::Promql { .. } | Kind::Json { .. } => "Not read yet.",
            };
            return Word::unknown(Reason::TooFewSamples, message.to_owned(), "by its first reading");
        }
        let age = now.saturating_sub(self.last);
        if age > longest_gap(self.every) {
            return Word::unknown(Reason::Unreadable, format!("Last read {age} s ago."), UNREADABLE);
        }
        if let Some(trouble) = &self.trouble {
            return Word::unknown(Reason::Unreadable, format!("It cannot be read: {trouble}."), UNREADABLE);
        }
        let (seconds, least) = (criterion.seconds(), kind.least_samples());
        if let Some(empty) = self.empty
            && criterion.no_data != NoData::Pass
        {
            let message = format!(
                "Its source answers and has no such number, for {} s. If that is well, write noData: Pass.",
                empty.seconds()
            );
            let is_hold = criterion.no_data == NoData::Hold && empty.has_lasted(seconds, least);
            let verdict = if is_hold { Verdict::Hold } else { Verdict::Unknown };
            let settle = "by such a number, or noData: Pass".to_owned();
            return Word { verdict, reason: Reason::NoData, message, settle, streak: Some(empty) };
        }
        self.judge_numbers(criterion, &limit)
    }

    fn judge_numbers(&self, criterion: &Criterion, limit: &str) -> Word {
        let kind = &criterion.kind;
        let (seconds, least) = (criterion.seconds(), kind.least_samples());
        let subject = match &self.worst {
            Some(worst) => sentence(&kind.subject(worst)),
            None => "There is no such number, which is well (noData: Pass)".to_owned(),
        };
        let newest = |over: &&Over| over.streak.last == self.last;
        if let Some(over) = self.over.values().filter(newest).find(|over| over.blameless) {
            let why = if kind.is_of_pods() {
                "stable's pods are no better"
            } else {
                "it was so before the first canary pod ran"
            };
            let settle = format!("when {} is met", criterion.wanted());
            let message = format!(
                "{subject}: {}, but {why}: not this release's fault. It goes on {settle}.",
                over_words(kind, limit, &over.streak),
            );
            let (verdict, reason) = (Verdict::Hold, Reason::StableAsBad);
            return Word { verdict, reason, message, settle, streak: Some(over.streak) };
        }
        // The pods' status is no sample of anything: what it says is so.
        let settled = if kind.is_of_pods() { 0 } else { seconds };
        if let Some(within) = self.within {
            let (verdict, reason) = match (within.has_lasted(settled, least), criterion.target) {
                (true, Some(_)) => (Verdict::Pass, Reason::WithinTarget),
                (true, None) => (Verdict::Pass, Reason::WithinLimit),
                (false, _) => (Verdict::Unknown, Reason::TooFewSamples),
            };
            let so_far =
                if verdict == Verdict::Pass { String::new() } else { so_far(&within, settled, least) };
            let message = format!("{subject}: within {}{so_far}.", criterion.wanted());
            let settle = match verdict {
                Verdict::Pass if seconds == 0 => format!("by anything outside {}", criterion.wanted()),
                Verdict::Pass => format!("by {seconds} s outside {}", criterion.wanted()),
                _ => format!("by {} s more within it", settled.saturating_sub(within.seconds()).max(0)),
            };
            return Word { verdict, reason, message, settle, streak: Some(within) };
        }
        let Some(outside) = self.outside else {
            // Too few of its series could be read for a pass, or what was known is too old.
            return Word::unknown(Reason::TooFewSamples, format!("{subject}."), UNREADABLE);
        };
        if outside.has_lasted(seconds, least) {
            let wanted = criterion.wanted();
            let (what, settle) = match criterion.target {
                Some(_) => (format!("is missed for {} s", outside.seconds()), "when the target is met"),
                None => {
                    ("is breached, but by no series for long enough to count".to_owned(), "when it is kept")
                }
            };
            return Word {
                verdict: Verdict::Hold,
                reason: Reason::AboveTarget,
                message: format!("{subject}: {wanted} {what}. It goes on {settle}."),
                settle: settle.to_owned(),
                streak: Some(outside),
            };
        }
        let longest = self.over.values().filter(newest).map(|over| over.streak).max_by_key(Streak::seconds);
        let message = match longest {
            Some(streak) => {
                format!("{subject}: breaches the limit ({limit}){}.", so_far(&streak, seconds, least))
            }
            None => format!("{subject}: misses {}{}.", criterion.wanted(), so_far(&outside, seconds, least)),
        };
        let streak = longest.unwrap_or(outside);
        Word {
            verdict: Verdict::Unknown,
            reason: Reason::TooFewSamples,
            message,
            settle: format!("by {} s more of it", seconds.saturating_sub(streak.seconds()).max(0)),
            streak: Some(streak),
        }
    }
}

/// What settles a source that cannot be read.
const UNREADABLE: &str = "when it can be read again";

/// "over the limit (value > 8) for 30 s in 7 samples"
fn over_words(kind: &Kind, limit: &str, streak: &Streak) -> String {
    match kind {
        Kind::Restarts => format!("more than the limit of {limit}"),
        Kind::Availability => format!("below the limit of {limit} for {} s", streak.seconds()),
        Kind::PodGauge(_) | Kind::Promql { .. } | Kind::Json { .. } => {
            let Streak { samples, .. } = streak;
            format!("breaches the limit ({limit}) for {} s in {samples} samples", streak.seconds())
        }
    }
}

/// " for 10 s of 30 s, in 2 samples of 3"
fn so_far(streak: &Streak, seconds: i64, least: u32) -> String {
    let mut text = format!(" for {} s of {seconds} s", streak.seconds());
    if streak.samples < least {
        text.push_str(&format!(", in {} samples of {least}", streak.samples));
    }
    text
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

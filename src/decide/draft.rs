//! A decision in the making: the status as it will be, and what is to be done.

use std::time::Duration;

use jiff::Timestamp;

use super::approval::AWAITING_APPROVAL;
use super::back;
use super::conditions::{self, HOLDS};
use super::decision::{self, Decision, Errand, Intent, Notice};
use super::fields::Wanted;
use super::gate::Hold;
use super::lint::Finding;
use super::notify;
use super::record;
use super::retention;
use super::snapshot::{ReleaseFacts, Snapshot, Workload};
use crate::api::status::{Back, Blocker, CaptureStatus, KeptReport, LastRun, Run, Stamp};
use crate::api::{Action, CaptureMode, Outcome, Phase, ReleaseStatus};
use crate::letters::on_one_line;

/// No decision sleeps longer: nothing depends on an event arriving.
pub const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
/// Numbers that merely moved are written this often.
const NUMBERS_EVERY: Duration = Duration::from_secs(15);
/// Counts of pods that merely moved are written this often.
const COUNTS_EVERY: Duration = Duration::from_secs(2);

/// How much a window is too short is written anew this often.
const MISSING_EVERY: Duration = Duration::from_secs(300);

/// A decision in the making.
pub struct Draft<'a> {
    pub snapshot: &'a Snapshot,
    pub release: &'a ReleaseFacts,
    pub status: ReleaseStatus,
    pub intents: Vec<Intent>,
    pub notices: Vec<Notice>,
    pub errands: Vec<Errand>,
    wake: Timestamp,
    urgent: bool,
    note_first: bool,
    only_noted: bool,
    /// Numbers do not wait either.
    at_once: bool,
    /// What is to be remarked; `None`: the same as before.
    remarks: Option<Vec<Finding>>,
}

impl<'a> Draft<'a> {
    pub fn new(snapshot: &'a Snapshot, release: &'a ReleaseFacts) -> Self {
        let mut status = (*release.status).clone();
        status.blocked_by = None;
        Self {
            snapshot,
            release,
            status,
            intents: Vec::new(),
            notices: Vec::new(),
            errands: Vec::new(),
            wake: snapshot.now + LONGEST_SLEEP,
            urgent: false,
            note_first: false,
            only_noted: false,
            at_once: false,
            remarks: None,
        }
    }

    /// The clock was set back: until status says so, what is measured is counted from another moment in each look.
    pub fn clock_was_set_back(&mut self) {
        self.at_once = true;
    }

    /// Status says now what else could wait: until it does, people are told of it in each look.
    pub fn at_once(&mut self) {
        self.at_once = true;
    }

    pub fn now(&self) -> Stamp {
        Stamp(self.snapshot.now)
    }

    /// The name of the Release.
    pub fn name(&self) -> &'a str {
        &self.snapshot.key.name
    }

    /// The command line that says `action` about the Release.
    pub fn command(&self, action: Action) -> String {
        decision::command(&self.snapshot.key, action)
    }

    /// Any other command line in the Release's namespace.
    pub fn kubectl(&self, words: &str) -> String {
        decision::kubectl(&self.snapshot.key, words)
    }

    /// The command line that changes the Release.
    pub fn edit(&self) -> String {
        self.kubectl(&format!("edit release {}", self.name()))
    }

    /// Where it stands, and what is happening in a sentence.
    pub fn phase(&mut self, phase: Phase, message: impl Into<String>) {
        self.status.phase = Some(phase);
        self.status.summary.get_or_insert_default().message = shown(message);
    }

    /// Standing still, with a named blocker and what takes it away.
    pub fn blocked(&mut self, reason: &str, message: impl Into<String>, unblock: impl Into<String>) {
        let (message, unblock) = (shown(message), shown(unblock));
        self.status.blocked_by = Some(Blocker { reason: reason.into(), message, until: None, unblock });
    }

    /// Says it beside what is said already. Where nothing else stands in the way it is what people see first; a run goes on with it, or back, so that it
    /// blocks none.
    pub fn mention(&mut self, reason: &str, sentence: String, unblock: String) {
        let sentence = shown(sentence);
        let said = &mut self.status.summary.get_or_insert_default().message;
        if !said.contains(&sentence) {
            if !said.is_empty() {
                said.push_str("; ");
            }
            said.push_str(&sentence);
        }
        if self.status.run.is_none() && self.status.blocked_by.is_none() {
            self.blocked(reason, sentence, unblock);
        }
    }

    /// Held: the phase and the blocker in one.
    pub fn held(&mut self, reason: &str, message: impl Into<String>, unblock: impl Into<String>) {
        debug_assert!(reason == AWAITING_APPROVAL || HOLDS.contains(&reason), "{reason} is missing in HOLDS");
        let message = message.into();
        self.phase(Phase::Held, message.clone());
        self.blocked(reason, message, unblock);
    }

    /// Held by a freeze or a window, and looked at again when that ends.
    pub fn held_by(&mut self, hold: Hold) {
        let Hold { reason, message, until, closes, again, unblock } = hold;
        self.held(reason, message, unblock);
        if let Some(blocker) = &mut self.status.blocked_by {
            blocker.until = until.map(Stamp);
        }
        if let Some(until) = until {
            self.wake_at(until);
        }
        if let Some(again) = again {
            self.wake_at(again);
        }
        if let Some(closes) = closes {
            // What is missing grows meanwhile.
            self.wake_at(closes);
            self.wake_in(MISSING_EVERY);
        }
    }

    /// Look again then.
    pub fn wake_at(&mut self, at: Timestamp) {
        self.wake = self.wake.min(at);
    }

    /// Look again after so long.
    pub fn wake_in(&mut self, wait: Duration) {
        self.wake_at(self.snapshot.now + wait);
    }

    /// Status is written before anything is ordered.
    pub fn note_first(&mut self) {
        self.note_first = true;
    }

    /// Whether it is.
    pub fn notes_first(&self) -> bool {
        self.note_first
    }

    /// Nor is anything ordered when it cannot be written.
    pub fn only_noted(&mut self) {
        self.only_noted = true;
    }

    /// What the rules of [`super::lint`] find.
    pub fn remarks(&mut self, findings: Vec<Finding>) {
        self.remarks = Some(findings);
    }

    /// This decision goes before all others.
    pub fn urgent(&mut self) {
        self.urgent = true;
    }

    /// Whether something is ordered of the Deployment already.
    pub fn has_ordered(&self) -> bool {
        self.intents.iter().any(|intent| matches!(intent, Intent::PatchWorkload { .. }))
    }

    /// Whether everything wanted of the Deployment is so; else it is ordered. One order a decision: a second would rest on a
    /// generation that the first one ends.
    pub fn want(&mut self, target: &Workload, wanted: &Wanted, why: &str) -> bool {
        match wanted.patch(target) {
            None => true,
            Some(_) if self.has_ordered() => {
                self.wake_in(Duration::from_millis(200));
                false
            }
            Some(patch) => {
                self.intents.push(Intent::PatchWorkload {
                    name: target.name.clone(),
                    patch,
                    why: why.into(),
                    template: wanted.template().map(str::to_owned),
                });
                false
            }
        }
    }

    /// The run that is under way.
    ///
    /// # Panics
    /// When there is none: rules that need a run are only reached with one.
    pub fn run(&mut self) -> &mut Run {
        self.status.run.as_mut().expect("rules of a run are only reached with one")
    }

    /// Ends the run, and keeps its record. Before stable becomes another.
    pub fn end_run(&mut self, outcome: Outcome, message: impl Into<String>) {
        if self.status.run.is_none() {
            return;
        }
        // Whatever was decided before in this look: the record is there before the status that says so.
        (self.note_first, self.only_noted) = (false, false);
        back::communicate(self);
        let Some(run) = self.status.run.take() else { return };
        let message = shown(message);
        let canary = self.status.canary.take().unwrap_or_default();
        let note = format!("run {} {}: {message}", run.id, conditions::outcome_word(outcome));
        self.notices.push(match outcome {
            Outcome::Undone | Outcome::Aborted => Notice::warning(conditions::outcome_reason(outcome), note),
            Outcome::Succeeded | Outcome::Superseded | Outcome::HandedBack => {
                Notice::normal(conditions::outcome_reason(outcome), note)
            }
        });
        let last = LastRun {
            id: run.id.clone(),
            number: run.number,
            outcome,
            message,
            started_at: run.started_at,
            ended_at: self.now(),
            fingerprint: canary.fingerprint.clone(),
            changed_by: run.changed_by.clone(),
            undo: run.back.as_ref().map(Back::times),
            communication: run.back.as_ref().and_then(back::told_later),
            validation: run.back.as_ref().and_then(|back| back.validating.as_ref()?.found.clone()),
            validation_seen: false,
            report: record::name_of(self.name(), &run, outcome),
        };
        let report = record::of(self, run, canary, &last);
        let kept = KeptReport { name: last.report.clone(), ended_at: last.ended_at };
        let digest = report.chain.digest.clone();
        retention::note(self.status.reports.get_or_insert_default(), kept, digest);
        self.intents.push(Intent::KeepReport { name: last.report.clone(), report: Box::new(report) });
        self.status.last_run = Some(last);
        self.status.step = None;
    }

    /// How changes are caught, for status.
    pub fn capture(&mut self, mode: CaptureMode, policy_asked: bool) {
        let (word, message) = match mode {
            CaptureMode::Policy => {
                ("Policy", "the API server pauses the Deployment in the same write that changes its template")
            }
            CaptureMode::Paused if policy_asked => (
                "Paused",
                "Policy was asked for, but the admission policies are not served: the Deployment is kept paused between runs",
            ),
            CaptureMode::Paused => ("Paused", "the Deployment is kept paused between runs"),
            CaptureMode::React => (
                "React",
                "the Deployment is paused as soon as a change is seen: up to its maxSurge and maxUnavailable may move before",
            ),
        };
        self.status.capture = Some(CaptureStatus { mode: word.into(), message: message.into() });
    }

    /// The decision. Status is written when something changed that people or a restart need; numbers that merely moved wait.
    pub fn finish(mut self) -> Decision {
        self.status.observed_generation = Some(self.release.generation);
        let remarks = self.remarks.take();
        conditions::derive(&mut self.status, self.release.generation, self.snapshot.now, remarks.as_deref());
        if self.urgent {
            self.intents.sort_by_key(Intent::turn_back);
        }
        let old = &self.release.status;
        let due = self.due(old);
        let status = match due {
            Some(wait) if wait.is_zero() => {
                let mut status = self.status;
                status.revision = old.revision.saturating_add(1);
                status.at = Some(Stamp(self.snapshot.now));
                status.target_generation = generation(self.snapshot, &status);
                Some(status)
            }
            Some(wait) => {
                self.wake = self.wake.min(self.snapshot.now + wait);
                None
            }
            None => None,
        };
        Decision {
            intents: self.intents,
            status,
            notices: self.notices,
            errands: self.errands,
            wake: Some(self.wake),
            urgent: self.urgent,
            note_first: self.note_first,
            only_noted: self.only_noted,
        }
    }

    /// How long the status may wait; `None` when there is nothing to write.
    fn due(&self, old: &ReleaseStatus) -> Option<Duration> {
        // Where status knew more than there is, that is said once: it is not waited for again.
        if generation(self.snapshot, old).is_some_and(|present| Some(present) < old.target_generation) {
            return Some(Duration::ZERO);
        }
        if self.status == *old {
            return None;
        }
        let (mut new, mut old) = (self.status.clone(), old.clone());
        let written = old.at.map(|stamp| stamp.0);
        conditions::blank_numbers(&mut new);
        conditions::blank_numbers(&mut old);
        let every = if new == old { NUMBERS_EVERY } else { COUNTS_EVERY };
        let is_unsettled =
            |status: &ReleaseStatus| status.run.as_ref().is_some_and(|run| run.progress.unsettled.is_some());
        // Since when the next order is not carried out is not to be since when this one was not.
        let has_settled = is_unsettled(&old) && !is_unsettled(&new);
        conditions::blank_counts(&mut new);
        conditions::blank_counts(&mut old);
        notify::overlook_delivered(&new, &mut old);
        if new != old || has_settled || self.at_once {
            return Some(Duration::ZERO);
        }
        let since = written.map_or(every, |at| Duration::try_from(self.snapshot.now - at).unwrap_or(every));
        Some(every.saturating_sub(since))
    }
}

/// A sentence as status has it: names and reasons of other people's may be in it.
fn shown(sentence: impl Into<String>) -> String {
    let sentence: String = sentence.into();
    on_one_line(&sentence).collect()
}

/// Generation of the Deployment that a status is about.
fn generation(snapshot: &Snapshot, status: &ReleaseStatus) -> Option<i64> {
    let target = snapshot.target.as_ref()?;
    (status.target_uid.as_ref() == Some(&target.uid)).then_some(target.generation)
}

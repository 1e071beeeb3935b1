//! Conditions by kstatus, and which parts of status are numbers that merely move.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::approval::{AWAITING_APPROVAL, AWAITING_ATTESTATION, AWAITING_UNDO_APPROVAL};
use super::back;
use super::lint::{Finding, Severity};
use crate::api::status::{Memory, Stamp, Summary};
use crate::api::undo::{Validation, ValidationResult};
use crate::api::{Outcome, Phase, ReleaseStatus};
use crate::letters::on_one_line;

/// `Succeeded`, `Undone` ... as a reason.
pub fn outcome_reason(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "Succeeded",
        Outcome::Undone => "Undone",
        Outcome::Aborted => "Aborted",
        Outcome::Superseded => "Superseded",
        Outcome::HandedBack => "HandedBack",
    }
}

/// ... and in a sentence.
pub fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Undone => "was undone",
        Outcome::Aborted => "was aborted",
        Outcome::Superseded => "was superseded",
        Outcome::HandedBack => "was handed back",
    }
}

/// Blockers that only a person can take away: kstatus calls that stalled.
const STALLED: [&str; 20] = [
    "TargetMissing",
    "TargetTaken",
    "InvalidSpec",
    "OriginalsLost",
    "OriginalsTampered",
    "RejectedRevision",
    "ValidationFailed",
    "CheckFailed",
    "UndoRefused",
    "StableTemplateLost",
    "StablePodsFailing",
    "TemplateTooLarge",
    "HandedBack",
    "MissingRight",
    "PolicyMissing",
    "WriteRefused",
    "WindowTooShort",
    "WindowNeverOpens",
    "MigrationFailed",
    "Irreversible",
];

/// Reasons of holds, by which whoever is told of holds can choose. The wait for an approval is no hold to them.
pub const HOLDS: [&str; 40] = [
    "AboveLimit",
    "AboveTarget",
    "AwaitingAttestation",
    "AwaitingUndoApproval",
    "CheckFailed",
    "CheckUnknown",
    "ClusterUnheard",
    "ControllerSilent",
    "Frozen",
    "HighTraffic",
    "InvalidSpec",
    "Irreversible",
    "Locked",
    "MigrationFailed",
    "MigrationUnknown",
    "NoMeasurements",
    "NoReplicas",
    "NodesSilent",
    "NotEnoughEvidence",
    "OldPodsRemain",
    "OriginalsLost",
    "OriginalsTampered",
    "OutsideWindow",
    "Paused",
    "PausedByOwner",
    "PilotsMissing",
    "PilotsUnknown",
    "PodsFailing",
    "PolicyMissing",
    "StableAsBad",
    "StablePodsFailing",
    "StablePodsNotReady",
    "StableTemplateLost",
    "Suspended",
    "TemplateTooLarge",
    "TrafficUnknown",
    "UndoRefused",
    "WindowNeverOpens",
    "WindowTooShort",
    "WriteRefused",
];

/// The condition, and the event, that what serves came with a Deployment that was made anew.
pub const REPLACED: &str = "DeploymentReplaced";

/// Sets the conditions and the summary from the rest of status. A transition time changes only when the status does.
/// `remarks`: what the rules of [`super::lint`] find; `None`: the same as before.
pub fn derive(status: &mut ReleaseStatus, generation: i64, now: Timestamp, remarks: Option<&[Finding]>) {
    let message = status.summary.as_ref().map(|summary| summary.message.clone()).unwrap_or_default();
    let blocker = status.blocked_by.as_ref().map(|blocker| blocker.reason.clone());
    let phase = status.phase.unwrap_or(Phase::Idle);
    let stalled = blocker.as_deref().is_some_and(|reason| STALLED.contains(&reason));
    let at_rest = status.run.is_none() && blocker.is_none() && phase == Phase::Idle;
    let reason = blocker.clone().unwrap_or_else(|| format!("{phase:?}"));
    let last =
        status.last_run.as_ref().map(|last| (last.outcome, format!("run {}: {}", last.id, last.message)));
    let ended = |wanted: Outcome| match (&status.run, &last) {
        (Some(_), _) => (false, "RunUnderWay".to_owned(), "a run is under way".to_owned()),
        (None, Some((outcome, message))) => {
            (*outcome == wanted, outcome_reason(*outcome).to_owned(), message.clone())
        }
        (None, None) => (false, "NoRunYet".to_owned(), "no run has ended yet".to_owned()),
    };
    let awaited = [AWAITING_APPROVAL, AWAITING_ATTESTATION, AWAITING_UNDO_APPROVAL];
    let approval = blocker.as_deref().is_some_and(|reason| awaited.contains(&reason));
    let wanted = [
        ("Ready", (at_rest, reason.clone(), message.clone())),
        ("Reconciling", (!at_rest && !stalled, reason.clone(), message.clone())),
        ("Stalled", (stalled, reason.clone(), message.clone())),
        ("Succeeded", ended(Outcome::Succeeded)),
        ("Undone", ended(Outcome::Undone)),
        (
            "AwaitingApproval",
            (
                approval,
                if approval { reason } else { "NothingToApprove".into() },
                if approval { message } else { String::new() },
            ),
        ),
    ];
    let old = std::mem::take(&mut status.conditions);
    status.conditions = wanted
        .into_iter()
        .chain(detectable(status))
        .chain(validated(status))
        .chain(questionable(&old, remarks))
        .chain(untold(status))
        .chain(replaced(status))
        .map(|(type_, (is, reason, message))| {
            let is = if is { "True" } else { "False" };
            let since = old.iter().find(|old| old.type_ == type_ && old.status == is);
            Condition {
                type_: type_.into(),
                status: is.into(),
                reason,
                message: on_one_line(&message).take(1024).collect(),
                observed_generation: Some(generation),
                last_transition_time: since
                    .map_or_else(|| Time(whole_second(now)), |old| old.last_transition_time.clone()),
            }
        })
        .collect();
    summarise(status);
}

/// Whether each criterion would notice that something is wrong, at the traffic seen; only while something is judged.
fn detectable(status: &ReleaseStatus) -> Option<(&'static str, (bool, String, String))> {
    if status.run.is_none() || status.verdicts.is_empty() {
        return None;
    }
    let blind: Vec<&str> = status
        .verdicts
        .iter()
        .map(|verdict| verdict.blind.as_str())
        .filter(|blind| !blind.is_empty())
        .collect();
    Some(match blind.as_slice() {
        [] => ("Detectable", (true, "EnoughTraffic".to_owned(), String::new())),
        _ => ("Detectable", (false, "TooLittleTraffic".to_owned(), blind.join("; "))),
    })
}

/// Whether the version that the last undo put back works. Only there when that is known.
fn validated(status: &ReleaseStatus) -> Option<(&'static str, (bool, String, String))> {
    if status.run.is_some() {
        return None;
    }
    let Validation { result, message } = status.last_run.as_ref()?.validation.as_ref()?;
    let is = match result {
        ValidationResult::Validated => true,
        ValidationResult::ValidationFailed => false,
        ValidationResult::Undecided => return None,
    };
    Some(("Validated", (is, format!("{result:?}"), message.clone())))
}

/// What contradicts itself in the Release and its Deployment. Only there when something does.
fn questionable(
    old: &[Condition],
    remarks: Option<&[Finding]>,
) -> Option<(&'static str, (bool, String, String))> {
    let name = "Questionable";
    let Some(findings) = remarks else {
        let before = old.iter().find(|old| old.type_ == name)?;
        return Some((name, (true, before.reason.clone(), before.message.clone())));
    };
    let worst = match findings.first()?.severity {
        Severity::Error => "Contradictions",
        Severity::Warning => "Warnings",
    };
    let all: Vec<String> = findings.iter().map(Finding::sentence).collect();
    Some((name, (true, worst.to_owned(), all.join(". "))))
}

/// Who could not be told. Only there when somebody could not.
fn untold(status: &ReleaseStatus) -> Option<(&'static str, (bool, String, String))> {
    let troubles = &status.notifications.as_ref()?.troubles;
    let worst = if troubles.iter().any(|trouble| trouble.given_up) { "GivenUp" } else { "TriedAgain" };
    troubles.first()?;
    let all: Vec<String> =
        troubles.iter().map(|trouble| format!("{}: {}", trouble.to, trouble.message)).collect();
    Some(("NotificationsFailing", (true, worst.to_owned(), all.join(". "))))
}

/// What serves has come with a Deployment that was made anew, past all steps, checks and signatures. Only there when it has.
fn replaced(status: &ReleaseStatus) -> Option<(&'static str, (bool, String, String))> {
    Some((REPLACED, (true, "NotReleased".to_owned(), not_released(status)?)))
}

/// The same in a sentence.
pub fn not_released(status: &ReleaseStatus) -> Option<String> {
    let (former, stable) = (status.former.as_ref()?, status.stable.as_ref()?);
    let who = stable.changed_by.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string);
    (former.fingerprint != stable.fingerprint).then(|| {
        format!(
            "{who} made the Deployment anew with {}, where {} was stable: it serves, and was not released",
            back::named(stable),
            back::named(former)
        )
    })
}

fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn summarise(status: &mut ReleaseStatus) {
    let step = status
        .step
        .as_ref()
        .map(|step| format!("{}/{} {}", step.index, step.of, step.name))
        .unwrap_or_default();
    let rank = |verdict: &str| match verdict {
        "Breach" => 0,
        "Hold" => 1,
        "Unknown" => 2,
        _ => 3,
    };
    let worst = status
        .verdicts
        .iter()
        .min_by_key(|verdict| rank(&verdict.verdict))
        .map(|verdict| format!("{} {}", verdict.criterion, verdict.verdict))
        .unwrap_or_default();
    let message = status.summary.take().map(|summary| summary.message).unwrap_or_default();
    status.summary = Some(Summary { step, worst, message });
}

/// Takes out what changes with every measurement: values, intervals, what the judge remembers, and sentences with numbers.
pub fn blank_numbers(status: &mut ReleaseStatus) {
    status.at = None;
    for verdict in &mut status.verdicts {
        verdict.value = None;
        verdict.interval.clear();
        verdict.message.clear();
        verdict.have = 0;
        verdict.need = None;
        verdict.evidence.clear();
        verdict.window = None;
        verdict.settle.clear();
        verdict.finds.clear();
        // Whether it is blind is worth a write, by how much is not.
        if !verdict.blind.is_empty() {
            verdict.blind = "blind".to_owned();
        }
    }
    let some_time = Stamp(Timestamp::UNIX_EPOCH);
    if let Some(run) = &mut status.run {
        run.judge = Memory::default();
        run.values = Memory::default();
        if let Some(validating) = run.back.as_mut().and_then(|back| back.validating.as_mut()) {
            validating.judge = Memory::default();
        }
        run.progress.soaked = 0;
        run.progress.soaking_since = run.progress.soaking_since.map(|_| some_time);
    }
    if let Some(step) = &mut status.step {
        step.until = step.until.map(|_| some_time);
    }
    if let Some(summary) = &mut status.summary {
        summary.message.clear();
    }
    if let Some(blocker) = &mut status.blocked_by {
        blocker.message.clear();
    }
    for condition in &mut status.conditions {
        condition.message.clear();
    }
}

/// Takes out counts of pods as well, and since when they are what they are.
pub fn blank_counts(status: &mut ReleaseStatus) {
    status.replicas = None;
    if let Some(run) = &mut status.run {
        run.progress.good = 0;
        (run.progress.moved, run.progress.unsettled) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::VerdictStatus;

    #[test]
    fn that_a_criterion_is_blind_is_no_number_in_whatever_letters_that_is_written() {
        let blanked = |blind: &str| {
            let verdict = VerdictStatus { blind: blind.to_owned(), ..VerdictStatus::default() };
            let mut status = ReleaseStatus { verdicts: vec![verdict], ..ReleaseStatus::default() };
            blank_numbers(&mut status);
            status
        };
        assert_eq!(blanked("at 3 requests a second"), blanked("at 4 requests a second"));
        assert_eq!(blanked("at 3 requests a second"), blanked("\u{fc}ber drei"));
        assert_ne!(blanked("at 3 requests a second"), blanked(""));
    }
}

//! `why`: what is happening and why, in sentences, with the evidence and who said what. Pure.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use owo_colors::OwoColorize;

use super::status::{UNSEEN, check_state, full_name, phase, replicas, verdict};
use super::view::{Look, Page, ago, harmless, moment, seconds, sentence, span};
use super::{breach, steps, undo};
use crate::api::notify::Trouble;
use crate::api::status::{
    Back, Cause, CheckState, CheckStatus, JobStatus, LastRun, MigrationStatus, Pass, Passed, ReleaseStatus,
    Run, Said, Signature, SignatureOf, Stage, UndoTimes, VerdictStatus,
};
use crate::api::undo::{
    Communication, HookState, HookStatus, QuarantineState, QuarantinedPod, Validation, ValidationResult,
};
use crate::api::{Phase, Release, ReleaseAction};
use crate::decide::VALIDATION;

/// Explains a release. `actions` are the [`ReleaseAction`]s about it, in any order; what could not be read is left out.
pub fn explain(release: &Release, actions: &[ReleaseAction], look: Look) -> String {
    let release = harmless(release);
    let actions: Vec<ReleaseAction> = actions.iter().map(harmless).collect();
    let mut page = Page::new(look.width);
    let name = full_name(&release);
    let Some(status) = &release.status else {
        page.hang("", &format!("{} {UNSEEN}", name.bold()));
        return page.into_text();
    };
    let message = status.summary.as_ref().map(|summary| summary.message.as_str()).unwrap_or_default();
    let message = if message.is_empty() { ".".to_owned() } else { format!(": {}", sentence(message)) };
    page.hang("", &format!("{} is {}{message}", name.bold(), phase(status.phase)));
    now(&mut page, &release, status, look);
    evidence(&mut page, status);
    blocker(&mut page, status, look);
    untold(&mut page, status, look);
    said(&mut page, status, &actions, look);
    if let Some(last) = &status.last_run {
        last_run(&mut page, &release, last, look);
    }
    page.into_text()
}

/// What is happening, since when.
fn now(page: &mut Page, release: &Release, status: &ReleaseStatus, look: Look) {
    page.heading("What is happening");
    match &status.run {
        Some(run) => {
            let by =
                run.changed_by.as_ref().map(|by| format!(" {by} changed the template.")).unwrap_or_default();
            page.hang("  ", &format!("Run {} began {}.{by}", run.id, when(run.started_at.0, look)));
            stage(page, release, status, run, look);
            if let Some(paused) = &run.paused {
                page.hang("  ", &quoted("Paused", paused, look));
            }
            if let Some(skipped) = &run.progress.skipped {
                page.hang("  ", &quoted("What this step waits for was skipped", skipped, look));
            }
            for pass in &run.passes {
                page.hang("  ", &passed(pass, look));
            }
            for note in &run.notes {
                page.hang("  ", &sentence(note));
            }
        }
        None => at_rest(page, status, look),
    }
    if status.run.as_ref().is_none_or(|run| run.back.is_none()) {
        for pod in &status.quarantined {
            page.hang("  ", &kept(pod, look));
        }
    }
    if release.spec.suspend {
        page.hang("  ", "The Release is suspended (spec.suspend): no new run and no move forward. Going back is not stopped.");
    }
    if let Some(counts) = &status.replicas {
        page.hang("  ", &format!("Pods: {}.", replicas(counts)));
    }
    if let Some(capture) = &status.capture {
        page.hang(
            "  ",
            &format!("Changes are caught in mode {}: {}", capture.mode, sentence(&capture.message)),
        );
    }
}

fn at_rest(page: &mut Page, status: &ReleaseStatus, look: Look) {
    if let Some(said) = &status.handed_back {
        page.hang("  ", &quoted("The Deployment was handed back", said, look));
        page.hang("  ", "Nothing is touched until somebody says resume.");
        return;
    }
    page.hang("  ", "No run is under way.");
    if let Some(rejected) = status.rejected.first().filter(|_| status.phase == Some(Phase::Rejected)) {
        let run = if rejected.run.is_empty() { String::new() } else { format!(" in run {}", rejected.run) };
        let at = when(rejected.at.0, look);
        page.hang(
            "  ",
            &sentence(&format!(
                "Template {} was rejected {at}{run}: {}",
                rejected.fingerprint, rejected.reason
            )),
        );
        page.hang("  ", "It is not started again: nothing starts until there is a new template, or somebody clears the rejection.");
    }
}

fn stage(page: &mut Page, release: &Release, status: &ReleaseStatus, run: &Run, look: Look) {
    match run.stage {
        Stage::Preflight => {
            page.hang(
                "  ",
                "The new template is held until its checks are done; none of its pods was started.",
            );
            checks(page, run, None, look);
            migrations(page, run, look);
        }
        Stage::Steps => step(page, release, status, run, look),
        Stage::Watch => {
            let since =
                run.all_since.map(|since| format!(" since {}", when(since.0, look))).unwrap_or_default();
            page.hang(
                "  ",
                &format!(
                    "Everything is on the new revision{since} and {}.",
                    breach::in_watch(release, run, look.now)
                ),
            );
            if let Some(until) = status.step.as_ref().and_then(|step| step.until) {
                page.hang("  ", &format!("The watch is over at {}.", moment(until.0, look.now)));
            }
            migrations(page, run, look);
        }
        Stage::Back => {
            if let Some(back) = &run.back {
                going_back(page, run, back, look);
            }
        }
    }
}

/// The checks of a step, or (`None`) those before the first pod.
fn checks(page: &mut Page, run: &Run, at: Option<&str>, look: Look) {
    for check in run.checks.iter().filter(|check| check.step.as_deref() == at) {
        let CheckStatus {
            name,
            step: _,
            state,
            attempt,
            retried: _,
            retry_at,
            definition: _,
            job: _,
            message,
            since,
            log,
        } = check;
        let since =
            since.map(|since| format!(" for {}", span(look.now.duration_since(since.0)))).unwrap_or_default();
        let tried = if *attempt > 1 { format!(", try {attempt}") } else { String::new() };
        let next = retry_at.map(|at| format!(", again at {}", moment(at.0, look.now))).unwrap_or_default();
        let message = if message.is_empty() { ".".to_owned() } else { format!(": {}", sentence(message)) };
        page.hang("  - ", &format!("{name}: {}{since}{tried}{next}{message}", check_state(*state)));
        log_end(page, *state, log);
    }
}

/// Migrations that have begun.
fn migrations(page: &mut Page, run: &Run, look: Look) {
    for MigrationStatus { name, kind, begun: _, work, verify } in &run.migrations {
        let parts = [
            (format!("migration {name} ({kind:?})"), Some(work)),
            (format!("migration {name}, verify"), verify.as_ref()),
        ];
        for (name, part) in parts {
            let Some(JobStatus { state, attempt, job: _, message, since, log }) = part else { continue };
            let since = since.map(|since| format!(" for {}", span(look.now.duration_since(since.0))));
            let since = since.unwrap_or_default();
            let tried = if *attempt > 1 { format!(", try {attempt}") } else { String::new() };
            let message =
                if message.is_empty() { ".".to_owned() } else { format!(": {}", sentence(message)) };
            page.hang("  - ", &format!("{name}: {}{since}{tried}{message}", check_state(*state)));
            log_end(page, *state, log);
        }
    }
}

/// Last lines of a log that are shown.
const LINES_OF_A_LOG: usize = 5;

/// What the Job of a check that has not passed said last.
fn log_end(page: &mut Page, state: CheckState, log: &[String]) {
    if !matches!(state, CheckState::Failed | CheckState::Unknown) {
        return;
    }
    for line in &log[log.len().saturating_sub(LINES_OF_A_LOG)..] {
        page.hang("      | ", line);
    }
}

fn step(page: &mut Page, release: &Release, status: &ReleaseStatus, run: &Run, look: Look) {
    let Some(step) = &status.step else { return };
    let begun = run.progress.begun.map(|at| format!(", begun {}", when(at.0, look))).unwrap_or_default();
    let reached = run.progress.reached.map_or_else(
        || ", its pods do not all stand yet".to_owned(),
        |at| format!(", its pods stood {}", when(at.0, look)),
    );
    page.hang("  ", &format!("It is at step {} ({} of {}){begun}{reached}.", step.name, step.index, step.of));
    let index = usize::try_from(run.step).ok();
    let soak =
        steps::planned(release, step).zip(index).and_then(|(planned, index)| Some(planned.get(index)?.soak));
    let soak = soak.and_then(|soak| SignedDuration::try_from(soak).ok());
    let soak = soak.map(|soak| format!(" of {}", span(soak))).unwrap_or_default();
    let soaking =
        run.progress.soaking_since.map_or(0, |since| look.now.duration_since(since.0).as_millis().max(0));
    let soaked = i128::from(run.progress.soaked) + soaking;
    if run.checks.iter().any(|check| check.step.as_deref() == Some(&step.name)) {
        page.hang("  ", "Its own checks:");
        checks(page, run, Some(&step.name), look);
    }
    if run.progress.reached.is_some() {
        let soaked = span(SignedDuration::from_millis(i64::try_from(soaked).unwrap_or(i64::MAX)));
        let until = step.until.map_or_else(
            || "; the clock of the soak stands still".to_owned(),
            |until| format!("; over at {} if nothing gets in between", moment(until.0, look.now)),
        );
        page.hang("  ", &format!("Soaked with a Pass: {soaked}{soak}{until}."));
    }
}

fn going_back(page: &mut Page, run: &Run, back: &Back, look: Look) {
    let cause = match back.cause {
        Cause::Breach => "a limit was breached",
        Cause::Undecided => "it could not be told in time whether a limit is kept",
        Cause::PodsFailing => "the canary's pods fail by themselves",
        Cause::OldPodsRemain => "old pods did not go, and none of its own was made",
        Cause::CheckFailed => "a check of its step failed",
        Cause::Abort => "somebody said so",
        Cause::Reverted => "its owner put the stable template back",
        Cause::Superseded => "its owner wrote a newer template, which starts once stable stands",
        Cause::NoReplicas => "there are no replicas; it starts again when there are",
        Cause::TooMany => "there are more canary pods than the step allows; it takes the step again",
    };
    let by = back.by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default();
    page.hang("  ", &format!("It goes back to stable: {cause}{by}: {}", sentence(&back.message)));
    seconds_of(page, &back.times(), run.started_at.0, look);
    if back.over_budget {
        page.hang("  ", "It takes longer than its budget.");
    }
    for phase in &back.over {
        page.hang("  ", &format!("Its {} takes longer than the budget of that phase.", phase.word()));
    }
    if back.given_back_at.is_some() {
        page.hang("  ", "Its owner has the Deployment's fields back; a newer template would not wait.");
    }
    checks(page, run, Some(VALIDATION), look);
    for hook in &back.hooks {
        page.hang("  - ", &beside(hook));
    }
    for pod in &back.quarantined {
        page.hang("  - ", &kept(pod, look));
    }
}

/// A hook, in a sentence.
fn beside(HookStatus { name, state, message, job: _, log: _ }: &HookStatus) -> String {
    let state = match state {
        HookState::Started => "under way",
        HookState::Done => "done",
        HookState::Failed => "failed",
    };
    let message = if message.is_empty() { ".".to_owned() } else { format!(": {}", sentence(message)) };
    format!("Hook {name}: {state}{message}")
}

/// A pod in quarantine, in a sentence.
fn kept(pod: &QuarantinedPod, look: Look) -> String {
    let QuarantinedPod { pod, uid: _, until, state, message } = pod;
    match state {
        QuarantineState::Ordered => format!("Pod {pod} is being taken into quarantine."),
        QuarantineState::Kept => {
            format!("Pod {pod} is in quarantine, out of traffic, until {}.", moment(until.0, look.now))
        }
        QuarantineState::Lost => format!("Pod {pod} could not be kept: {}", sentence(message)),
    }
}

/// Each criterion: the verdict, the numbers behind it, and what would settle it.
fn evidence(page: &mut Page, status: &ReleaseStatus) {
    if status.verdicts.is_empty() {
        return;
    }
    page.heading("The evidence");
    for now in &status.verdicts {
        page.hang("  ", &format!("{}: {}, {}", now.criterion.bold(), verdict(&now.verdict), numbers(now)));
        page.hang("    ", &[sentence(&now.message), settle(now)].join(" "));
        for line in grounds(now) {
            page.hang("    ", &line);
        }
        if !now.source.is_empty() {
            page.hang("    ", &format!("Read from {}.", now.source));
        }
        if !now.query.is_empty() {
            page.hang("    ", &format!("Asked for by {}.", now.query));
        }
    }
}

fn numbers(now: &VerdictStatus) -> String {
    let mut parts =
        vec![now.value.as_ref().map_or_else(|| "no value".to_owned(), |value| format!("measured {value}"))];
    if let [low, high] = &now.interval[..] {
        parts.push(format!("really between {low} and {high}"));
    }
    if !now.target.is_empty() {
        parts.push(format!("target {}", now.target));
    }
    if !now.limit.is_empty() {
        parts.push(format!("limit {}", now.limit));
    }
    let what = counted(now);
    match now.need {
        Some(need) => parts.push(format!("{} {what} seen, about {need} needed", now.have)),
        None if now.have > 0 || now.counted.is_empty() => parts.push(format!("{} {what} seen", now.have)),
        None => {}
    }
    parts.join(", ") + "."
}

/// What the numbers rest on, and what could be seen at all.
fn grounds(now: &VerdictStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if now.shadow {
        lines.push("A shadow: reported, enforced never.".to_owned());
    }
    if !now.evidence.is_empty() && !now.counted.is_empty() {
        lines.push(format!("It has been so for {}.", now.evidence));
    } else if !now.evidence.is_empty() {
        lines.push(format!(
            "Evidence {} (natural logarithms: what there is, of what it must reach).",
            now.evidence
        ));
    }
    if !now.blind.is_empty() {
        lines.push(format!("It may never fire: {}.", now.blind));
    } else if !now.finds.is_empty() {
        lines.push(format!("At this traffic the smallest rate it would find: {}.", now.finds));
    }
    lines
}

fn counted(now: &VerdictStatus) -> &str {
    if now.counted.is_empty() { "requests" } else { &now.counted }
}

fn settle(now: &VerdictStatus) -> String {
    let missing = now.need.map(|need| need.saturating_sub(now.have)).filter(|missing| *missing > 0);
    let what = counted(now);
    match (now.verdict.as_str(), missing) {
        ("Unknown", Some(missing)) => format!("About {missing} more {what} would settle it."),
        ("Unknown", None) if now.value.is_none() => {
            "A measurement would settle it: Unknown neither advances nor goes back.".to_owned()
        }
        ("Unknown", None) => "Unknown neither advances nor goes back.".to_owned(),
        ("Hold", Some(missing)) => {
            format!("About {missing} more {what} at the target or better would settle it.")
        }
        ("Hold", None) => "It advances once it is at the target or better.".to_owned(),
        _ => String::new(),
    }
}

fn blocker(page: &mut Page, status: &ReleaseStatus, look: Look) {
    let Some(blocker) = &status.blocked_by else { return };
    page.heading("What blocks it");
    page.hang("  ", &format!("{}: {}", blocker.reason.yellow(), sentence(&blocker.message)));
    if let Some(until) = blocker.until {
        let left = until.0.duration_since(look.now);
        let left = if left.is_positive() { format!(", in {}", span(left)) } else { String::new() };
        page.hang("  ", &format!("Until {}{left}.", moment(until.0, look.now)));
    }
    if !blocker.unblock.is_empty() {
        // Not wrapped: a command that is broken cannot be pasted.
        page.raw(&format!("  What unblocks it: {}", blocker.unblock.bold()));
    }
    let standing = status.notifications.as_ref().and_then(|known| known.standing.as_ref());
    if let Some(known) = standing.and_then(|standing| standing.acknowledged.as_ref()) {
        page.hang("  ", &quoted("Acknowledged", known, look));
    }
}

/// Who could not be told.
fn untold(page: &mut Page, status: &ReleaseStatus, look: Look) {
    let troubles = status.notifications.iter().flat_map(|known| &known.troubles);
    for (place, trouble) in troubles.enumerate() {
        if place == 0 {
            page.heading("Who is not told");
        }
        let end = if trouble.given_up { "given up" } else { "it is tried again" };
        let Trouble { to, at, message, .. } = trouble;
        page.hang("  ", &format!("{to}, since {}: {message} ({end}).", moment(at.0, look.now)));
    }
}

/// Who said what, the newest last.
fn said(page: &mut Page, status: &ReleaseStatus, actions: &[ReleaseAction], look: Look) {
    let signatures = status.run.iter().flat_map(|run| &run.signatures);
    let listed = |signature: &&Signature| {
        !actions.iter().any(|action| action.uid().as_ref() == Some(&signature.action))
    };
    let mut lines: Vec<(Timestamp, String)> =
        signatures.filter(listed).map(|signature| (signature.at.0, signed(signature, look))).collect();
    lines.extend(
        actions.iter().filter_map(|action| Some((action.creation_timestamp()?.0, spoken(action, look)))),
    );
    if lines.is_empty() {
        return;
    }
    lines.sort_by_key(|(at, _)| *at);
    page.heading("Who said what");
    for (_, line) in lines.iter().rev().take(10).rev() {
        page.hang("  - ", line);
    }
}

fn signed(signature: &Signature, look: Look) -> String {
    let Signature { role, by, at, reason, action: _, asked: _, of, check, content: _, voided } = signature;
    let what = match of {
        SignatureOf::Approval => "approved".to_owned(),
        SignatureOf::Attestation => format!("attested {check}"),
        SignatureOf::Undo => "agreed to go back".to_owned(),
    };
    let voided = voided.map(|since| format!(". What was signed has changed since {}", when(since.0, look)));
    format!("{by} {what} as {role} {}{}{}", ago(at.0, look.now), because(reason), voided.unwrap_or_default())
}

fn spoken(action: &ReleaseAction, look: Look) -> String {
    let spec = &action.spec;
    let by = spec.by.as_deref().unwrap_or("somebody");
    let role = spec.role.as_ref().map(|role| format!(" as {role}")).unwrap_or_default();
    let check = spec.check.as_ref().map(|check| format!(" {check}")).unwrap_or_default();
    let undo = if spec.undo { " to the undo" } else { "" };
    let freeze = spec.freeze.as_ref().map(|freeze| format!(" {freeze}")).unwrap_or_default();
    let ground = spec.ground.as_ref().map(|ground| format!(" on grounds of {ground}")).unwrap_or_default();
    let run = spec.run.as_ref().map(|run| format!(" to {run}")).unwrap_or_default();
    let at = action.creation_timestamp().map(|at| format!(" {}", ago(at.0, look.now))).unwrap_or_default();
    let result = match &action.status {
        Some(status) => format!(" {}: {}", status.result, sentence(&status.message)),
        None => " No answer yet.".to_owned(),
    };
    format!(
        "{by} said {:?}{check}{undo}{freeze}{ground}{role}{run}{at}{}.{result}",
        spec.action,
        because(spec.reason.as_deref().unwrap_or_default())
    )
}

/// Why the last run ended as it did, with every second accounted for.
fn last_run(page: &mut Page, release: &Release, last: &LastRun, look: Look) {
    page.heading("How the last run ended");
    let outcome = format!("{:?}", last.outcome);
    let lasted = span(last.ended_at.0.duration_since(last.started_at.0));
    let by =
        last.changed_by.as_ref().map(|by| format!(" {by} had changed the template.")).unwrap_or_default();
    let ended = when(last.ended_at.0, look);
    page.hang(
        "  ",
        &format!(
            "Run {}: {} {ended}, after {lasted}.{by} {}",
            last.id,
            outcome.bold(),
            sentence(&last.message)
        ),
    );
    if !last.report.is_empty() {
        let namespace = release.namespace().unwrap_or_default();
        let command =
            format!("kubectl tidegate report {} --run {} -n {namespace}", release.name_any(), last.id);
        page.hang("  ", &format!("Everything it rests on: {}", command.bold()));
    }
    let Some(times) = &last.undo else { return };
    if let Some(by) = &times.by {
        page.hang("  ", &format!("Going back was said by {by}."));
    }
    row(page, last.started_at.0, "", "the run began");
    seconds_of(page, times, last.started_at.0, look);
    let after = times.validated_at.or(times.restored_at).map(|at| last.ended_at.0.duration_since(at.0));
    row(page, last.ended_at.0, &after.map(seconds).unwrap_or_default(), "the run was over");
    if let Some(communication) = &last.communication {
        told(page, communication, last.ended_at.0);
    }
    if let Some(Validation { result, message }) = &last.validation {
        let what = match result {
            ValidationResult::Validated => "What was put back works",
            ValidationResult::ValidationFailed => "What was put back does not work either",
            ValidationResult::Undecided => "Whether what was put back works is not known",
        };
        page.hang("  ", &format!("{what}: {}", sentence(message)));
    }
}

/// Messages about an undo, which go out after its run.
fn told(page: &mut Page, communication: &Communication, ended_at: Timestamp) {
    let Communication { told_at, over, over_budget } = communication;
    match told_at {
        Some(at) => {
            let took = seconds(at.0.duration_since(ended_at));
            row(page, at.0, &took, "the last message about it was delivered, or given up");
        }
        None => page.hang("  ", "Messages about it are still to be delivered."),
    }
    if *over {
        page.hang("  ", "Its communication took longer than the budget of that phase.");
    }
    if *over_budget {
        page.hang("  ", "It took longer than its budget.");
    }
}

/// One line for each moment of an undo, and the sum. What came before the first moment is the run itself, `began`.
fn seconds_of(page: &mut Page, times: &UndoTimes, began: Timestamp, look: Look) {
    for leg in undo::legs(times) {
        let took = leg.took.map_or_else(|| span(leg.at.duration_since(began)), seconds);
        row(page, leg.at, &took, leg.words);
    }
    let first = times.breach_at.unwrap_or(times.decided_at).0;
    let sum = match undo::total(times) {
        Some(total) => format!("that is {} from the first sign until stable stood again", seconds(total)),
        None => format!(
            "stable does not stand again, {} after the first sign",
            span(look.now.duration_since(first))
        ),
    };
    page.hang(&" ".repeat(SUM), &sum);
}

/// Where the words of a [`row`] begin.
const SUM: usize = 40;

/// `2026-11-20 09:04:00.500Z    +0.40 s  decided to go back`
fn row(page: &mut Page, at: Timestamp, took: &str, words: &str) {
    let plus = if took.is_empty() { String::new() } else { format!("+{took}") };
    page.hang(&format!("  {}Z {plus:>11}  ", at.strftime("%F %T%.3f")), words);
}

fn quoted(what: &str, said: &Said, look: Look) -> String {
    format!("{what} by {} {}{}.", said.by, ago(said.at.0, look.now), because(&said.reason))
}

fn passed(pass: &Pass, look: Look) -> String {
    let Pass { of, freeze, freeze_uid: _, ground, by, at, reason, action: _ } = pass;
    let what = match of {
        Passed::Windows => "Its windows do not hold it".to_owned(),
        Passed::Freeze => format!("Freeze {freeze} does not hold it, on grounds of {ground}"),
    };
    format!("{what}: {by} said so {}{}.", ago(at.0, look.now), because(reason))
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": \"{reason}\"") }
}

/// `42m ago (13:50:05Z)`
fn when(at: Timestamp, look: Look) -> String {
    format!("{} ({})", ago(at, look.now), moment(at, look.now))
}

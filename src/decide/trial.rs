//! The trial pod: one pod of the new version, started apart from the Deployment right before its first pod, and asked what the `http` checks
//! with `podPath` in `preflight` ask. All of them share it, as far as they are at the same try.
//!
//! It is the pod of a Job, carries none of the Deployment's labels, and so is taken for one of its pods by nothing and nobody. It is ended when
//! status knows what it answered, and ends by itself when nobody is there to end it. Nothing waits for its end.

use std::time::Duration;

use serde_json::{Value, json};

use super::checks::{self, Found};
use super::decision::Intent;
use super::draft::Draft;
use super::jobs::{self, PlannedJob};
use super::needs::ASK_AGAIN;
use super::plan::{LONGEST_QUESTION, PlannedCheck};
use super::podhealth;
use super::scene::Scene;
use super::snapshot::{Exit, JobState, Pod, ProbeAnswer, ProbeId, ProbeResult, Trial};
use crate::api::check::HttpCheck;
use crate::api::status::{CheckStatus, Run, Stage, Stamp};
use crate::api::{CHECK_LABEL, RELEASE_LABEL, ReleaseStatus, TRIAL};

/// What its Job is made for; no check is called so.
const ID: &str = "Trial/pod";
/// It lives so much longer than the checks wait for it: who asks decides first, and it ends all the same when nobody asks.
const OUTLIVES: Duration = Duration::from_secs(60);
/// Seconds after which its Job goes when nobody has deleted it.
const FORGOTTEN_AFTER: i32 = 600;
/// How long one answer is waited for, unless the check gives it longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one answer is waited for. All tries together have the check's own timeout.
pub fn patience(check: &HttpCheck) -> Duration {
    let within = check.expect.within.as_ref().and_then(|within| within.seconds());
    let within = within.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let patience = within.map_or(PATIENCE, |within| PATIENCE.max(within + Duration::from_secs(1)));
    patience.min(LONGEST_QUESTION)
}

/// How a check stands that asks it. Starts one where none was started for this try.
pub fn look(draft: &mut Draft<'_>, scene: &Scene<'_>, check: &PlannedCheck, index: usize) -> Found {
    let run = draft.run();
    let known = run.checks[index].clone();
    let answer = scene.snapshot.probes.get(&checks::id(run, &known));
    if let Some(answer) = answer.filter(|answer| answer.result != ProbeResult::Unknown) {
        return told(answer);
    }
    let planned = PlannedJob::keeping_its_log(job(draft, scene));
    let longest = scene.plan.map(|plan| {
        let sharing = plan.checks.iter().filter(|check| check.kind.comes_last());
        sharing.map(|check| check.timeout).max().unwrap_or_default()
    });
    let this = jobs::Try {
        id: try_of(draft.run(), &known),
        label: TRIAL.to_owned(),
        timeout: longest.unwrap_or(check.timeout) + OUTLIVES,
        job: &planned,
        made: known.job.clone(),
        since: known.since,
    };
    let jobs::Seen { found, made, is_refused, log } = checks::of_job(draft, scene, this, index);
    let found = match found {
        Found::Answer(result, message) if is_refused => {
            return Found::Answer(result, format!("the job of the trial pod was refused: {message}"));
        }
        found => found,
    };
    let Some(name) = made else { return found };
    let trial = scene.snapshot.trials.get(&name);
    match (scene.snapshot.jobs.get(&name).map(|job| &job.state), found) {
        (Some(JobState::Running), _) => running(draft, scene, Seen { check, index, name, trial, answer }),
        (_, Found::Waiting(message)) => Found::Waiting(message),
        (Some(JobState::Succeeded), Found::Answer(..)) => failed(format!(
            "trial pod {} ended by itself, without a fault, before it was asked: its containers are to go on running",
            called(trial, &name)
        )),
        (Some(JobState::Failed { message }), Found::Answer(..)) => {
            match trial.and_then(|trial| trial.exit.as_ref()) {
                Some(exit) => failed(ended(&called(trial, &name), exit, trial, log.last())),
                None => begin_another(
                    draft,
                    index,
                    format!("job {name} ended before its pod was asked: {message}"),
                ),
            }
        }
        (None, Found::Answer(..)) => {
            begin_another(draft, index, format!("job {name} is gone, and its pod was not asked"))
        }
    }
}

/// One that is under way.
struct Seen<'s> {
    check: &'s PlannedCheck,
    index: usize,
    /// Of the Job.
    name: String,
    trial: Option<&'s Trial>,
    /// What it answered last, which settles nothing.
    answer: Option<&'s ProbeAnswer>,
}

fn running(draft: &mut Draft<'_>, scene: &Scene<'_>, seen: Seen<'_>) -> Found {
    let Seen { check, index, name, trial, answer } = seen;
    let now = scene.now();
    let due = draft.run().checks[index].since.map_or(now, |since| since.0) + check.timeout;
    let is_over = due <= now;
    if !is_over {
        draft.wake_at(due);
    }
    let so_long = format!("{} s", check.timeout.as_secs());
    let Some(pod) = trial.and_then(|trial| trial.pod.as_ref()) else {
        if !is_over {
            return Found::Waiting(format!("the pod of job {name} is being made"));
        }
        let events = draft.kubectl(&format!("events --for job/{name}"));
        return failed(format!(
            "no trial pod was made in {so_long}: a ResourceQuota is used up, or an admission policy refuses it; see {events}"
        ));
    };
    if pod.serves() {
        return match answer {
            None => Found::Waiting(format!("trial pod {} is Ready, and is asked", pod.name)),
            // It is what is asked about: what it leaves open for so long is its answer.
            Some(answer) if is_over => failed(format!(
                "no answer that tells anything in {so_long}: {}; see why, or write a longer timeout",
                answer.message
            )),
            Some(answer) => {
                if let Some(at) = checks::due_again(check, answer, now) {
                    draft.wake_at(at);
                }
                told(answer)
            }
        };
    }
    if let Some(exit) = trial.and_then(|trial| trial.exit.as_ref()).filter(|_| is_over || !pod.terminating) {
        return failed(ended(&pod.name, exit, trial, None));
    }
    if let Some(reason) = podhealth::fault(pod).filter(|_| !pod.terminating) {
        return failed(faulty(pod, reason));
    }
    let (why, advice) = not_ready(trial, pod);
    if is_over {
        failed(format!("trial pod {} is not Ready after {so_long}: {why}; {advice}", pod.name))
    } else {
        Found::Waiting(format!("trial pod {} is not Ready yet: {why}", pod.name))
    }
}

fn told(answer: &ProbeAnswer) -> Found {
    Found::Answer(answer.result, answer.message.clone())
}

fn failed(message: String) -> Found {
    Found::Answer(ProbeResult::Failed, message)
}

fn called(trial: Option<&Trial>, job: &str) -> String {
    let pod = trial.and_then(|trial| trial.pod.as_ref());
    pod.map_or_else(|| format!("of job {job}"), |pod| pod.name.clone())
}

/// It said nothing of the version: no failure, and no try is used up. But each waits longer than the one before: whatever takes them away may
/// take every one.
fn begin_another(draft: &mut Draft<'_>, index: usize, why: String) -> Found {
    let now = draft.now();
    let run = draft.run();
    let id = checks::id(run, &run.checks[index]);
    let again = now.0 + checks::backoff(ASK_AGAIN, id.attempt.saturating_sub(1), &id);
    let known = &mut run.checks[index];
    known.attempt = known.attempt.saturating_add(1);
    known.job = None;
    known.since = known.since.max(Some(now));
    known.retry_at = Some(Stamp(again));
    draft.wake_at(again);
    Found::Answer(ProbeResult::Unknown, format!("{why}; another trial pod is started"))
}

fn ended(pod: &str, exit: &Exit, trial: Option<&Trial>, last_line: Option<&String>) -> String {
    let Exit { code, reason } = exit;
    let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let pod_said = trial.and_then(|trial| trial.pod.as_ref()?.ended_message.clone());
    let said = last_line.cloned().or(pod_said).filter(|said| !said.is_empty());
    let said = said.map(|said| format!("; it said: {said}")).unwrap_or_default();
    format!("trial pod {pod} ended with exit code {code}{reason} before it was asked{said}")
}

fn faulty(pod: &Pod, reason: &str) -> String {
    let detail = podhealth::detail(pod).map(|detail| format!(": {detail}")).unwrap_or_default();
    let advice = match reason {
        "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" => {
            "; see whether the image is there, and may be pulled (imagePullSecrets)"
        }
        "CreateContainerConfigError" => {
            "; see whether the Secrets and ConfigMaps that it names have their keys"
        }
        _ => "",
    };
    format!("trial pod {} fails: {reason}{detail}{advice}", pod.name)
}

/// Why it is not Ready, and what to do about it.
fn not_ready(trial: Option<&Trial>, pod: &Pod) -> (String, &'static str) {
    if let Some(says) = trial.and_then(|trial| trial.unplaced.as_ref()) {
        let room = "make room for one pod more, or write a longer timeout; ports and volumes that only one pod of a node can have keep \
                    it out too";
        return (format!("no node takes it ({says})"), room);
    }
    if let Some(reason) = &pod.waiting {
        let detail = podhealth::detail(pod).map(|detail| format!(" ({detail})")).unwrap_or_default();
        return (format!("{reason}{detail}"), "see its events, or write a longer timeout");
    }
    ("its readinessProbe does not succeed".to_owned(), "see why, or write a longer timeout")
}

/// Of the new template, but for what would make it one of the Deployment's pods: its labels, and gates that are opened from outside for pods of
/// a Service.
fn job(draft: &Draft<'_>, scene: &Scene<'_>) -> Value {
    let mut template = scene.target.template.value();
    let mut spec = template["spec"].take();
    if let Some(spec) = spec.as_object_mut() {
        spec.insert("restartPolicy".to_owned(), json!("Never"));
        spec.remove("readinessGates");
    }
    let mut metadata = json!({ "labels": { RELEASE_LABEL: draft.name(), CHECK_LABEL: TRIAL } });
    let annotations = template["metadata"]["annotations"].take();
    if !annotations.is_null() {
        metadata["annotations"] = annotations;
    }
    json!({ "spec": {
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": FORGOTTEN_AFTER,
        "template": { "metadata": metadata, "spec": spec },
    } })
}

/// What the try of a check that asks a trial pod is called: checks of the same attempt share one.
fn try_of(run: &Run, known: &CheckStatus) -> ProbeId {
    ProbeId { check: ID.to_owned(), definition: None, ..checks::id(run, known) }
}

/// Deletes the Jobs of trial pods that nothing is to be asked of any more: answered, skipped, or the run goes back or has ended. What is stored
/// counts too: an answer that only this process knows would be lost with it, and the pod already.
pub fn end_unneeded(draft: &mut Draft<'_>) {
    let needs =
        |status: &ReleaseStatus, job: &str| open(status).any(|(_, known)| known.job.as_deref() == Some(job));
    // One that was made right before whoever made it died is that of a try which is open.
    let is_noted = |job: &str| {
        let checks = draft.status.run.iter().flat_map(|run| &run.checks);
        checks.into_iter().any(|known| known.job.as_deref() == Some(job))
    };
    let is_of_open_try =
        |job: &str| open(&draft.status).any(|(run, known)| jobs::name(draft, &try_of(run, known)) == job);
    let is_over = |job: &str| {
        let is_needed = needs(&draft.status, job) || needs(&draft.release.status, job);
        !is_needed && (is_noted(job) || !is_of_open_try(job))
    };
    let over = draft.snapshot.trials.iter().filter(|(job, trial)| !trial.terminating && is_over(job));
    let delete = over.map(|(job, trial)| Intent::DeleteJob { name: job.clone(), uid: trial.uid.clone() });
    let delete: Vec<Intent> = delete.collect();
    draft.intents.extend(delete);
}

/// Checks that may still ask one, and their run.
fn open(status: &ReleaseStatus) -> impl Iterator<Item = (&Run, &CheckStatus)> {
    let run = status.run.as_ref().filter(|run| run.stage == Stage::Preflight);
    let checks = run.into_iter().flat_map(|run| run.checks.iter().map(move |known| (run, known)));
    checks.filter(|(_, known)| known.state.is_open() && known.step.is_none())
}

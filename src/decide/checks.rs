//! Checks, before the first pod and at a step: all of one place at once, each passed, failed, or not known yet.
//!
//! A failure that may be tried again is, later each time. What passed may have to be asked again. What cannot be answered is Unknown:
//! not passed and not failed, and asked again. One whose definition is changed is another one: what the old one said is
//! forgotten. What comes of it is for `preflight` and `steps` to say.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::approval::{self, Signed};
use super::decision::Notice;
use super::draft::Draft;
use super::elapsed::yet_to_come;
use super::jobs::{self, PlannedJob};
use super::needs::ASK_AGAIN;
use super::plan::{CheckKind, Plan, PlannedCheck};
use super::scene::Scene;
use super::snapshot::{ProbeAnswer, ProbeId, ProbeResult, Withheld};
use super::trial;
use crate::api::Action;
use crate::api::check::Severity;
use crate::api::status::{CheckState, CheckStatus, Run, Stage, Stamp};
use crate::letters::on_one_line;

/// The longest wait before another try, but for what makes those that failed together come apart.
const LONGEST_BACKOFF: Duration = Duration::from_secs(600);
/// The longest of all waits.
const LONGEST_WAIT: Duration = Duration::from_secs(750);
/// Characters of a message that are kept.
const MESSAGE: usize = 512;

/// The reason while an answer is awaited.
pub const RUNNING: &str = "CheckRunning";

/// What is known of a try.
pub enum Found {
    /// Nothing yet.
    Waiting(String),
    Answer(ProbeResult, String),
}

impl Found {
    /// As status has it, of a check and of a migration.
    pub fn kept(self) -> (CheckState, String) {
        let (state, message) = match self {
            Self::Waiting(message) => (CheckState::Waiting, message),
            Self::Answer(ProbeResult::Passed, message) => (CheckState::Passed, message),
            Self::Answer(ProbeResult::Unknown, message) => (CheckState::Unknown, message),
            Self::Answer(ProbeResult::Failed, message) => (CheckState::Failed, message),
        };
        (state, on_one_line(&message).take(MESSAGE).collect())
    }
}

/// What stands in the way at one place.
#[derive(Default)]
pub struct Standing {
    /// The first that has failed, if its failure counts.
    pub failed: Option<CheckStatus>,
    pub waiting: Vec<CheckStatus>,
}

/// Looks at the checks of one place, and sets those going whose time it is. `step`: at which; `None`: before the first pod.
pub fn look(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    planned: &[PlannedCheck],
    step: Option<&str>,
    is_time: impl Fn(&PlannedCheck) -> bool,
) {
    let now = draft.now();
    let run = draft.run();
    // Not before the step, which by a clock that was set back has begun in what is to come.
    let now = run.progress.begun.map_or(now, |begun| begun.max(now));
    let is_here = |known: &CheckStatus| known.step.as_deref() == step;
    run.checks.retain(|known| !is_here(known) || planned.iter().any(|check| check.name == known.name));
    for check in planned {
        let known = run.checks.iter_mut().find(|known| is_here(known) && known.name == check.name);
        match known {
            // The step has begun anew since.
            Some(known) if step.is_some() && known.since < run.progress.begun => begin_again(known, now),
            Some(_) => {}
            None => run.checks.push(CheckStatus {
                name: check.name.clone(),
                step: step.map(str::to_owned),
                state: CheckState::Waiting,
                attempt: 1,
                retried: 0,
                retry_at: None,
                definition: None,
                job: None,
                message: String::new(),
                since: Some(now),
                log: Vec::new(),
            }),
        }
    }
    for check in planned.iter().filter(|check| is_time(check)) {
        look_at(draft, scene, check, step);
    }
}

/// Looks at the Jobs that were made for the checks where the run stands, and begins none: so it may be asked whatever holds the run. One that has ended
/// may be gone by the time that the run goes on.
pub fn look_at_jobs(draft: &mut Draft<'_>, scene: &Scene<'_>, plan: &Plan) {
    // Whether one was made in a look whose status was lost is seen where none is made anyway.
    let is_withheld = draft.release.withheld.is_some();
    let run = draft.run();
    let is_here = |known: &&CheckStatus| match (&known.step, run.stage) {
        (None, Stage::Preflight) => true,
        (Some(_), Stage::Steps) => known.since >= run.progress.begun,
        (None | Some(_), Stage::Preflight | Stage::Steps | Stage::Watch | Stage::Back) => false,
    };
    let is_looked_at = |known: &&CheckStatus| known.state.is_open() && (known.job.is_some() || is_withheld);
    let open: Vec<(String, Option<String>)> = {
        let open = run.checks.iter().filter(is_here).filter(is_looked_at);
        open.map(|known| (known.name.clone(), known.step.clone())).collect()
    };
    for (name, step) in open {
        let planned = plan.checks_at(step.as_deref()).iter().find(|check| check.name == name);
        if let Some(check) = planned.filter(|check| matches!(check.kind, CheckKind::Job(_))) {
            look_at(draft, scene, check, step.as_deref());
        }
    }
}

/// Whether those of a step have begun since the step has.
pub fn have_begun(run: &Run, step: &str) -> bool {
    run.checks.iter().any(|known| known.step.as_deref() == Some(step) && known.since >= run.progress.begun)
}

/// Another try, said by somebody, or because everything begins again.
pub fn begin_again(known: &mut CheckStatus, now: Stamp) {
    known.retried = 0;
    known.retry_at = None;
    known.log = Vec::new();
    another_try(known, now);
}

fn another_try(known: &mut CheckStatus, now: Stamp) {
    known.state = CheckState::Waiting;
    known.attempt = known.attempt.saturating_add(1);
    known.definition = None;
    known.job = None;
    known.since = known.since.max(Some(now));
}

/// Whether what this try asks for has been changed since it began. A signature is bound to the whole plan anyway, and what somebody skipped by
/// its name stays so.
fn has_changed(known: &CheckStatus, check: &PlannedCheck) -> bool {
    let is_another = known.definition.as_ref().is_some_and(|definition| *definition != check.definition);
    is_another && !check.kind.is_signed() && known.state != CheckState::Skipped
}

/// Which try of which check of which run.
pub fn id(run: &Run, known: &CheckStatus) -> ProbeId {
    let check = match &known.step {
        Some(step) => format!("{step}/{}", known.name),
        None => known.name.clone(),
    };
    let definition = known.definition.clone();
    ProbeId { run: run.id.clone(), check, attempt: known.attempt, definition }
}

/// When what was answered is to be asked again.
pub fn due_again(check: &PlannedCheck, answer: &ProbeAnswer, now: Timestamp) -> Option<Timestamp> {
    let long = match answer.result {
        ProbeResult::Unknown => check.every.map_or(ASK_AGAIN, |every| every.min(ASK_AGAIN)),
        ProbeResult::Passed => check.every?,
        ProbeResult::Failed => return None,
    };
    Some(yet_to_come(answer.at, long, now).unwrap_or(now))
}

/// The same for one of them, of which status knows.
pub fn look_at(draft: &mut Draft<'_>, scene: &Scene<'_>, check: &PlannedCheck, step: Option<&str>) {
    let now = draft.now();
    let run = draft.run();
    let place = |known: &CheckStatus| known.name == check.name && known.step.as_deref() == step;
    let Some(index) = run.checks.iter().position(place) else { return };
    // A Job that is under way is let run to its end first: never two of them at once.
    let known = &mut run.checks[index];
    let may_run = known.job.is_some() && known.state.is_open();
    if has_changed(known, check) && !may_run {
        begin_again(known, now);
    }
    known.definition.get_or_insert_with(|| check.definition.clone());
    let known = known.clone();
    let is_over = match known.state {
        CheckState::Failed | CheckState::Skipped => true,
        // Before the first pod a signature may still expire, or what was signed may change.
        CheckState::Passed => check.every.is_none() && !(step.is_none() && check.kind.is_signed()),
        CheckState::Waiting | CheckState::Unknown => false,
    };
    if is_over {
        return;
    }
    if let Some(at) = known.retry_at.filter(|at| *at > now) {
        // The clock may have been set back.
        let at = at.min(Stamp(now.0 + LONGEST_WAIT));
        run.checks[index].retry_at = Some(at);
        return draft.wake_at(at.0);
    }
    run.checks[index].retry_at = None;
    let id = id(run, &known);
    let found = match &check.kind {
        CheckKind::Approval(_) | CheckKind::Attest(_) => {
            let since = match step {
                None => run.started_at.0,
                Some(_) => known.since.map_or(now.0, |since| since.0),
            };
            match approval::of_check(run, check, step, since, Some(now.0)) {
                Some(Signed::Enough { by, until }) => {
                    if let Some(until) = until {
                        draft.wake_at(until);
                    }
                    Found::Answer(ProbeResult::Passed, approval::words(draft.run(), check, step, &by))
                }
                Some(Signed::Lacking(message)) if matches!(check.kind, CheckKind::Attest(_)) => {
                    Found::Answer(ProbeResult::Unknown, message)
                }
                Some(Signed::Lacking(message)) => Found::Waiting(message),
                None => return,
            }
        }
        CheckKind::Job(job) => {
            let this = jobs::Try {
                id,
                label: check.name.clone(),
                timeout: check.timeout,
                job,
                made: known.job,
                since: known.since,
            };
            of_job(draft, scene, this, index).found
        }
        CheckKind::Trial(_) => trial::look(draft, scene, check, index),
        CheckKind::Asked(_) => match scene.snapshot.probes.get(&id) {
            // What passed before a restart stays so until it is answered again.
            None if known.state == CheckState::Passed => return,
            // What the last try said stands until this one is answered.
            None if known.retried > 0 => Found::Waiting(known.message.clone()),
            None => {
                let withheld = draft.release.withheld.as_ref().filter(|_| check.lent);
                Found::Waiting(withheld.map_or_else(|| "asked".to_owned(), Withheld::sentence))
            }
            Some(answer) => {
                if let Some(at) = due_again(check, answer, now.0) {
                    draft.wake_at(at);
                }
                Found::Answer(answer.result, answer.message.clone())
            }
        },
    };
    let (state, message) = found.kept();
    let run = draft.run();
    let known = &mut run.checks[index];
    if state != CheckState::Waiting && has_changed(known, check) {
        known.message = "it was changed meanwhile, and is tried anew".to_owned();
        begin_again(known, now);
        return draft.wake_at(now.0);
    }
    (known.state, known.message) = (state, message);
    if state == CheckState::Failed {
        failed(draft, check, index);
    }
}

/// How the Job of a check stands; what is known of it goes into status.
pub fn of_job(draft: &mut Draft<'_>, scene: &Scene<'_>, this: jobs::Try<'_>, index: usize) -> jobs::Seen {
    let seen = jobs::look(draft, scene, this);
    let now = draft.now();
    let run = draft.run();
    let log = jobs::kept(run, &run.checks[index].log, seen.log.clone());
    let known = &mut run.checks[index];
    known.log = log;
    if known.job != seen.made {
        (known.job, known.since) = (seen.made.clone(), known.since.max(Some(now)));
    }
    // It may have been made in a look whose status was lost, before the check was changed: what it does is what it says itself.
    let job = seen.made.as_ref().and_then(|name| scene.snapshot.jobs.get(name));
    if let Some(definition) = job.and_then(|job| job.definition.clone()) {
        known.definition = Some(definition);
    }
    seen
}

/// The Job of a check that waits for its end, or for what it said, with what is planned.
pub fn open_job(known: &CheckStatus, planned: &[PlannedCheck]) -> Option<(String, Arc<PlannedJob>)> {
    let planned = planned.iter().find(|check| check.name == known.name).filter(|_| known.state.is_open())?;
    match &planned.kind {
        CheckKind::Job(job) => Some((known.job.clone()?, job.clone())),
        // Of one that ended by itself it is wanted why.
        CheckKind::Trial(_) => Some((known.job.clone()?, Arc::new(PlannedJob::keeping_its_log(Value::Null)))),
        CheckKind::Approval(_) | CheckKind::Attest(_) | CheckKind::Asked(_) => None,
    }
}

/// Whether a check is written as it was when this try of it began.
pub fn is_as_it_began(known: &CheckStatus, planned: &[PlannedCheck]) -> bool {
    let planned = planned.iter().find(|check| check.name == known.name);
    planned.is_some_and(|check| known.definition.as_ref() == Some(&check.definition))
}

/// Tried again later, or failed for good.
fn failed(draft: &mut Draft<'_>, check: &PlannedCheck, index: usize) {
    let now = draft.now();
    let run = draft.run();
    let id = id(run, &run.checks[index]);
    let known = &mut run.checks[index];
    let message = format!("check {} failed: {}", id.check, known.message);
    if let Some(retries) = check.retries
        && known.retried < retries.limit
    {
        let wait = backoff(retries.backoff, known.retried, &id);
        let at = Stamp(now.0 + wait);
        another_try(known, now);
        known.retried += 1;
        known.retry_at = Some(at);
        let again =
            format!("tried again ({} of {}); it failed: {}", known.retried, retries.limit, known.message);
        known.message = again.chars().take(MESSAGE).collect();
        return draft.wake_at(at.0);
    }
    draft.notices.push(Notice::warning("CheckFailed", message));
}

/// Twice as long each time, and up to a quarter more, in a way of each check's own: those that failed together do not come again together.
pub fn backoff(first: Duration, tries: i32, id: &ProbeId) -> Duration {
    let doubled = first.saturating_mul(1 << tries.clamp(0, 10)).min(LONGEST_BACKOFF);
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let part = u32::try_from(hasher.finish() % 1000).unwrap_or(0);
    doubled + doubled.mul_f64(f64::from(part) / 4000.0)
}

/// What stands in the way at one place.
pub fn standing(run: &Run, planned: &[PlannedCheck], step: Option<&str>) -> Standing {
    let mut standing = Standing::default();
    for check in planned {
        let place = |known: &&CheckStatus| known.name == check.name && known.step.as_deref() == step;
        let Some(known) = run.checks.iter().find(place) else { continue };
        let counts = check.severity == Severity::Error;
        match known.state {
            CheckState::Failed if counts && standing.failed.is_none() => {
                standing.failed = Some(known.clone());
            }
            CheckState::Waiting => standing.waiting.push(known.clone()),
            CheckState::Unknown if counts => standing.waiting.push(known.clone()),
            CheckState::Failed | CheckState::Unknown | CheckState::Passed | CheckState::Skipped => {}
        }
    }
    standing
}

/// Reason, message and way out for a check that is waited for.
pub fn waited_for(
    draft: &Draft<'_>,
    planned: &[PlannedCheck],
    check: &CheckStatus,
) -> (&'static str, String, String) {
    let message = format!("check {}: {}", check.name, check.message);
    let asks_for = planned.iter().find(|planned| planned.name == check.name);
    if let Some((reason, unblock)) = asks_for.and_then(|planned| approval::asks_for(draft, planned)) {
        return (reason, message, unblock);
    }
    match check.state {
        CheckState::Unknown => {
            let unblock = format!("wait: it is asked again every 15 s, or {}", draft.command(Action::Skip));
            ("CheckUnknown", message, unblock)
        }
        _ => (RUNNING, message, "wait".to_owned()),
    }
}

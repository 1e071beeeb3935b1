//! Jobs of checks, migrations and hooks: made once for each run and try, found again by their names, and judged by how they ended and, where
//! that is asked for, by what they said.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::back;
use super::checks::{self, Found};
use super::decision::Intent;
use super::draft::Draft;
use super::elapsed::yet_to_come;
use super::expression::Expression;
use super::migrations;
use super::needs::ASK_AGAIN;
use super::plan::{Plan, PlanError};
use super::scene::Scene;
use super::snapshot::{
    JobAnswer, JobOutput, JobState, LogEnd, ProbeId, ProbeResult, ReleaseFacts, Snapshot, Unheard,
};
use crate::api::check::{JobCheck, JobLogs, JobResult, ResultFrom};
use crate::api::status::{Run, Stamp};
use crate::api::{CHECK_LABEL, DEFINITION_LABEL, RELEASE_LABEL, digest};

/// For so long a Job that was made may not have been heard of.
const UNHEARD_OF: Duration = Duration::from_secs(30);
/// Jobs that are made in one look: at a slow API server a look with all of them would see nothing else for long.
const MADE_AT_ONCE: usize = 4;
/// The others come soon.
const REST: Duration = Duration::from_secs(1);
/// Seconds for which one that has ended stays at the least. A try to make it that was not answered may be on its way for that long: it finds the name
/// taken, and makes no second one.
const STAYS_FOR: i64 = 180;
/// Seconds after which it goes, where its template does not say.
const GOES_AFTER: i64 = 86_400;
/// Bytes of logs that one run keeps in all.
const KEPT_IN_A_RUN: usize = 64 * 1024;

/// A Job of the user's, understood.
#[derive(Clone, Debug)]
pub struct PlannedJob {
    pub template: Value,
    pub result: Option<JobResult>,
    /// The end of its log is kept.
    pub keeps_log: bool,
    /// Tells it from anything else: the first digits of a digest.
    pub definition: String,
}

impl PlannedJob {
    /// Understands one. `field`: where it is written.
    pub fn of(job: &JobCheck, field: &str) -> Result<Self, PlanError> {
        let JobCheck { template, result, logs } = job;
        if let Some(JobResult { expression, from: _ }) = result {
            Expression::parse(expression, &["result"])
                .map_err(|problem| PlanError { field: format!("{field}.result.expression"), problem })?;
        }
        Ok(Self {
            template: template.clone(),
            result: result.clone(),
            keeps_log: logs.unwrap_or_default() == JobLogs::LastLines,
            definition: digest::short(&serde_json::to_string(job).unwrap_or_default()),
        })
    }

    /// One that nothing is asked of but how it ends.
    pub fn keeping_its_log(template: Value) -> Self {
        Self { template, result: None, keeps_log: true, definition: String::new() }
    }

    /// What is to be read of it, once it has ended: the log, and the termination message.
    fn reads(&self, ended_well: bool) -> (bool, bool) {
        let from = self.result.as_ref().filter(|_| ended_well).map(|result| result.from);
        let log = self.keeps_log || from == Some(ResultFrom::LastLogLine);
        (log, from == Some(ResultFrom::TerminationMessage))
    }
}

/// A Job that has ended, and what is to be read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedJob {
    pub name: String,
    pub log: bool,
    pub termination: bool,
    /// What must hold of it.
    pub result: Option<JobResult>,
}

/// One try of a Job.
pub struct Try<'t> {
    pub id: ProbeId,
    /// What it is for, on its label.
    pub label: String,
    pub timeout: Duration,
    pub job: &'t PlannedJob,
    /// It was made already, and is called so.
    pub made: Option<String>,
    /// Since when.
    pub since: Option<Stamp>,
}

/// How it stands.
pub struct Seen {
    pub found: Found,
    /// It has been made, or is about to be, and is called so.
    pub made: Option<String>,
    /// What is found is that it was refused. Status may have noted it as made in the look in which that was.
    pub is_refused: bool,
    /// The end of its log.
    pub log: Vec<String>,
}

/// How a try stands. Its Job is made once for each run and try; its name says which, so that it is found again after a restart.
/// One that was made and is gone again is not made a second time: what it did it may have done. While what takes rights is withheld none is made, and
/// those that were made are looked at as ever.
pub fn look(draft: &mut Draft<'_>, scene: &Scene<'_>, this: Try<'_>) -> Seen {
    let (name, body) = match stands(draft, scene, &this) {
        Stands::Seen(seen) => return seen,
        Stands::Unmade { name, body } => (name, body),
    };
    if let Some(withheld) = &draft.release.withheld {
        return seen(Found::Waiting(withheld.sentence()), None);
    }
    // Checks may share one.
    let is_same = |intent: &Intent| matches!(intent, Intent::CreateJob { name: known, .. } if *known == name);
    if !draft.intents.iter().any(is_same) {
        let made = draft.intents.iter().filter(|intent| matches!(intent, Intent::CreateJob { .. })).count();
        if made >= MADE_AT_ONCE {
            draft.wake_in(REST);
            return seen(being_made(&name), None);
        }
        draft.intents.push(Intent::CreateJob { name: name.clone(), id: this.id, body });
    }
    seen(being_made(&name), Some(name))
}

/// One of which nothing is kept.
fn seen(found: Found, made: Option<String>) -> Seen {
    Seen { found, made, is_refused: false, log: Vec::new() }
}

/// A try, whether its Job has been made or not.
pub enum Stands {
    Seen(Seen),
    /// What is to be made, and what it is called.
    Unmade {
        name: String,
        body: Value,
    },
}

/// The same for who makes the Job otherwise.
pub fn stands(draft: &mut Draft<'_>, scene: &Scene<'_>, this: &Try<'_>) -> Stands {
    let name = this.made.clone().unwrap_or_else(|| name(draft, &this.id));
    let seen = |found| Stands::Seen(seen(found, Some(name.clone())));
    match scene.snapshot.jobs.get(&name).map(|job| &job.state) {
        Some(JobState::Running) => return seen(Found::Waiting(format!("job {name} is running"))),
        Some(JobState::Succeeded) => return Stands::Seen(ended(draft, scene, this, name, Ok(()))),
        Some(JobState::Failed { message }) => {
            return Stands::Seen(ended(draft, scene, this, name, Err(message)));
        }
        None => {}
    }
    if let Some(refused) =
        scene.snapshot.probes.get(&this.id).filter(|told| told.result != ProbeResult::Passed)
    {
        let found = Found::Answer(refused.result, refused.message.clone());
        return Stands::Seen(Seen { found, made: this.made.clone(), is_refused: true, log: Vec::new() });
    }
    if this.made.is_some() && !may_come(this.since, scene) {
        let message = format!("job {name} is gone, and nobody knows what it did");
        return seen(Found::Answer(ProbeResult::Failed, message));
    }
    match (&this.made, &scene.snapshot.unheard_jobs) {
        (Some(_), Some(Unheard { kind, .. })) => seen(Found::Waiting(format!(
            "job {name} was made, and may run unheard: nothing is heard of kind {kind}"
        ))),
        (Some(_), None) => seen(being_made(&name)),
        (None, _) => Stands::Unmade { body: body(draft, this, &name), name },
    }
}

fn being_made(name: &str) -> Found {
    Found::Waiting(format!("job {name} is being made"))
}

/// Whether a Job that was made then may not have been heard of yet. While Jobs are not heard, none is known to be gone; heard again, all that were made
/// before are known.
pub fn may_come(since: Option<Stamp>, scene: &Scene<'_>) -> bool {
    scene.snapshot.unheard_jobs.is_some() || since.is_none_or(|since| scene.now() < since.0 + UNHEARD_OF)
}

/// It has ended: how it ended counts, then what it said. What cannot be read is Unknown where it counts, and passed over where it is
/// only kept.
fn ended(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    this: &Try<'_>,
    name: String,
    how: Result<(), &String>,
) -> Seen {
    let seen = |found, log| Seen { found, made: Some(name.clone()), is_refused: false, log };
    let output = match (this.job.reads(how.is_ok()), scene.snapshot.outputs.get(&name)) {
        ((false, false), _) => None,
        (_, Some(output)) => Some(output),
        (_, None) => {
            let message = format!("job {name} has ended; what it said is being read");
            return seen(Found::Waiting(message), Vec::new());
        }
    };
    let log = match output.map(|output| &output.log) {
        Some(Ok(end)) if this.job.keeps_log => end.lines.clone(),
        Some(Ok(_) | Err(_)) | None => Vec::new(),
    };
    let unread = match output.map(|output| &output.log) {
        Some(Err(problem)) if this.job.keeps_log => format!(" (its log could not be read: {problem})"),
        Some(Ok(_) | Err(_)) | None => String::new(),
    };
    let (result, message) = match (how, &this.job.result, output) {
        (Err(message), _, _) => {
            let said = log.last().map(|line| format!("; it said: {line}")).unwrap_or_default();
            (ProbeResult::Failed, format!("job {name} failed: {message}{said}{unread}"))
        }
        (Ok(()), Some(result), Some(output)) => {
            let told = output.answer.as_ref().filter(|known| known.to == *result).cloned();
            // What must hold has changed since it was read; it is being read again.
            let told = told.unwrap_or_else(|| answer(result, &output.log, &output.termination));
            // What could not be read is read again then. What was read and says nothing stays so: nothing more comes of looking at it.
            let again = yet_to_come(output.at, ASK_AGAIN, scene.now());
            if let Some(again) = again.filter(|_| told.result == ProbeResult::Unknown) {
                draft.wake_at(again);
            }
            (told.result, format!("job {name} succeeded, {}", told.message))
        }
        (Ok(()), Some(_) | None, _) => (ProbeResult::Passed, format!("job {name} succeeded{unread}")),
    };
    seen(Found::Answer(result, message), log)
}

/// What a Job's words say. They are not repeated here.
pub fn answer(
    to: &JobResult,
    log: &Result<LogEnd, String>,
    termination: &Result<String, String>,
) -> JobAnswer {
    let (result, message) = judged(to, log, termination);
    JobAnswer { to: to.clone(), result, message }
}

fn judged(
    to: &JobResult,
    log: &Result<LogEnd, String>,
    termination: &Result<String, String>,
) -> (ProbeResult, String) {
    let (what, text) = match to.from {
        ResultFrom::LastLogLine => ("the last line of its log", log.as_ref().map(|end| end.last.as_deref())),
        ResultFrom::TerminationMessage => {
            ("its termination message", termination.as_ref().map(|text| Some(text.as_str())))
        }
    };
    let text = match text {
        Err(problem) => return (ProbeResult::Unknown, format!("but {what} could not be read: {problem}")),
        Ok(None) => return (ProbeResult::Failed, format!("but {what} is longer than 64 KiB")),
        Ok(Some(text)) => text,
    };
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        let nothing = if text.trim().is_empty() { "is empty" } else { "is no JSON" };
        let problem = format!("but {what} {nothing}: print the result there, such as {{\"failed\": 0}}");
        return (ProbeResult::Failed, problem);
    };
    let expected = &to.expression;
    let holds = match Expression::parse(expected, &["result"]) {
        Ok(expression) => expression.holds(&[("result", &value)]).map_err(|unsure| unsure.to_string()),
        Err(problem) => Err(problem),
    };
    match holds {
        Ok(true) => (ProbeResult::Passed, format!("and its result is as expected: {expected}")),
        Ok(false) => (ProbeResult::Failed, format!("but its result is not as expected: {expected}")),
        Err(unsure) => (ProbeResult::Unknown, format!("but its result cannot be told: {unsure}")),
    }
}

/// As much of a log as the run has room for beside all others: status is one object, and has an end. `before`: what it keeps of this one already,
/// whose room it takes, so that the answer is the same in each look.
pub fn kept(run: &Run, before: &[String], log: Vec<String>) -> Vec<String> {
    let length = |log: &[String]| log.iter().map(String::len).sum::<usize>();
    let of_checks = run.checks.iter().map(|check| &check.log);
    let of_migrations = migrations::parts(run).map(|part| &part.log);
    let of_hooks = run.back.iter().flat_map(|back| back.hooks.iter().map(|hook| &hook.log));
    let known: usize = of_checks.chain(of_migrations).chain(of_hooks).map(|log| length(log)).sum();
    let others = known.saturating_sub(length(before));
    if others + length(&log) > KEPT_IN_A_RUN { Vec::new() } else { log }
}

/// Jobs that have ended, and of which something is wanted that was not read yet, or could not be. `plan` is asked for only where one has. While what
/// takes rights is withheld, one is read only where it was made as it is written now: to read a log takes a right, too.
pub fn to_read<'p>(
    snapshot: &Snapshot,
    run: &Run,
    release: &ReleaseFacts,
    plan: impl FnOnce() -> Option<&'p Plan>,
) -> Vec<EndedJob> {
    if let Some(back) = &run.back {
        let jobs = back::open_jobs(run, back, release);
        return jobs.iter().filter_map(|(name, job)| wanted(snapshot, name, job)).collect();
    }
    let of_run = || run.checks.iter().filter(|check| check.state.is_open());
    let migrated = migrations::parts(run).filter(|part| part.state.is_open());
    let mut jobs = of_run().filter_map(|check| check.job.as_ref());
    let mut others = migrated.filter_map(|part| part.job.as_ref());
    let has_ended = |job: &String| snapshot.jobs.get(job).is_some_and(|job| job.state != JobState::Running);
    if !jobs.any(has_ended) && !others.any(has_ended) {
        return Vec::new();
    }
    let Some(plan) = plan() else { return Vec::new() };
    let is_withheld = release.withheld.is_some();
    let of_checks = of_run().filter_map(|known| {
        let here = plan.checks_at(known.step.as_deref());
        let (name, job) = checks::open_job(known, here)?;
        let is_read = !is_withheld || checks::is_as_it_began(known, here);
        is_read.then(|| wanted(snapshot, &name, &job)).flatten()
    });
    let of_migrations = migrations::open(run, plan).filter_map(|(name, job)| {
        let made_as = snapshot.jobs.get(name)?.definition.as_ref();
        let is_read = !is_withheld || made_as == Some(&job.definition);
        is_read.then(|| wanted(snapshot, name, job)).flatten()
    });
    of_checks.chain(of_migrations).collect()
}

fn wanted(snapshot: &Snapshot, name: &str, job: &PlannedJob) -> Option<EndedJob> {
    let ended_well = match snapshot.jobs.get(name)?.state {
        JobState::Running => return None,
        JobState::Succeeded => true,
        JobState::Failed { .. } => false,
    };
    let (log, termination) = job.reads(ended_well);
    let result = job.result.clone().filter(|_| ended_well);
    let is_due = match snapshot.outputs.get(name) {
        None => log || termination,
        Some(output) => is_due(output, snapshot.now, (log, termination), result.as_ref()),
    };
    is_due.then(|| EndedJob { name: name.to_owned(), log, termination, result })
}

/// Whether it is to be read again: it could not be read, or something else must hold of it than what was told.
fn is_due(
    output: &JobOutput,
    now: Timestamp,
    (log, termination): (bool, bool),
    result: Option<&JobResult>,
) -> bool {
    let is_unread = (log && output.log.is_err()) || (termination && output.termination.is_err());
    let is_untold = result.is_some() && output.answer.as_ref().map(|known| &known.to) != result;
    (is_unread || is_untold) && yet_to_come(output.at, ASK_AGAIN, now).is_none()
}

/// What the Job of a try is called. A Release that is made anew counts its runs from 1 again, and Jobs of the one before may still be on their
/// way out: so its uid is in it, and what is released.
pub fn name(draft: &Draft<'_>, id: &ProbeId) -> String {
    let canary = draft.status.canary.as_ref().map(|canary| canary.fingerprint.as_str()).unwrap_or_default();
    named(draft.name(), &id.check, &tail(&draft.release.uid, canary, id))
}

fn tail(release_uid: &str, canary: &str, id: &ProbeId) -> String {
    let mut hasher = DefaultHasher::new();
    (release_uid, canary).hash(&mut hasher);
    format!("-{}-{:06x}-{}", id.run, hasher.finish() & 0xff_ffff, id.attempt)
}

/// At most 63 characters: 52 of the Release leave too little for long names of checks. What is cut is told apart by a hash, and so is
/// what has a place in front of its name: `half/smoke` is not the check `half-smoke`.
fn named(release: &str, check: &str, tail: &str) -> String {
    const LONGEST: usize = 63;
    let head = format!("{release}-{}", check.replace(['/', '.'], "-").to_lowercase());
    if head.len() + tail.len() <= LONGEST && !check.contains('/') {
        return format!("{head}{tail}");
    }
    let mut hasher = DefaultHasher::new();
    (release, check).hash(&mut hasher);
    let short: String = head.chars().take(LONGEST.saturating_sub(tail.len() + 7)).collect();
    format!("{}-{:06x}{tail}", short.trim_end_matches('-'), hasher.finish() & 0xff_ffff)
}

fn body(draft: &Draft<'_>, this: &Try<'_>, name: &str) -> Value {
    let template = &this.job.template;
    let mut metadata =
        template.get("metadata").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
    metadata["name"] = json!(name);
    if !metadata["labels"].is_object() {
        metadata["labels"] = json!({});
    }
    metadata["labels"][RELEASE_LABEL] = json!(draft.name());
    metadata["labels"][CHECK_LABEL] = json!(this.label);
    if let Some(definition) = &this.id.definition {
        metadata["labels"][DEFINITION_LABEL] = json!(definition);
    }
    metadata["ownerReferences"] = json!([{
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "name": draft.name(), "uid": draft.release.uid,
        "controller": true, "blockOwnerDeletion": false,
    }]);
    let mut spec = template["spec"].clone();
    if spec["activeDeadlineSeconds"].is_null() {
        spec["activeDeadlineSeconds"] = json!(this.timeout.as_secs().max(1));
    }
    spec["ttlSecondsAfterFinished"] = goes_after(&spec["ttlSecondsAfterFinished"]);
    json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec })
}

/// How many seconds after its end it goes, where this is written. What the API server does not take is for it to refuse.
fn goes_after(written: &Value) -> Value {
    match written.as_i64() {
        None if written.is_null() => json!(GOES_AFTER),
        Some(seconds) if (0..STAYS_FOR).contains(&seconds) => json!(STAYS_FOR),
        None | Some(_) => written.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(from: ResultFrom, expression: &str) -> PlannedJob {
        let result = Some(JobResult { from, expression: expression.to_owned() });
        let job = JobCheck { template: json!({}), result, logs: None };
        PlannedJob::of(&job, "job").expect("understood")
    }

    fn told(job: &PlannedJob, log: Result<Option<&str>, &str>) -> (ProbeResult, String) {
        let log = log.map_err(str::to_owned);
        let log = log.map(|last| LogEnd { last: last.map(str::to_owned), lines: vec![] });
        judged(job.result.as_ref().expect("a result"), &log, &Ok(String::new()))
    }

    #[test]
    fn the_job_of_a_release_that_is_made_anew_has_a_name_of_its_own() {
        let id = ProbeId { run: "r1".into(), check: "tests".into(), attempt: 1, definition: None };
        let name = |uid: &str, canary: &str| named("shop", &id.check, &tail(uid, canary, &id));
        assert_eq!(name("one", "v2"), name("one", "v2"));
        assert_ne!(name("one", "v2"), name("other", "v2"));
        assert_ne!(name("one", "v2"), name("one", "v3"));
        assert!(name("one", "v2").starts_with("shop-tests-r1-"));
    }

    #[test]
    fn a_job_that_has_ended_stays_until_no_try_to_make_it_can_be_on_its_way() {
        let a_day = json!(86_400);
        for (written, wanted) in [
            (Value::Null, &a_day),
            (json!(0), &json!(180)),
            (json!(179), &json!(180)),
            (json!(181), &json!(181)),
            (json!(1_000_000), &json!(1_000_000)),
            (json!(-1), &json!(-1)),
            (json!("soon"), &json!("soon")),
        ] {
            assert_eq!(goes_after(&written), *wanted, "{written}");
        }
    }

    #[test]
    fn a_result_is_judged_and_what_cannot_be_told_never_passes() {
        let job = planned(ResultFrom::LastLogLine, "result.failed == 0");
        for (line, wanted, words) in [
            (Ok(Some("{\"failed\": 0}")), ProbeResult::Passed, "as expected: result.failed == 0"),
            (Ok(Some("{\"failed\": 2}")), ProbeResult::Failed, "not as expected: result.failed == 0"),
            (Ok(Some("done.")), ProbeResult::Failed, "is no JSON: print the result there"),
            (Ok(Some("")), ProbeResult::Failed, "is empty: print the result there"),
            (Ok(None), ProbeResult::Failed, "longer than 64 KiB"),
            (Ok(Some("{}")), ProbeResult::Unknown, "cannot be told: there is no failed"),
            (Ok(Some("{\"failed\": \"no\"}")), ProbeResult::Failed, "not as expected"),
            (Err("its pod is gone"), ProbeResult::Unknown, "could not be read: its pod is gone"),
        ] {
            let (result, message) = told(&job, line);
            assert_eq!(result, wanted, "{line:?}: {message}");
            assert!(message.contains(words), "{message}");
            assert!(!message.contains("done."), "it does not repeat what was said: {message}");
        }
        let (result, message) = told(&planned(ResultFrom::TerminationMessage, "result > 1"), Ok(Some("2")));
        assert_eq!(
            (result, message.contains("its termination message is empty")),
            (ProbeResult::Failed, true)
        );
    }

    #[test]
    fn an_answer_that_was_told_when_it_was_read_is_wanted_again_only_where_something_else_must_hold() {
        let job = planned(ResultFrom::LastLogLine, "result.failed == 0");
        let termination = Ok(String::new());
        let log = Ok(LogEnd { last: Some("{}".to_owned()), lines: Vec::new() });
        let to = job.result.clone().expect("a result");
        let answer = answer(&to, &log, &termination);
        assert_eq!(answer.result, ProbeResult::Unknown);
        let at = Timestamp::UNIX_EPOCH;
        let output = JobOutput { at, log, termination, answer: Some(answer) };
        let long_after = at + ASK_AGAIN + ASK_AGAIN;
        assert!(!is_due(&output, long_after, (true, false), Some(&to)), "nothing more comes of it");
        let other = planned(ResultFrom::LastLogLine, "result.failed < 2").result;
        assert!(!is_due(&output, at, (true, false), other.as_ref()), "at once");
        assert!(is_due(&output, long_after, (true, false), other.as_ref()));
        let unread = JobOutput { log: Err("its pod is gone".to_owned()), ..output };
        assert!(is_due(&unread, long_after, (true, false), Some(&to)));
        let ahead = JobOutput { at: long_after, ..unread };
        assert!(is_due(&ahead, at, (true, false), Some(&to)), "the clock was set back");
    }

    #[test]
    fn what_is_wrong_with_an_expression_is_said_with_its_place() {
        let result = Some(JobResult { from: ResultFrom::LastLogLine, expression: "body == 1".to_owned() });
        let job = JobCheck { template: json!({}), result, logs: None };
        let problem = PlannedJob::of(&job, "spec.preflight[0].job").expect_err("not understood");
        assert_eq!(problem.field, "spec.preflight[0].job.result.expression");
        assert!(problem.problem.contains("there is no body here: it is about result"), "{problem}");
    }

    #[test]
    fn a_log_that_fits_stays_and_one_that_does_not_stays_out_however_often_it_is_asked() {
        let log = || vec!["x".repeat(1024), "y".repeat(1024)];
        for (others, fits) in [(30, true), (31, true), (32, false), (33, false)] {
            let checks: Vec<Value> = (0..=others)
                .map(|number| json!({"name": format!("c{number}"), "state": "Unknown", "log": log()}))
                .collect();
            let mut run: Run = serde_json::from_value(json!({
                "id": "r1", "number": 1, "startedAt": "2027-01-15T08:00:00Z", "originals": {}, "stage": "Preflight",
                "checks": checks,
            }))
            .expect("a run");
            run.checks[0].log = Vec::new();
            for look in 0..4 {
                run.checks[0].log = kept(&run, &run.checks[0].log, log());
                assert_eq!(!run.checks[0].log.is_empty(), fits, "{others} others, look {look}");
            }
        }
    }

    #[test]
    fn jobs_of_different_checks_have_different_names() {
        let tail = "-r12-abcdef-3";
        assert_eq!(named("shop", "half-smoke", tail), "shop-half-smoke-r12-abcdef-3");
        assert_ne!(named("shop", "half/smoke", tail), named("shop", "half-smoke", tail));
        assert_ne!(named("shop", "a/b-c", tail), named("shop", "a-b/c", tail));
        let long = named(&"s".repeat(52), &"c".repeat(63), tail);
        assert!(long.len() <= 63 && long.ends_with(tail), "{long}");
    }
}

//! Migrations of a run: in their order, one after the other. Those that expand, and irreversible ones, before the first pod and after all
//! checks; those that contract after the watch has ended well. None is ever undone.
//!
//! That one begins is noted in status before its Job is made: whoever takes the run up again knows that the way back may be barred. Once
//! an irreversible one has begun, whatever would go back by itself stands still instead; what a person says or writes goes back
//! all the same.

use std::time::Duration;

use jiff::Timestamp;

use super::back;
use super::decision::Notice;
use super::draft::Draft;
use super::evidence::shortened;
use super::fields::Wanted;
use super::gate;
use super::jobs::{self, PlannedJob};
use super::locks;
use super::plan::{Plan, PlanError};
use super::rest;
use super::scene::Scene;
use super::snapshot::{JobState, ProbeId, Unheard};
use super::soak;
use super::unheard;
use super::watching;
use crate::api::migration::{Migration, MigrationKind};
use crate::api::status::{Cause, CheckState, JobStatus, MigrationStatus, Run, Said, Stage, Stamp};
use crate::api::text::Span;
use crate::api::{Action, Phase};
use crate::letters::on_one_line;

/// The reason while nothing goes back by itself any more, and something would.
pub const IRREVERSIBLE: &str = "Irreversible";
/// ... while one runs,
pub const RUNNING: &str = "MigrationRunning";
/// ... when one has failed,
pub const FAILED: &str = "MigrationFailed";
/// ... when it cannot be told how one ended.
pub const UNKNOWN: &str = "MigrationUnknown";

/// How long a try may take, where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(600);
/// What is decided in one look and done in the next is done after so long.
const NOTED: Duration = Duration::from_millis(200);
/// Characters of a message that are kept.
const MESSAGE: usize = 512;

/// A migration, understood.
#[derive(Clone, Debug)]
pub struct PlannedMigration {
    pub name: String,
    pub kind: MigrationKind,
    pub timeout: Duration,
    pub job: PlannedJob,
    pub verify: Option<PlannedJob>,
}

/// Understands migrations.
pub fn understood(written: &[Migration]) -> Result<Vec<PlannedMigration>, PlanError> {
    let one = |(index, migration): (usize, &Migration)| {
        let Migration { name, kind, job, timeout, verify } = migration;
        let field = |name: &str| format!("spec.migrations[{index}].{name}");
        let span = |text: &Span| {
            let problem = "write 90s, 15m, 1h30m or 48h".to_owned();
            text.parse().ok_or_else(|| PlanError { field: field("timeout"), problem })
        };
        Ok(PlannedMigration {
            name: name.clone(),
            kind: *kind,
            timeout: timeout.as_ref().map_or(Ok(TIMEOUT), span)?,
            job: PlannedJob::of(job, &field("job"))?,
            verify: verify.as_ref().map(|job| PlannedJob::of(job, &field("verify"))).transpose()?,
        })
    };
    written.iter().enumerate().map(one).collect()
}

/// The two Jobs of a migration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Work,
    Verify,
}

impl PlannedMigration {
    /// Before the first pod; else after the watch.
    fn comes_first(&self) -> bool {
        match self.kind {
            MigrationKind::Expand | MigrationKind::Irreversible => true,
            MigrationKind::Contract => false,
        }
    }

    fn part(&self, part: Part) -> Option<&PlannedJob> {
        match part {
            Part::Work => Some(&self.job),
            Part::Verify => self.verify.as_ref(),
        }
    }

    fn is_done(&self, run: &Run) -> bool {
        let is_over = |state| matches!(state, CheckState::Passed | CheckState::Skipped);
        run.migrations.iter().find(|known| known.name == self.name).is_some_and(|known| {
            let verified = || known.verify.as_ref().is_some_and(|verify| is_over(verify.state));
            match known.work.state {
                CheckState::Skipped => true,
                CheckState::Passed => self.verify.is_none() || verified(),
                CheckState::Waiting | CheckState::Failed | CheckState::Unknown => false,
            }
        })
    }
}

/// How long those take at most that are still to come before the first pod.
pub fn longest(plan: &Plan, run: Option<&Run>) -> Duration {
    let is_done = |planned: &PlannedMigration| run.is_some_and(|run| planned.is_done(run));
    let ahead = plan.migrations.iter().filter(|planned| planned.comes_first() && !is_done(planned));
    ahead.fold(Duration::ZERO, |sum, planned| {
        sum.saturating_add(planned.timeout * if planned.verify.is_some() { 2 } else { 1 })
    })
}

/// What is said of irreversible ones before they begin; nothing where there are none.
fn warning(plan: &Plan) -> Option<String> {
    let names: Vec<&str> = plan
        .migrations
        .iter()
        .filter(|planned| planned.kind == MigrationKind::Irreversible)
        .map(|planned| planned.name.as_str())
        .collect();
    let (what, its) = match names.as_slice() {
        [] => return None,
        [one] => (format!("migration {one} is irreversible"), "its start"),
        [..] => (format!("migrations {} are irreversible", names.join(", ")), "the start of the first"),
    };
    Some(format!("{what}: from {its} on nothing goes back by itself, only when somebody says abort"))
}

/// A run begins: what is irreversible in it is told, and noted.
pub fn foretell(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let Some(words) = scene.plan.ok().and_then(warning) else { return };
    let run = draft.run();
    let note = format!("run {}: {words}", run.id);
    run.notes.push(words);
    draft.notices.push(Notice::warning("IrreversibleAhead", note));
}

/// What the run waits for before the first pod says it too, for as long as there is time.
pub fn remind(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let Some(words) = scene.plan.ok().and_then(warning) else { return };
    let is_time = |run: &Run| run.stage == Stage::Preflight && barrier(run).is_none();
    if !draft.status.run.as_ref().is_some_and(is_time) {
        return;
    }
    let Some(blocker) = &mut draft.status.blocked_by else { return };
    let before = blocker.message.clone();
    blocker.message = shortened(&format!("{before}. Ahead: {words}"));
    if let Some(summary) = draft.status.summary.as_mut().filter(|summary| summary.message == before) {
        summary.message.clone_from(&blocker.message);
    }
}

/// The migration that has begun and bars the way back.
pub fn barrier(run: &Run) -> Option<&MigrationStatus> {
    run.migrations.iter().find(|known| known.begun.is_some() && known.kind.bars_the_way_back())
}

/// Somebody has said that it goes on all the same, from where it cannot go back by itself. Who skipped something else, a soak for one, has not.
pub fn is_passed_over(run: &Run) -> bool {
    barrier(run).is_some() && run.progress.skipped_barrier
}

/// Stands still where it would go back by itself and must not. False: it may.
pub fn hold_instead(draft: &mut Draft<'_>, scene: &Scene<'_>, cause: Cause, message: &str) -> bool {
    let is_of_people = match cause {
        Cause::Abort | Cause::Reverted | Cause::Superseded => true,
        Cause::Breach
        | Cause::Undecided
        | Cause::PodsFailing
        | Cause::OldPodsRemain
        | Cause::CheckFailed
        | Cause::NoReplicas
        | Cause::TooMany => false,
    };
    let run = draft.run();
    let (id, stage) = (run.id.clone(), run.stage);
    let Some(barrier) = barrier(run).filter(|_| !is_of_people) else { return false };
    let since = barrier.begun.map(|begun| format!(" at {:.0}", begun.0)).unwrap_or_default();
    let message = message.trim_end_matches('.');
    let message = shortened(&format!(
        "{message}. It does not go back by itself: migration {} ({:?}) has begun{since}",
        barrier.name, barrier.kind
    ));
    let_others_go_first(run);
    if let Ok(originals) = scene.originals.clone() {
        let kept = scene.kept(&scene.stable_fingerprint).map(|(name, _)| name);
        let wanted = match (stage, kept) {
            (Stage::Watch, _) => rest::at_rest_fields(scene.capture, &originals),
            (Stage::Preflight, Some(stable)) => rest::held_fields(scene, &originals, stable),
            (Stage::Steps | Stage::Back, Some(stable)) => Wanted::still(&originals, stable, scene.on_delete),
            (Stage::Preflight | Stage::Steps | Stage::Back, None) => Wanted::frozen(&originals),
        };
        draft.want(scene.target, &wanted, "stand still: an irreversible migration has begun");
    }
    match (scene.written, stage) {
        (_, Stage::Steps) => soak::rest(draft),
        // A Job that ends meanwhile goes some time after: how it ended is seen now.
        (Some(plan), Stage::Preflight | Stage::Watch) => look(draft, scene, plan),
        (Some(_) | None, Stage::Preflight | Stage::Watch | Stage::Back) => {}
    }
    tell(draft, &id, &message);
    let abort = format!("{} (goes back all the same)", draft.command(Action::Abort));
    let on = if cause == Cause::NoReplicas {
        draft.kubectl(&format!("scale deployment/{} --replicas=...", scene.target.name))
    } else {
        format!("{} (goes on)", draft.command(Action::Skip))
    };
    draft.wake_in(rest::LOOK_AGAIN);
    draft.held(IRREVERSIBLE, message, format!("{abort}, or {on}"));
    true
}

/// Where somebody has said that it goes on all the same, what it waits for and cannot do without. The run is not held: it goes on once that is there.
pub fn say_that_it_waits(draft: &mut Draft<'_>, message: &str) {
    let id = draft.run().id.clone();
    let message = shortened(&format!(
        "{}. The run was told to go on, waits for them, and does not go back by itself",
        message.trim_end_matches('.')
    ));
    tell(draft, &id, &message);
    let abort = draft.command(Action::Abort);
    draft.blocked(
        IRREVERSIBLE,
        message,
        format!("{abort} (goes back all the same), or push a version that starts"),
    );
}

/// Once, however long it stays so.
fn tell(draft: &mut Draft<'_>, id: &str, message: &str) {
    let is_new = draft.release.status.blocked_by.as_ref().is_none_or(|known| known.reason != IRREVERSIBLE);
    if is_new {
        draft.notices.push(Notice::warning(IRREVERSIBLE, format!("run {id}: {message}")));
    }
}

/// Looks at Jobs that were made. Begins none: so it may be asked whatever holds the run.
pub fn look(draft: &mut Draft<'_>, scene: &Scene<'_>, plan: &Plan) {
    // Whether one was made in a look whose status was lost is seen where none is made anyway.
    let is_withheld = draft.release.withheld.is_some();
    for planned in &plan.migrations {
        for part in [Part::Work, Part::Verify] {
            let known = of(draft.run(), &planned.name, part);
            if known.is_some_and(|known| known.job.is_some() || is_withheld) {
                look_at(draft, scene, planned, part);
            }
        }
    }
}

/// Those before the first pod, one after the other. True: all are done. Else it says what is waited for.
pub fn before_the_first_pod(draft: &mut Draft<'_>, scene: &Scene<'_>, plan: &Plan) -> bool {
    forward(draft, scene, plan, true)
}

/// Those after the watch. True: all are done.
pub fn after_the_watch(draft: &mut Draft<'_>, scene: &Scene<'_>, plan: &Plan) -> bool {
    let Some((next, has_begun)) = next_after_the_watch(plan, draft.run()) else { return true };
    if !has_begun && let Some(mut hold) = gate::before_a_move(scene.snapshot, plan, draft.run()) {
        hold.message =
            shortened(&format!("the watch is over and migration {} waits: {}", next.name, hold.message));
        draft.wake_in(rest::LOOK_AGAIN);
        draft.held_by(hold);
        let_others_go_first(draft.run());
        return false;
    }
    if !locks::are_held(draft, scene, &plan.locks, Phase::Watching) || goes_on_once_noted(draft, next) {
        return false;
    }
    forward(draft, scene, plan, false)
}

/// A newer template was taken back, and status is of before: whoever finds it so, and another newer one, takes it that nothing has been ordered since the
/// first. So nothing is, until that is written.
fn goes_on_once_noted(draft: &mut Draft<'_>, next: &PlannedMigration) -> bool {
    let known = draft.release.status.run.as_ref();
    if known.is_none_or(|run| run.overtaken_since.is_none()) {
        return false;
    }
    draft.wake_in(NOTED);
    let message = format!("the newer template was taken back; migration {} comes next", next.name);
    draft.phase(Phase::Watching, message.clone());
    draft.blocked(RUNNING, message, "wait");
    true
}

/// The first of those after the watch that is not done, and whether it has begun.
fn next_after_the_watch<'p>(plan: &'p Plan, run: &Run) -> Option<(&'p PlannedMigration, bool)> {
    let next = plan.migrations.iter().find(|planned| !planned.comes_first() && !planned.is_done(run))?;
    Some((next, run.migrations.iter().any(|known| known.name == next.name)))
}

/// Whether one after the watch may begin within so long.
pub fn may_begin_after_the_watch_within(time: Duration, now: Timestamp, plan: &Plan, run: &Run) -> bool {
    next_after_the_watch(plan, run).is_some_and(|(_, has_begun)| !has_begun)
        && watching::may_end_within(time, now, plan, run)
}

/// Nobody waits for a run that waits for something else: it gives its place in the queue up, and after the watch locks under which nothing has begun,
/// too. Others it keeps.
pub fn let_others_go_first(run: &mut Run) {
    match run.stage {
        Stage::Watch => {
            let has_begun = run.migrations.iter().any(|known| known.kind == MigrationKind::Contract);
            locks::give_up(run, has_begun);
        }
        Stage::Preflight | Stage::Steps | Stage::Back => locks::leave_queue(run),
    }
}

fn forward(draft: &mut Draft<'_>, scene: &Scene<'_>, plan: &Plan, first: bool) -> bool {
    let planned = plan.migrations.iter().filter(|planned| planned.comes_first() == first);
    let Some(planned) = planned.into_iter().find(|planned| !planned.is_done(draft.run())) else {
        return true;
    };
    draft.wake_in(rest::LOOK_AGAIN);
    let phase = if first { Phase::Preflight } else { Phase::Watching };
    let now = draft.now();
    let run = draft.run();
    if !run.migrations.iter().any(|known| known.name == planned.name) {
        let id = run.id.clone();
        run.migrations.push(MigrationStatus {
            name: planned.name.clone(),
            kind: planned.kind,
            begun: Some(now),
            work: waiting(1, now),
            verify: None,
        });
        let note = format!("run {id}: migration {} ({:?}) begins", planned.name, planned.kind);
        draft.notices.push(match planned.kind.bars_the_way_back() {
            true => Notice::warning("MigrationBegins", note),
            false => Notice::normal("MigrationBegins", note),
        });
        // Its Job is made once this is written.
        draft.wake_in(NOTED);
        let message = format!("migration {} begins", planned.name);
        draft.phase(phase, message.clone());
        draft.blocked(RUNNING, message, "wait");
        return false;
    }
    look_at(draft, scene, planned, Part::Work);
    let known = of(draft.run(), &planned.name, Part::Work);
    if planned.verify.is_some() && known.is_some_and(|known| known.state == CheckState::Passed) {
        let known = draft.run().migrations.iter_mut().find(|known| known.name == planned.name);
        if let Some(known) = known {
            known.verify.get_or_insert_with(|| waiting(1, now));
        }
        look_at(draft, scene, planned, Part::Verify);
    }
    if planned.is_done(draft.run()) {
        draft.wake_in(NOTED);
        draft.phase(phase, format!("migration {} is done", planned.name));
        return match first {
            true => forward(draft, scene, plan, true),
            // Windows and freezes hold each that has not begun.
            false => after_the_watch(draft, scene, plan),
        };
    }
    stand_by(draft, planned, phase);
    false
}

/// Says what one is waited for, or why it is not gone on from.
fn stand_by(draft: &mut Draft<'_>, planned: &PlannedMigration, phase: Phase) {
    let run = draft.run();
    let open = [Part::Verify, Part::Work].into_iter().find_map(|part| {
        let known = of(run, &planned.name, part)?;
        (known.state != CheckState::Passed).then(|| (part, known.clone()))
    });
    let Some((part, known)) = open else { return };
    let what = match part {
        Part::Work => format!("migration {}", planned.name),
        Part::Verify => format!("migration {}, verify", planned.name),
    };
    let message = format!("{what}: {}", known.message);
    let ways = |draft: &Draft<'_>| {
        [Action::Retry, Action::Skip, Action::Abort].map(|action| draft.command(action)).join(", or ")
    };
    match known.state {
        CheckState::Failed => {
            let unblock = ways(draft);
            draft.held(FAILED, message, unblock);
        }
        CheckState::Unknown => {
            let unblock = format!("wait: it is read again every 15 s, or {}", ways(draft));
            draft.held(UNKNOWN, message, unblock);
        }
        CheckState::Waiting | CheckState::Passed | CheckState::Skipped => {
            draft.phase(phase, message.clone());
            draft.blocked(RUNNING, message, "wait");
        }
    }
}

fn waiting(attempt: i32, now: Stamp) -> JobStatus {
    JobStatus {
        state: CheckState::Waiting,
        attempt,
        job: None,
        message: String::new(),
        since: Some(now),
        log: Vec::new(),
    }
}

fn of<'r>(run: &'r mut Run, name: &str, part: Part) -> Option<&'r mut JobStatus> {
    let known = run.migrations.iter_mut().find(|known| known.name == name)?;
    match part {
        Part::Work => Some(&mut known.work),
        Part::Verify => known.verify.as_mut(),
    }
}

/// Which try it is, whatever it is defined as: its Job is called by that.
fn try_of(run: &str, migration: &str, part: Part, attempt: i32) -> ProbeId {
    // A step has no upper case letters in its name: no check is called so.
    let check = match part {
        Part::Work => format!("Migration/{migration}"),
        Part::Verify => format!("Migration/{migration}/verify"),
    };
    ProbeId { run: run.to_owned(), check, attempt, definition: None }
}

/// Whether status says that this try has begun.
fn is_noted(draft: &mut Draft<'_>, name: &str, part: Part, attempt: i32) -> bool {
    let id = draft.run().id.clone();
    let noted = draft.release.status.run.as_ref().filter(|run| run.id == id);
    let noted = noted.and_then(|run| run.migrations.iter().find(|known| known.name == name));
    let part = noted.and_then(|noted| match part {
        Part::Work => Some(&noted.work),
        Part::Verify => noted.verify.as_ref(),
    });
    part.is_some_and(|noted| noted.attempt == attempt)
}

/// Looks at one Job; makes it where it has not been made, once that it begins is in status.
fn look_at(draft: &mut Draft<'_>, scene: &Scene<'_>, planned: &PlannedMigration, part: Part) {
    let run = draft.run();
    let id = run.id.clone();
    let (Some(known), Some(job)) = (of(run, &planned.name, part).cloned(), planned.part(part)) else {
        return;
    };
    if !known.state.is_open() {
        return;
    }
    // Whoever takes the run up after a kill has to know of its Job.
    if known.job.is_none() && !is_noted(draft, &planned.name, part, known.attempt) {
        if let Some(known) = of(draft.run(), &planned.name, part) {
            known.message = "begins".to_owned();
        }
        return draft.wake_in(NOTED);
    }
    let label = match part {
        Part::Work => format!("migration.{}", planned.name),
        Part::Verify => format!("migration.{}.verify", planned.name),
    };
    let this = jobs::Try {
        id: ProbeId {
            definition: Some(job.definition.clone()),
            ..try_of(&id, &planned.name, part, known.attempt)
        },
        label,
        timeout: planned.timeout,
        job,
        made: known.job.clone(),
        since: known.since,
    };
    let jobs::Seen { found, made, is_refused: _, log } = jobs::look(draft, scene, this);
    let (state, message) = found.kept();
    let now = draft.now();
    let run = draft.run();
    let log = jobs::kept(run, &known.log, log);
    let Some(known) = of(run, &planned.name, part) else { return };
    if known.job != made {
        (known.job, known.since) = (made, Some(now));
    }
    (known.state, known.message, known.log) = (state, message, log);
    if state == CheckState::Failed {
        let note = format!("run {id}: migration {} failed: {}", planned.name, known.message);
        draft.notices.push(Notice::warning(FAILED, note));
    }
    if planned.is_done(draft.run()) {
        let note = format!("run {id}: migration {} is done", planned.name);
        draft.notices.push(Notice::normal("MigrationDone", note));
    }
}

/// A Job of a migration that what goes on after it waits for.
pub struct Awaited {
    pub message: String,
    pub unblock: String,
}

/// A Job of a migration that is made, or about to be, and has not ended: what goes on after it waits for its end. Whether one is made need not be in
/// status yet: a look may have made it and been killed, or not been answered.
pub fn still_running(draft: &Draft<'_>, scene: &Scene<'_>) -> Option<Awaited> {
    let run = draft.status.run.as_ref()?;
    run.migrations.iter().find_map(|migration| {
        let parts = [(Part::Work, Some(&migration.work)), (Part::Verify, migration.verify.as_ref())];
        parts.into_iter().find_map(|(part, known)| {
            let known = known?;
            let is_begun = known.state == CheckState::Waiting;
            let called = || jobs::name(draft, &try_of(&run.id, &migration.name, part, known.attempt));
            let job = known.job.clone().or_else(|| is_begun.then(called))?;
            awaited(draft, scene, run, &job, known)
        })
    })
}

fn awaited(draft: &Draft<'_>, scene: &Scene<'_>, run: &Run, job: &str, known: &JobStatus) -> Option<Awaited> {
    let snapshot = scene.snapshot;
    let (how, unblock) = match snapshot.jobs.get(job).map(|job| &job.state) {
        Some(JobState::Running) => {
            let delete = draft.kubectl(&format!("delete job {job}"));
            ("is still running".to_owned(), format!("wait, or {delete}"))
        }
        Some(JobState::Succeeded | JobState::Failed { .. }) => return None,
        None if known.state != CheckState::Waiting => return None,
        None if !jobs::may_come(tried_at(run, known), scene) => return None,
        None => match &snapshot.unheard_jobs {
            Some(Unheard { kind, .. }) => (
                format!("may run unheard: nothing is heard of kind {kind}"),
                unheard::unblock(draft, Action::HandBack),
            ),
            None => ("may have been made, and is not seen yet".to_owned(), "wait".to_owned()),
        },
    };
    Some(Awaited { message: format!("job {job} of a migration {how}"), unblock })
}

/// A newer template has come in the watch: no Job is made any more. Since when is noted where one may have been made that no answer said is.
pub fn note_overtaken(draft: &mut Draft<'_>) {
    let now = draft.now();
    let run = draft.run();
    if parts(run).any(|part| part.state == CheckState::Waiting && part.job.is_none()) {
        run.overtaken_since.get_or_insert(now);
    }
}

/// When its Job may have been ordered last. One that no answer said is made may have been ordered in each look since, until the run went back, or a newer
/// template came in the watch.
fn tried_at(run: &Run, known: &JobStatus) -> Option<Stamp> {
    let ended = run.back.as_ref().map(|back| back.decided_at).or(run.overtaken_since);
    let ordered_until = ended.filter(|_| known.job.is_none());
    known.since.map(|since| ordered_until.map_or(since, |until| until.max(since)))
}

/// The Jobs of all migrations that have begun.
pub fn parts(run: &Run) -> impl Iterator<Item = &JobStatus> {
    run.migrations.iter().flat_map(|known| std::iter::once(&known.work).chain(&known.verify))
}

/// Jobs of migrations that wait for their end, or for what they said, each with what is planned.
pub fn open<'r>(run: &'r Run, plan: &'r Plan) -> impl Iterator<Item = (&'r str, &'r PlannedJob)> {
    let of_one = |known: &'r MigrationStatus| {
        let planned = plan.migrations.iter().find(|planned| planned.name == known.name);
        let parts = [(Part::Work, Some(&known.work)), (Part::Verify, known.verify.as_ref())];
        parts.into_iter().filter_map(move |(part, known)| {
            let known = known.filter(|known| known.state.is_open())?;
            Some((known.job.as_deref()?, planned?.part(part)?))
        })
    };
    run.migrations.iter().flat_map(of_one)
}

/// One that has failed, or of which nobody knows how it ended, is tried again. Its name.
pub fn retry(run: &mut Run, now: Stamp) -> Option<String> {
    let (name, part) = stuck(run)?;
    *part = waiting(part.attempt.saturating_add(1), now);
    Some(name.to_owned())
}

/// One that has failed, or of which nobody knows how it ended, counts as done. Its name.
pub fn skip(run: &mut Run, said: &Said) -> Option<String> {
    let (name, part) = stuck(run)?;
    part.state = CheckState::Skipped;
    let message = format!("skipped by {}: {}; {}", said.by, said.reason, part.message);
    part.message = on_one_line(&message).take(MESSAGE).collect();
    Some(name.to_owned())
}

/// The first part that has failed, or of which nobody knows how it ended, with the name of its migration.
fn stuck(run: &mut Run) -> Option<(&str, &mut JobStatus)> {
    run.migrations.iter_mut().find_map(|known| {
        let MigrationStatus { name, work, verify, .. } = known;
        let mut parts = std::iter::once(work).chain(verify);
        let is_stuck = |part: &&mut JobStatus| matches!(part.state, CheckState::Failed | CheckState::Unknown);
        Some((name.as_str(), parts.find(is_stuck)?))
    })
}

/// A run ends otherwise than well: what its migrations leave is noted.
pub fn note_what_stays(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let left_out: Vec<String> = match scene.plan {
        Ok(plan) if draft.run().all_since.is_some() => {
            let never = plan.migrations.iter().filter(|planned| !planned.is_done(draft.run()));
            never.map(|planned| planned.name.clone()).collect()
        }
        Ok(_) | Err(_) => Vec::new(),
    };
    let run = draft.run();
    let begun: Vec<&str> = run.migrations.iter().map(|known| known.name.as_str()).collect();
    let mut notes = Vec::new();
    if !begun.is_empty() {
        notes.push(format!("going back undoes no migration; begun were: {}", begun.join(", ")));
    }
    if !left_out.is_empty() {
        notes.push(format!("migrations that were not run: {}", left_out.join(", ")));
    }
    let room = back::MOST_NOTES.saturating_sub(run.notes.len());
    notes.retain(|note| !run.notes.contains(note));
    run.notes.extend(notes.into_iter().take(room));
}

//! No run is under way: adopting a Deployment, keeping it as its owner wrote it, holding what may not start, starting a run.

use std::time::Duration;

use super::back::{self, GoingBack};
use super::conditions;
use super::decision::{Awaited, Intent, Notice, Owner};
use super::draft::Draft;
use super::fields::{Originals, Wanted, guarded, lent, managed_no_more, parked};
use super::migrations;
use super::orphan::{self, TakenUp};
use super::overwriting;
use super::pace::{Pace, Stand};
use super::rights;
use super::scene::{Scene, revision};
use super::snapshot::{Labelled, StoredTemplate, Workload};
use super::unheard;
use super::workload;
use crate::api::status::{Memory, Progress, RevisionStatus, Run, Stage};
use crate::api::undo::ValidationResult;
use crate::api::{Action, Authors, CaptureMode, Outcome, Phase, ReleaseStatus, STABLE};

const STABLE_SERVES: &str = "stable serves; waiting for a new template";

/// There is no such Deployment.
pub fn target_missing(draft: &mut Draft<'_>) {
    if let (Err(problem), None) = (&draft.release.spec, &draft.status.run) {
        let problem = format!("spec {problem}");
        draft.phase(Phase::Idle, problem.clone());
        return draft.blocked("InvalidSpec", problem, draft.edit());
    }
    let name = draft.release.spec.as_ref().map_or_else(|_| "?".into(), |spec| spec.target_ref.name.clone());
    back::end_without_target(draft, "the Deployment was deleted");
    forget(draft);
    draft.status.target_uid = None;
    let message = format!("there is no Deployment {name} in namespace {}", draft.snapshot.key.namespace);
    draft.phase(Phase::Idle, message.clone());
    draft.blocked("TargetMissing", message, format!("create Deployment {name}"));
}

/// A Deployment deleted and made anew is another one: nothing that was known about the old one counts, but which templates were rejected.
pub fn note_target(draft: &mut Draft<'_>, target: &Workload) {
    if draft.status.target_uid.as_ref() == Some(&target.uid) {
        return;
    }
    if draft.status.target_uid.is_some() {
        back::end_without_target(draft, "the Deployment was deleted and made anew");
        forget(draft);
    }
    draft.status.target_uid = Some(target.uid.clone());
}

fn forget(draft: &mut Draft<'_>) {
    let stable = draft.status.stable.take();
    // What has come with a Deployment made anew is not what the next one is held against.
    draft.status.former = draft.status.former.take().or(stable);
    draft.status.canary = None;
    draft.status.replicas = None;
    draft.status.step = None;
    draft.status.verdicts.clear();
}

/// What to do while no run is under way.
pub fn decide(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    super::actions::apply(draft, scene);
    if draft.status.run.is_some() {
        return;
    }
    if let Some(said) = &draft.status.handed_back {
        let message = format!("{} handed the Deployment back: {}", said.by, said.reason);
        draft.phase(Phase::Idle, message.clone());
        draft.blocked("HandedBack", message, draft.command(Action::Resume));
        return leave_nothing(draft, scene);
    }
    if scene.target.release_label.as_deref() != Some(draft.name()) {
        if scene.target.label_unseen {
            draft.wake_in(Labelled::UNSEEN);
        } else {
            let wanted = Wanted::adopted(scene.target).labelled(Some(draft.name().to_owned()));
            draft.want(scene.target, &wanted, "adopt");
        }
        // What nobody has had in hand is known in the same look: the order fails when it is not as it was seen.
        let is_untouched =
            draft.status.stable.is_none() && scene.target.stable.is_none() && !parked(scene.target);
        if !is_untouched {
            return draft.phase(Phase::Idle, format!("adopting Deployment {}", scene.target.name));
        }
    }
    let originals = match &scene.originals {
        Ok(originals) => originals.clone(),
        Err(lost) => return originals_lost(draft, scene.target, lost),
    };
    if draft.status.stable.is_none() {
        first(draft, scene, &originals);
    } else if scene.at_stable() {
        at_rest(draft, scene, &originals);
    } else {
        changed(draft, scene, &originals);
    }
}

/// It was handed back as it was known then. Where it was labelled and that had not been heard of yet, a new template is held all the same: what is ours goes, when
/// it is seen.
fn leave_nothing(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let is_ours = scene.target.release_label.as_deref() == Some(draft.name()) || scene.target.held_by_us();
    if let Some(originals) = scene.originals.as_ref().ok().filter(|_| is_ours) {
        let wanted = Wanted::given_back(originals).labelled(None);
        draft.want(scene.target, &wanted, "leave nothing on a Deployment that was handed back");
    }
}

pub fn originals_lost(draft: &mut Draft<'_>, target: &Workload, lost: &str) {
    let message = format!("the Deployment is parked and {lost}: its owner's fields cannot be told");
    draft.phase(Phase::Held, message.clone());
    let edit = draft.kubectl(&format!("edit deployment/{}", target.name));
    let unblock = format!(
        "write the owner's spec.strategy, minReadySeconds, progressDeadlineSeconds and paused back: {edit}"
    );
    draft.blocked("OriginalsLost", message, unblock);
}

/// No stable revision is known yet. What the Deployment runs becomes stable once all of it stands; until then nothing is held.
fn first(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals) {
    let target = scene.target;
    if let Some(noted) = GoingBack::noted(scene.snapshot, target, originals) {
        let way = GoingBack { capacity: scene.capacity, ..noted };
        if parked(target) || !way.is_at_stable() {
            // Status was lost in mid-run, or a newer template came while an earlier Release went back; the Deployment itself remembers
            // what is stable.
            let (revision, kept) = way.stable;
            draft.status.stable = Some(RevisionStatus {
                revision: revision.to_owned(),
                fingerprint: kept.fingerprint.clone(),
                ..RevisionStatus::default()
            });
            draft.phase(Phase::Held, "taking up where an earlier Release left off");
            return;
        }
        if !way.is_over() {
            return take_up_way_back(draft, &way);
        }
        if put_what_is_owed(draft, &GoingBack { on_delete: scene.on_delete, ..way }) {
            return;
        }
    } else if parked(target) {
        draft.want(target, &Wanted::frozen(originals), "stand still");
        let lost = match &target.stable {
            Some(name) => scene.snapshot.stable_is_lost(name),
            None => format!("annotation {STABLE}, which names the stable template, is gone"),
        };
        return draft.held(
            "StableTemplateLost",
            format!("an earlier Release left the Deployment in mid-run, and {lost}"),
            draft.command(Action::HandBack),
        );
    }
    let given_back = Wanted::given_back(originals);
    if target.stable.is_some() && !draft.want(target, &given_back, "give the owner's fields back") {
        return draft.phase(Phase::Idle, "taking up where an earlier Release went back");
    }
    let others =
        scene.snapshot.sets.iter().any(|set| set.replicas > 0 && set.fingerprint != target.fingerprint);
    // Paused and without a pod: nothing tells whether this template has ever run.
    let tried = target.replicas > 0 || !scene.paused_by_owner();
    let stands = tried
        && target.observed_generation >= target.generation
        && !others
        && target.updated_replicas >= target.replicas
        && target.available_replicas >= target.replicas
        && target.status_replicas == target.replicas;
    if stands && let Some(problem) = too_large(draft, scene) {
        draft.want(target, &given_back, "leave it as its owner wrote it");
        draft.phase(Phase::Idle, problem.message.clone());
        return draft.blocked(TEMPLATE_TOO_LARGE, problem.message, problem.unblock);
    }
    if stands {
        keep(draft, scene, &scene.current_revision());
        draft.status.stable = Some(scene.current_revision());
        let note = format!("{} is stable", scene.current_revision().revision);
        draft.notices.push(Notice::normal("Adopted", note));
        match conditions::not_released(&draft.status) {
            Some(message) => draft.notices.push(Notice::warning(conditions::REPLACED, message)),
            None => draft.status.former = None,
        }
        return say_what_serves(draft);
    }
    draft.want(target, &given_back, "let the first rollout finish");
    let (message, verb) = if originals.paused == Some(true) {
        ("the Deployment is paused by its owner and its rollout has not finished".to_owned(), "resume")
    } else {
        let message = format!(
            "waiting for the Deployment's own rollout: {} of {} pods are available",
            target.available_replicas, target.replicas
        );
        (message, "status")
    };
    draft.phase(Phase::Idle, message.clone());
    let unblock = draft.kubectl(&format!("rollout {verb} deployment/{}", target.name));
    draft.blocked("AwaitingStable", message, unblock);
}

/// An earlier Release goes back: that comes to its end first. Until then pods of the version that it had released count for nothing with
/// the native controller, Ready as they are: rolling out anything else it would take them first.
fn take_up_way_back(draft: &mut Draft<'_>, way: &GoingBack<'_>) {
    draft.urgent();
    let TakenUp { then, note, failing } = orphan::taken_up(way);
    let order = match note {
        Some(note) => way.order().on_deletion(note),
        None => way.order(),
    };
    draft.want(way.target, &order, "go back to stable, as an earlier Release began to");
    if let Some(at) = way.seeks_room_at() {
        draft.wake_at(at);
    }
    let then = then.map(|then| format!("; {then}, which was to come after stable, comes next"));
    let then = then.unwrap_or_default();
    draft.wake_in(LOOK_AGAIN);
    if let Some(failing) = failing.filter(|_| way.stand.stable_ready < way.stand.replicas) {
        let then = if then.is_empty() { then } else { format!("{then}, and not before stable stands") };
        let message = format!("an earlier Release went back, and stable does not come: {failing}{then}");
        draft.phase(Phase::Idle, message.clone());
        return back::stable_fails(draft, &way.stable.1.fingerprint, message);
    }
    let Stand { stable_ready, replicas, .. } = way.stand;
    let message = format!(
        "taking up where an earlier Release went back: {stable_ready} of {replicas} stable pods are Ready{then}"
    );
    draft.phase(Phase::Idle, message.clone());
    let unblock = draft.kubectl(&format!("rollout status deployment/{}", way.target.name));
    draft.blocked("AwaitingStable", message, unblock);
}

/// An earlier Release's way back is over: what was to come after stable is put there, held, and is taken up once it stands there. False: nothing is.
fn put_what_is_owed(draft: &mut Draft<'_>, way: &GoingBack<'_>) -> bool {
    let Some(then) = orphan::owed(way) else {
        let is_awaited = orphan::is_awaited(way);
        if is_awaited {
            wait_for_what_is_owed(draft, "a newer template");
        }
        return is_awaited;
    };
    let Some(kept) = way.snapshot.kept_as(&then) else {
        let Some(by) = orphan::seen_by(way) else {
            draft.notices.push(orphan::lost(&then));
            return false;
        };
        wait_for_what_is_owed(draft, &then);
        draft.wake_at(by);
        return true;
    };
    back::put_held(draft, way, kept, way.target.changed_by.as_ref());
    draft.phase(
        Phase::Held,
        format!("stable stands; {then}, which the run of an earlier Release was to put back, comes next"),
    );
    true
}

fn wait_for_what_is_owed(draft: &mut Draft<'_>, then: &str) {
    draft.wake_in(LOOK_AGAIN);
    let unheard = unheard::hides_template(draft, then);
    let message = unheard
        .unwrap_or_else(|| format!("stable stands; {then}, which comes next, is not seen to be kept yet"));
    draft.phase(Phase::Idle, message);
}

/// The stable template is in place: everything is as its owner wrote it.
fn at_rest(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals) {
    keep(draft, scene, &scene.current_revision());
    draft.want(scene.target, &on_stable_fields(scene, originals), "give the owner's fields back");
    draft.status.canary = None;
    draft.status.verdicts.clear();
    drop_old_templates(draft, scene);
    say_what_serves(draft);
    if let Some(problem) = unvalidated(draft) {
        let unblock = format!(
            "see {}, then push a template that works, or say that you have seen it: {}",
            draft.kubectl(&format!("tidegate report {}", draft.name())),
            draft.command(Action::ClearRejection)
        );
        draft.blocked("ValidationFailed", problem, unblock);
    }
}

/// What serves, and how it has come to that: a run that went back, or a Deployment that was made anew.
fn say_what_serves(draft: &mut Draft<'_>) {
    let stable = draft.status.stable.as_ref().map(|stable| stable.fingerprint.as_str());
    if let Some(known) = draft.status.rejected.iter().find(|known| stable == Some(known.fingerprint.as_str()))
    {
        let message = format!(
            "what serves was rejected in run {} ({}), and has not been released since",
            known.run, known.reason
        );
        let unblock =
            format!("push a new template, or take it as it is: {}", draft.command(Action::ClearRejection));
        draft.phase(Phase::Rejected, message.clone());
        return draft.blocked("RejectedRevision", message, unblock);
    }
    let undone = draft.status.last_run.as_ref().filter(|last| {
        matches!(last.outcome, Outcome::Undone | Outcome::Aborted)
            && draft.status.rejected.iter().any(|rejected| rejected.fingerprint == last.fingerprint)
    });
    match undone {
        Some(last) => {
            let message = format!("stable serves; run {} was {:?}: {}", last.id, last.outcome, last.message)
                .replace("Undone", "undone")
                .replace("Aborted", "aborted");
            rejected(draft, message);
        }
        None => {
            let words = conditions::not_released(&draft.status);
            draft.phase(Phase::Idle, words.unwrap_or_else(|| STABLE_SERVES.into()));
        }
    }
}

/// The version that serves was put back, and does not work either.
fn unvalidated(draft: &Draft<'_>) -> Option<String> {
    let last = draft.status.last_run.as_ref().filter(|last| !last.validation_seen)?;
    let found =
        last.validation.as_ref().filter(|found| found.result == ValidationResult::ValidationFailed)?;
    Some(format!(
        "run {} went back, and what it went back to does not work either: {}",
        last.id, found.message
    ))
}

/// What the four fields are while nothing is going on, or all pods are on the new template: whoever changes that next is the first who does.
pub fn at_rest_fields(capture: CaptureMode, originals: &Originals) -> Wanted {
    let wanted = match capture {
        CaptureMode::Policy | CaptureMode::React => Wanted::given_back(originals),
        CaptureMode::Paused => Wanted::kept_paused(originals),
    };
    wanted.by(None)
}

/// Held. Paused, the native controller brings all sets, in proportion, to what replicas and surge allow: where pods have started already the
/// pace stays as it is until a run goes back. What is caught only after it was written may have started, seen or not.
pub fn held_fields(scene: &Scene<'_>, originals: &Originals, stable: &str) -> Wanted {
    let has_started = scene.stand.canary > 0 || has_begun(scene.target);
    if has_started || scene.capture == CaptureMode::React {
        Wanted::still(originals, stable, scene.on_delete)
    } else {
        Wanted::held(originals, stable, scene.on_delete, scene.target.replicas)
    }
}

/// Whether the native controller says that pods of this template are there: of their ReplicaSet nothing may have been heard yet. Held since, at the pace at which it
/// was caught, it may not have said more.
fn has_begun(target: &Workload) -> bool {
    let is_of_this = match parked(target) {
        true => target.strategy != Pace::PARKED.strategy(target.replicas),
        false => target.observed_generation >= target.generation,
    };
    is_of_this && target.updated_replicas > 0
}

/// What they are on the stable template: kept paused only once pods of any other are gone.
pub fn on_stable_fields(scene: &Scene<'_>, originals: &Originals) -> Wanted {
    match scene.capture {
        CaptureMode::Paused if scene.stand.canary > 0 => Wanted::let_go(originals).by(None),
        capture @ (CaptureMode::Policy | CaptureMode::Paused | CaptureMode::React) => {
            at_rest_fields(capture, originals)
        }
    }
}

fn rejected(draft: &mut Draft<'_>, message: String) {
    let unblock = format!(
        "push a new template, or: {}, or: {}",
        draft.command(Action::Retry),
        draft.command(Action::ClearRejection)
    );
    draft.phase(Phase::Rejected, message.clone());
    draft.blocked("RejectedRevision", message, unblock);
}

/// The template is not the stable one, and no run is about it yet.
fn changed(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals) {
    let target = scene.target;
    let authors = authors_of(draft, target);
    let canary = RevisionStatus { changed_by: authors.clone(), ..scene.current_revision() };
    let stable = draft.status.stable.clone().unwrap_or_default();
    draft.status.canary = Some(canary.clone());
    let Some((stable_name, stable_template)) = scene.kept(&stable.fingerprint) else {
        // Parked without a note of its owner's fields nobody could give it back any more.
        let held = if parked(target) { Wanted::frozen(originals) } else { Wanted::kept_paused(originals) };
        draft.want(target, &held, "hold");
        draft.held(
            "StableTemplateLost",
            scene.snapshot.stable_is_lost(&stable.revision),
            draft.command(Action::HandBack),
        );
        return;
    };
    let held = held_fields(scene, originals, stable_name).by(authors.as_ref());
    if let Some(known) = draft.status.rejected.iter().find(|known| known.fingerprint == canary.fingerprint) {
        let message =
            format!("this template is held: it was rejected in run {} ({})", known.run, known.reason);
        // Without pods a scale-up would start the newest revision, held or not: so the stable one stands there meanwhile. Pods
        // that started before it was held go the same way, at the owner's pace: without a run nobody could tell ours from it.
        if scene.stand.canary > 0 || (target.replicas == 0 && overwriting::is_due(draft)) {
            let back = on_stable_fields(scene, originals)
                .with_template(stable.fingerprint.clone(), stable_template.template.clone());
            draft.want(target, &back, "put the stable template in the place of a rejected one");
        } else {
            draft.want(target, &held, "hold a rejected template");
        }
        rejected(draft, message);
        return;
    }
    // Pods of it that run, or that a scale-up from nothing would start, go back first: that takes a run.
    if scene.paused_by_owner() && target.replicas > 0 && scene.stand.canary == 0 {
        let left = Wanted::left_paused(originals).by(authors.as_ref());
        draft.want(target, &left, "leave it paused, as its owner wrote it");
        let message = "a new template waits: the Deployment is paused by its owner";
        draft.held(
            "PausedByOwner",
            message,
            draft.kubectl(&format!("rollout resume deployment/{}", target.name)),
        );
        return;
    }
    draft.want(target, &held, "hold the new template");
    if let Some(problem) = too_large(draft, scene) {
        return draft.held(TEMPLATE_TOO_LARGE, problem.message, problem.unblock);
    }
    keep(draft, scene, &canary);
    if let Err(problem) = scene.plan {
        let (reason, message, unblock) = rights::refused(draft, problem);
        return draft.held(reason, message, unblock);
    }
    if scene.plan.is_ok_and(|plan| plan.suspend) {
        draft.held("Suspended", "a new template is held: spec.suspend is true", "set spec.suspend to false");
        return;
    }
    start(draft, scene, originals, canary);
}

/// Who has changed the template that stands there since another one was stable. Of one that was rejected those who had then too, whoever has written it
/// again: also in the look in which somebody has the rejection forgotten.
fn authors_of(draft: &Draft<'_>, target: &Workload) -> Option<Authors> {
    let rejected = &draft.release.status.rejected;
    let known = rejected.iter().find(|known| known.fingerprint == target.fingerprint);
    Authors::together(known.and_then(|known| known.changed_by.as_ref()), target.changed_by.as_ref())
}

fn start(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals, canary: RevisionStatus) {
    let number = draft.status.last_run.as_ref().map_or(0, |last| last.number).saturating_add(1);
    let now = draft.now();
    let changed_by = canary.changed_by.clone();
    let who = changed_by.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string);
    let images = workload::shown(&canary.images);
    draft
        .notices
        .push(Notice::normal("RunStarted", format!("run r{number}: {who} changed the template ({images})")));
    draft.status.run = Some(Run {
        id: format!("r{number}"),
        number,
        started_at: now,
        changed_by,
        content: scene.snapshot.content.clone().unwrap_or_default(),
        originals: originals.to_value(),
        stage: Stage::Preflight,
        step: 0,
        progress: Progress::default(),
        checks: Vec::new(),
        migrations: Vec::new(),
        locks: None,
        signatures: Vec::new(),
        passes: Vec::new(),
        paused: None,
        judge: Memory::default(),
        values: Memory::default(),
        all_since: None,
        overtaken_since: None,
        undo_asked: None,
        back: None,
        passed: Vec::new(),
        notes: Vec::new(),
    });
    migrations::foretell(draft, scene);
    draft.status.verdicts.clear();
    draft.status.canary = Some(canary);
    draft.phase(Phase::Preflight, "a new template is held; the run begins");
}

/// What has been given back is not ours by the books either. In a write of its own: the one that gives back enters us.
pub fn stop_managing(draft: &mut Draft<'_>, target: &Workload) {
    let operations = managed_no_more(target);
    if !lent(target) && !draft.has_ordered() && !operations.is_empty() {
        let patch = guarded(target, operations);
        draft.intents.push(Intent::StopManaging { name: target.name.clone(), patch });
    }
}

/// A template of which no more is known than that it is there.
const TEMPLATE_TOO_LARGE: &str = "TemplateTooLarge";

/// What is wrong with a template that is too large to be read, and what to do about it.
struct TooLarge {
    message: String,
    unblock: String,
}

fn too_large(draft: &Draft<'_>, scene: &Scene<'_>) -> Option<TooLarge> {
    let Workload { name, too_much, .. } = scene.target;
    let problem = too_much.as_ref()?;
    let message = format!("the template of Deployment {name} is not released: {problem}");
    let unblock = draft.kubectl(&format!("edit deployment/{name}"));
    Some(TooLarge { message, unblock: format!("push a smaller template: {unblock}") })
}

/// Sees to it that the Deployment's present template is kept.
pub fn keep(draft: &mut Draft<'_>, scene: &Scene<'_>, wanted: &RevisionStatus) {
    keep_as(draft, scene, wanted, Awaited::Always);
}

/// The same, with this waiting for it.
pub fn keep_as(draft: &mut Draft<'_>, scene: &Scene<'_>, wanted: &RevisionStatus, awaited: Awaited) {
    let target = scene.target;
    let kept = scene.kept(&wanted.fingerprint).map(|(_, kept)| kept);
    // What is not read cannot be kept.
    if kept.is_some_and(|kept| !kept.let_go) || target.too_much.is_some() {
        return;
    }
    draft.intents.push(keeping(target, awaited, kept.map(|kept| kept.uid.clone())));
}

/// To keep the Deployment's present template; in the place of one that was let go, if there was one.
pub fn keeping(target: &Workload, awaited: Awaited, let_go: Option<String>) -> Intent {
    Intent::KeepTemplate {
        name: revision(target).revision,
        fingerprint: target.fingerprint.clone(),
        template: target.template.clone(),
        owner: Owner {
            api_version: "apps/v1",
            kind: "Deployment",
            name: target.name.clone(),
            uid: target.uid.clone(),
        },
        awaited,
        let_go,
    }
}

/// Forgets templates that nothing can need any more.
fn drop_old_templates(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    for (name, kept) in &scene.snapshot.templates {
        if !is_needed(&draft.status, kept) {
            draft.intents.push(Intent::DropTemplate { name: name.clone(), uid: kept.uid.clone() });
        }
    }
}

/// Whether a kept template is needed at rest: it is stable, or the newest rejected one (for `retry`).
pub fn is_needed(status: &ReleaseStatus, kept: &StoredTemplate) -> bool {
    let stable = status.stable.as_ref().map(|stable| &stable.fingerprint);
    let newest = status.rejected.first().map(|rejected| &rejected.fingerprint);
    [stable, newest].into_iter().flatten().any(|fingerprint| *fingerprint == kept.fingerprint)
}

/// What is said while a run waits for replicas.
pub const NO_REPLICAS: &str = "there are no replicas: the run starts again when there are";

/// How soon to look again when only events can change anything, in case one is lost.
pub const LOOK_AGAIN: Duration = Duration::from_secs(30);

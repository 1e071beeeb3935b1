//! No run is under way: adopting a Deployment, keeping it as its owner wrote it, holding what may not start, starting a run.

use std::time::Duration;

use super::decision::{Intent, Notice, Owner, command};
use super::draft::Draft;
use super::fields::{Originals, Wanted, parked};
use super::scene::{Scene, revision};
use super::snapshot::{JobFacts, Workload};
use crate::api::status::{Cause, Progress, RevisionStatus, Run, Stage};
use crate::api::{Action, CaptureMode, Outcome, Phase};

/// There is no such Deployment.
pub fn target_missing(draft: &mut Draft<'_>) {
    let name = draft.release.spec.as_ref().map_or_else(|_| "?".into(), |spec| spec.target_ref.name.clone());
    draft.end_run(Outcome::Aborted, "the Deployment was deleted");
    forget(draft);
    draft.status.target_uid = None;
    let message = format!("there is no Deployment {name} in namespace {}", draft.snapshot.key.namespace);
    draft.phase(Phase::Idle, message.clone());
    draft.blocked("TargetMissing", message, format!("create Deployment {name}"));
}

/// A Deployment deleted and made anew is another one: nothing that was known about the old one counts.
pub fn note_target(draft: &mut Draft<'_>, target: &Workload) {
    if draft.status.target_uid.as_ref() == Some(&target.uid) {
        return;
    }
    if draft.status.target_uid.is_some() {
        draft.end_run(Outcome::Aborted, "the Deployment was deleted and made anew");
        forget(draft);
    }
    draft.status.target_uid = Some(target.uid.clone());
}

fn forget(draft: &mut Draft<'_>) {
    draft.status.stable = None;
    draft.status.canary = None;
    draft.status.replicas = None;
    draft.status.step = None;
    draft.status.rejected.clear();
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
        draft.blocked("HandedBack", message, command(draft.name(), Action::Resume));
        return;
    }
    if scene.target.release_label.as_deref() != Some(draft.name()) {
        let wanted = Wanted::default().labelled(Some(draft.name().to_owned()));
        draft.want(scene.target, &wanted, "adopt");
        draft.phase(Phase::Idle, format!("adopting Deployment {}", scene.target.name));
        return;
    }
    let originals = match &scene.originals {
        Ok(originals) => originals.clone(),
        Err(lost) => return originals_lost(draft, lost),
    };
    if draft.status.stable.is_none() {
        first(draft, scene, &originals);
    } else if scene.at_stable() {
        at_rest(draft, scene, &originals);
    } else {
        changed(draft, scene, &originals);
    }
}

fn originals_lost(draft: &mut Draft<'_>, lost: &str) {
    let message = format!("the Deployment is parked and {lost}: its owner's fields cannot be told");
    draft.phase(Phase::Held, message.clone());
    draft.blocked(
        "OriginalsLost",
        message,
        "write the owner's spec.strategy, minReadySeconds, progressDeadlineSeconds and paused back with kubectl edit",
    );
}

/// No stable revision is known yet. What the Deployment runs becomes stable once all of it stands; until then nothing is held.
fn first(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals) {
    let target = scene.target;
    if let Some(noted) = target.stable.as_ref().filter(|_| parked(target))
        && let Some(kept) = scene.snapshot.templates.get(noted)
    {
        // Status was lost in mid-run; the Deployment itself remembers what is stable.
        draft.status.stable = Some(RevisionStatus {
            revision: noted.clone(),
            fingerprint: kept.fingerprint.clone(),
            ..RevisionStatus::default()
        });
        draft.phase(Phase::Held, "taking up where an earlier Release left off");
        return;
    }
    let others =
        scene.snapshot.sets.iter().any(|set| set.replicas > 0 && set.fingerprint != target.fingerprint);
    let stands = target.observed_generation >= target.generation
        && !others
        && target.updated_replicas >= target.replicas
        && target.available_replicas >= target.replicas
        && target.status_replicas == target.replicas;
    if stands {
        keep(draft, scene, &scene.current_revision());
        draft.status.stable = Some(scene.current_revision());
        let note = format!("{} is stable", scene.current_revision().revision);
        draft.notices.push(Notice::normal("Adopted", note));
        draft.phase(Phase::Idle, "adopted: what runs now is stable");
        return;
    }
    draft.want(target, &Wanted::given_back(originals), "let the first rollout finish");
    let message = if originals.paused == Some(true) {
        "the Deployment is paused by its owner and its rollout has not finished".to_owned()
    } else {
        format!(
            "waiting for the Deployment's own rollout: {} of {} pods are available",
            target.available_replicas, target.replicas
        )
    };
    draft.phase(Phase::Idle, message.clone());
    draft.blocked("AwaitingStable", message, format!("kubectl rollout status deployment/{}", target.name));
}

/// The stable template is in place: everything is as its owner wrote it.
fn at_rest(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals) {
    keep(draft, scene, &scene.current_revision());
    let wanted = at_rest_fields(scene.capture, originals);
    draft.want(scene.target, &wanted, "give the owner's fields back");
    draft.status.canary = None;
    draft.status.verdicts.clear();
    drop_old_templates(draft, scene);
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
        None => draft.phase(Phase::Idle, "stable serves; waiting for a new template"),
    }
}

/// What the four fields are while nothing is going on.
pub fn at_rest_fields(capture: CaptureMode, originals: &Originals) -> Wanted {
    match capture {
        CaptureMode::Policy | CaptureMode::React => Wanted::given_back(originals),
        CaptureMode::Paused => Wanted::kept_paused(originals),
    }
}

fn rejected(draft: &mut Draft<'_>, message: String) {
    let unblock = format!(
        "push a new template, or: {}, or: {}",
        command(draft.name(), Action::Retry),
        command(draft.name(), Action::ClearRejection)
    );
    draft.phase(Phase::Rejected, message.clone());
    draft.blocked("RejectedRevision", message, unblock);
}

/// The template is not the stable one, and no run is about it yet.
fn changed(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals) {
    let target = scene.target;
    let canary = scene.current_revision();
    let stable = draft.status.stable.clone().unwrap_or_default();
    draft.status.canary = Some(canary.clone());
    let Some((stable_name, stable_template)) = scene.kept(&stable.fingerprint) else {
        draft.want(target, &Wanted::frozen(originals), "hold");
        draft.held(
            "StableTemplateLost",
            format!("ControllerRevision {} with the stable template is gone", stable.revision),
            command(draft.name(), Action::HandBack),
        );
        return;
    };
    let mut held = Wanted::held(originals, stable_name, scene.on_delete, target.replicas);
    if let Some(known) = draft.status.rejected.iter().find(|known| known.fingerprint == canary.fingerprint) {
        let message =
            format!("this template is held: it was rejected in run {} ({})", known.run, known.reason);
        // Without pods a scale-up would start the newest revision, held or not: so the stable one stands there meanwhile. Pods
        // that started before it was held go the same way.
        if target.replicas == 0 || scene.stand.canary > 0 {
            let template = (stable.fingerprint.clone(), stable_template.template.clone());
            let pace = super::pace::back(scene.stand, scene.limits, scene.capacity, 0);
            held = Wanted::back(originals, stable_name, scene.on_delete, template, pace, target.replicas);
        }
        draft.want(target, &held, "hold a rejected template");
        rejected(draft, message);
        return;
    }
    draft.want(target, &held, "hold the new template");
    keep(draft, scene, &canary);
    if let Err(problem) = &scene.plan {
        draft.held("InvalidSpec", problem.to_string(), format!("kubectl edit release {}", draft.name()));
        return;
    }
    if scene.plan.as_ref().is_ok_and(|plan| plan.suspend) {
        draft.held("Suspended", "a new template is held: spec.suspend is true", "set spec.suspend to false");
        return;
    }
    start(draft, scene, originals, canary);
}

fn start(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals, canary: RevisionStatus) {
    let number = draft.status.last_run.as_ref().map_or(0, |last| last.number) + 1;
    let now = draft.now();
    let changed_by = scene.target.changed_by.clone();
    let who = changed_by.as_deref().unwrap_or("somebody");
    let images = canary.images.join(", ");
    draft
        .notices
        .push(Notice::normal("RunStarted", format!("run r{number}: {who} changed the template ({images})")));
    draft.status.run = Some(Run {
        id: format!("r{number}"),
        number,
        started_at: now,
        changed_by,
        originals: originals.to_value(),
        stage: Stage::Preflight,
        step: 0,
        progress: Progress::default(),
        checks: Vec::new(),
        signatures: Vec::new(),
        paused: None,
        judge: serde_json::Value::Null,
        values: serde_json::Value::Null,
        all_since: None,
        back: None,
        notes: Vec::new(),
    });
    draft.status.verdicts.clear();
    draft.status.canary = Some(canary);
    draft.phase(Phase::Preflight, "a new template is held; the run begins");
}

/// Sees to it that the Deployment's present template is kept.
pub fn keep(draft: &mut Draft<'_>, scene: &Scene<'_>, wanted: &RevisionStatus) {
    if scene.kept(&wanted.fingerprint).is_some() {
        return;
    }
    let target = scene.target;
    draft.intents.push(Intent::KeepTemplate {
        name: revision(target).revision,
        fingerprint: target.fingerprint.clone(),
        template: target.template.clone(),
        owner: Owner {
            api_version: "apps/v1",
            kind: "Deployment",
            name: target.name.clone(),
            uid: target.uid.clone(),
        },
    });
}

/// Forgets templates that nothing can need any more: not stable, and not the newest rejected one (for `retry`).
fn drop_old_templates(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let stable = draft.status.stable.as_ref().map(|stable| stable.fingerprint.clone());
    let newest = draft.status.rejected.first().map(|rejected| rejected.fingerprint.clone());
    for (name, kept) in &scene.snapshot.templates {
        let needed =
            [&stable, &newest].into_iter().flatten().any(|fingerprint| *fingerprint == kept.fingerprint);
        if !needed {
            draft.intents.push(Intent::DropTemplate { name: name.clone() });
        }
    }
}

/// Whether a Job of this name has been seen; for checks.
pub fn job<'a>(scene: &'a Scene<'_>, name: &str) -> Option<&'a JobFacts> {
    scene.snapshot.jobs.get(name)
}

/// For causes that do not end a run: what is said while it waits.
pub fn waiting_words(cause: Cause) -> &'static str {
    match cause {
        Cause::NoReplicas => "there are no replicas: the run starts again when there are",
        Cause::TooMany => "more canary pods than the step allows: the step is taken again",
        Cause::Breach
        | Cause::Undecided
        | Cause::PodsFailing
        | Cause::Abort
        | Cause::Reverted
        | Cause::Superseded => "going back",
    }
}

/// How soon to look again when only events can change anything, in case one is lost.
pub const LOOK_AGAIN: Duration = Duration::from_secs(30);

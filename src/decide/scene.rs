//! The cluster as a decision sees it: which pods are stable, which are canary, how many are good, and what the owner's fields are.

use std::time::Duration;

use jiff::Timestamp;

use super::draft::Draft;
use super::fields::{Originals, PARKED_DEADLINE, parked};
use super::images;
use super::kept_name::template_name;
use super::pace::{Limits, Stand};
use super::plan::{self, Measuring, Plan, PlanError, PlannedUndo};
use super::snapshot::{Pod, PodSet, ReleaseFacts, Snapshot, StoredTemplate, Workload};
use crate::api::status::{PodCount, ReplicasStatus, RevisionStatus, Run, Stage};
use crate::api::{Authors, Capacity, CaptureMode, OnDelete, ReleaseSpec, ReleaseStatus};

/// Everything derived from one snapshot that more than one rule needs.
pub struct Scene<'a> {
    pub snapshot: &'a Snapshot,
    pub target: &'a Workload,
    /// `Err`: what the author wrote cannot be carried out. Going back still can.
    pub plan: Result<&'a Plan, &'a PlanError>,
    /// The plan, also while some of it is withheld: for what was begun by it.
    pub written: Option<&'a Plan>,
    /// What is measured, also when the rest of the plan cannot be carried out.
    pub measuring: Option<&'a Measuring>,
    /// The owner's fields; `Err` when nobody knows them any more.
    pub originals: Result<Originals, String>,
    /// The annotation that should hold them is missing or garbled in mid-run.
    pub tampered: Option<String>,
    pub stand: Stand,
    /// The same, with no more Ready pods than the native controllers know of.
    pub counted: Stand,
    pub limits: Limits,
    /// The native controllers have carried out the last change of `spec.replicas`.
    pub settled: bool,
    /// When the next canary pod will have been Ready long enough.
    pub next_good: Option<Timestamp>,
    pub capture: CaptureMode,
    pub capacity: Capacity,
    /// The way back, also when the rest of the plan cannot be carried out.
    pub undo: &'a PlannedUndo,
    pub on_delete: OnDelete,
    pub stable_fingerprint: String,
}

impl<'a> Scene<'a> {
    pub fn new(
        snapshot: &'a Snapshot,
        release: &'a ReleaseFacts,
        status: &ReleaseStatus,
        target: &'a Workload,
    ) -> Self {
        let spec = release.spec.as_deref().ok();
        let (originals, tampered) = originals(target, status);
        let recreate = originals.as_ref().is_ok_and(Originals::recreate);
        let stable_fingerprint =
            status.stable.as_ref().map(|stable| stable.fingerprint.clone()).unwrap_or_default();
        let min_ready = originals.as_ref().map_or(0, Originals::min_ready);
        let (stand, next_good) = stand(snapshot, target, &stable_fingerprint, min_ready);
        let strategy = originals.as_ref().map_or(&target.strategy, |originals| &originals.strategy);
        Self {
            snapshot,
            target,
            plan: release.plan(recreate),
            written: release.written(recreate),
            measuring: release.measuring(),
            limits: Limits::of(strategy, target.replicas),
            tampered,
            stand,
            counted: counted(stand, snapshot, &stable_fingerprint),
            settled: settled(snapshot, target),
            next_good,
            capture: capture(spec, snapshot.served.hold),
            capacity: plan::capacity(spec),
            undo: release.undo(),
            on_delete: plan::on_delete(spec),
            stable_fingerprint,
            originals,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.snapshot.now
    }

    /// Whether the Deployment's template is the stable one.
    pub fn at_stable(&self) -> bool {
        self.target.fingerprint == self.stable_fingerprint
    }

    /// The owner's strategy leaves no pod between the old ones and the new.
    pub fn recreate(&self) -> bool {
        self.originals.as_ref().is_ok_and(Originals::recreate)
    }

    /// The owner has paused the Deployment: not the hold policy, and not we. Where it is kept paused between runs, a pause in the
    /// owner's manifest says no more than ours.
    pub fn paused_by_owner(&self) -> bool {
        self.capture != CaptureMode::Paused
            && self.originals.as_ref().is_ok_and(|originals| originals.paused == Some(true))
    }

    /// The template of the Deployment as a revision for status.
    pub fn current_revision(&self) -> RevisionStatus {
        revision(self.target)
    }

    /// Who was the last to change the template of the Deployment, if that is known.
    pub fn last_author(&self) -> Option<&'a str> {
        self.target.changed_by.as_ref().and_then(Authors::last)
    }

    /// A kept template by its fingerprint: its name and what it is.
    pub fn kept(&self, fingerprint: &str) -> Option<(&'a String, &'a StoredTemplate)> {
        self.snapshot.kept(fingerprint)
    }

    /// Pods that are not of the stable revision and not on their way out.
    pub fn canary_pods(&self) -> impl Iterator<Item = &'a Pod> {
        let stable = self.stable_fingerprint.clone();
        self.snapshot.live_pods(move |fingerprint| fingerprint != stable)
    }

    /// Pods of the stable revision that are not on their way out.
    pub fn stable_pods(&self) -> impl Iterator<Item = &'a Pod> {
        let stable = self.stable_fingerprint.clone();
        self.snapshot.live_pods(move |fingerprint| fingerprint == stable)
    }

    /// Pods ordered of revisions that are neither stable nor the Deployment's own. So are those of its own as the API server stored it before: the
    /// native controller would take them all down at once, to make them anew.
    pub fn strangers(&self) -> i32 {
        let is_own = |set: &PodSet| set.fingerprint == self.target.fingerprint && !set.outdated;
        let is_known = |set: &PodSet| set.fingerprint == self.stable_fingerprint || is_own(set);
        let sets = self.snapshot.sets.iter().filter(|set| !is_known(set));
        sets.map(|set| set.replicas).sum()
    }

    /// Writes what is seen into status; by what is stable after this look, so that none is needed to put it right.
    pub fn describe(&self, draft: &mut Draft<'_>) {
        let stable =
            draft.status.stable.as_ref().map(|stable| stable.fingerprint.as_str()).unwrap_or_default();
        let count = |pods: Vec<&Pod>| PodCount {
            pods: i32::try_from(pods.len()).unwrap_or(i32::MAX),
            ready: i32::try_from(pods.iter().filter(|pod| pod.serves()).count()).unwrap_or(i32::MAX),
        };
        let (stable, canary) = (
            count(self.snapshot.live_pods(|fingerprint| fingerprint == stable).collect()),
            count(self.snapshot.live_pods(|fingerprint| fingerprint != stable).collect()),
        );
        let ready = stable.ready + canary.ready;
        let share = if ready == 0 { 0 } else { (canary.ready * 100 + ready / 2) / ready };
        draft.status.replicas = Some(ReplicasStatus {
            desired: self.target.replicas,
            stable,
            canary,
            share: format!("{share}%"),
        });
        draft.capture(self.capture, self.asked_for_policy(draft));
    }

    fn asked_for_policy(&self, draft: &Draft<'_>) -> bool {
        draft.release.spec.as_ref().is_ok_and(|spec| spec.capture == Some(CaptureMode::Policy))
    }
}

/// The revision that a Deployment's template is.
pub fn revision(target: &Workload) -> RevisionStatus {
    RevisionStatus {
        revision: template_name(&target.name, &target.fingerprint),
        fingerprint: target.fingerprint.clone(),
        images: images::kept(&target.images),
        changed_by: target.changed_by.clone(),
    }
}

/// While the fields are ours the annotation is the truth, and the copy in status stands in for it; else the fields themselves are.
fn originals(target: &Workload, status: &ReleaseStatus) -> (Result<Originals, String>, Option<String>) {
    let run = status.run.as_ref();
    let copy = run.filter(|run| run.has_the_fields()).and_then(|run| Originals::from_value(&run.originals));
    // A native `rollout undo` writes annotations of an old ReplicaSet back: not parked, and without a run that has taken the
    // fields, they mean nothing. On the way back they are not parked, but the pace is ours: also when somebody took every
    // annotation away, and when status is lost, of which a template that is said to be stable and not known to be tells.
    // Once stable stands, the fields are given back with all annotations in one write, and what stands there then is the owner's,
    // also when they changed it before status says so. So they are, with the deadline as they want it, where the last step was left, status
    // could not be written, and nothing has been ordered since that goes back.
    let back = run.filter(|run| run.stage == Stage::Back).and_then(|run| run.back.as_ref());
    let ends =
        back.is_some_and(|back| back.restored_at.is_some() && back.resume.is_none() && back.next.is_none());
    let is_parked = target.progress_deadline_seconds == Some(PARKED_DEADLINE);
    let given_back = (ends || !is_parked) && target.originals.is_none() && target.stable.is_none();
    let going_back = run.is_some_and(|run| run.stage == Stage::Back && run.has_the_fields()) && !given_back;
    let noted = target.stable.is_some();
    let taken = run.is_some_and(Run::has_the_fields);
    let forgotten = run.is_none() && status.stable.is_none() && target.originals.is_some();
    // Somebody may have un-parked it before status said that a run has the fields: nobody else's deadline is so long.
    let unparked = noted && is_parked;
    let owned = parked(target) || unparked || going_back || (noted && (taken || forgotten));
    if !owned {
        return (Ok(Originals::take(target)), None);
    }
    let read = match &target.originals {
        Some(text) => Originals::parse(text).map_err(|lost| lost.to_string()),
        None => Err(format!("annotation {} is missing", crate::api::ORIGINALS)),
    };
    match (read, copy) {
        (Ok(originals), None) => (Ok(originals), None),
        (Ok(originals), Some(copy)) if originals == copy => (Ok(originals), None),
        (Ok(_), Some(copy)) => (Ok(copy), Some(format!("annotation {} was changed", crate::api::ORIGINALS))),
        (Err(lost), Some(copy)) => (Ok(copy), Some(lost)),
        (Err(lost), None) => (Err(lost.clone()), Some(lost)),
    }
}

/// How pods stand, and when the next canary pod is good.
pub fn stand(
    snapshot: &Snapshot,
    target: &Workload,
    stable: &str,
    min_ready: i32,
) -> (Stand, Option<Timestamp>) {
    let mut stand = Stand { replicas: target.replicas, ..Stand::default() };
    let mut next_good: Option<Timestamp> = None;
    for set in &snapshot.sets {
        let ready = snapshot.live_pods_of(&set.uid).filter_map(|pod| pod.ready_since);
        if set.fingerprint == stable {
            stand.stable += set.replicas;
            stand.stable_ready += i32::try_from(ready.count()).unwrap_or(i32::MAX);
            continue;
        }
        stand.canary += set.replicas;
        for since in ready {
            let good_at = since + Duration::from_secs(min_ready.max(0).unsigned_abs().into());
            // As for the native controllers: without a time to be Ready for, no clock is asked.
            if min_ready <= 0 || good_at <= snapshot.now {
                stand.good += 1;
            } else {
                next_good = Some(next_good.map_or(good_at, |at| at.min(good_at)));
            }
        }
        // A pod more than ordered is one on its way out that does not know it yet.
        stand.good = stand.good.min(stand.canary);
    }
    (stand, next_good)
}

/// Of pods that are seen to be Ready some may be on their way out, and others in their place: sets are watched apart from their pods. Going
/// back does not wait for it: what is there too early to be seen costs it nothing.
fn counted(stand: Stand, snapshot: &Snapshot, stable: &str) -> Stand {
    let (mut of_stable, mut of_canary) = (0, 0);
    for set in &snapshot.sets {
        let ready = if set.fingerprint == stable { &mut of_stable } else { &mut of_canary };
        *ready += set.counted.unwrap_or(0).min(set.replicas);
    }
    Stand { stable_ready: stand.stable_ready.min(of_stable), good: stand.good.min(of_canary), ..stand }
}

fn settled(snapshot: &Snapshot, target: &Workload) -> bool {
    let active = || snapshot.sets.iter().filter(|set| set.replicas > 0);
    let total: i32 = active().map(|set| set.replicas).sum();
    // Without a pod ordered none says for how many: what is known of the sets is older than the number that is wanted. Only one that takes all
    // down before it begins is like that for a while.
    let recreates = target.strategy["type"] == "Recreate";
    let scaled = (total > 0 || recreates) && active().all(|set| set.desired == Some(target.replicas));
    let counted = active().all(|set| set.counted.is_some());
    // Paused, only a change of `spec.replicas` moves anything: our own pause need not have been seen for it to be so.
    let observed = target.paused || target.observed_generation >= target.generation;
    observed && counted && (scaled || total == target.replicas)
}

fn capture(spec: Option<&ReleaseSpec>, served: bool) -> CaptureMode {
    match spec.and_then(|spec| spec.capture) {
        None | Some(CaptureMode::Policy) if served => CaptureMode::Policy,
        None | Some(CaptureMode::Policy | CaptureMode::Paused) => CaptureMode::Paused,
        Some(CaptureMode::React) => CaptureMode::React,
    }
}

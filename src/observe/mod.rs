//! From the index and what was measured to one owned, immutable [`Snapshot`].
//!
//! `probes`, `measure`, `outputs`, `gather`, `values` and `credentials` fetch what the cluster does not push: answers of checks, counters,
//! what Jobs said, what pods wrote before they go, other numbers, and what it takes to ask for them; `places` reads where new pods are. They only read, and `reach` says
//! where they may. `reading` keeps what Releases in a run say, `pruned` puts together what the API server
//! keeps less of than was written, `stored` knows templates by what was written, and
//! `target` which Deployment it is.

pub mod credentials;
pub mod gather;
pub mod happened;
mod kept;
pub mod measure;
pub mod outputs;
pub mod places;
pub mod probes;
pub mod pruned;
pub mod reach;
pub mod reading;
mod silent;
mod stored;
mod target;
pub mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use crate::api::labels::Labels;
use crate::api::status::{LocksStatus, sensible};
use crate::api::{Action, Authors, DEFINITION_LABEL, FreezeSpec, QUARANTINED_UNTIL, ReleaseActionSpec};
use crate::decide::fields::REVISION;
use crate::decide::notify::Told;
use crate::decide::refusal::{DoneWithout, Missed};
use crate::decide::rights;
use crate::decide::snapshot::{
    ActionFacts, Exit, FreezeFacts, Freezes, Gathered, JobFacts, JobOutput, JobState, Labelled, LastWrite,
    LockFacts, Measured, OUT_OF_MEMORY, Placed, Pod, PodSet, ProbeAnswer, ProbeId, Quarantined, ReleaseFacts,
    Served, Snapshot, Stored, StoredTemplate, Trial, Unheard, WayBack, Workload,
};
use crate::decide::values::State as ValuesState;
use crate::decide::{Key, judge};
use crate::letters;
use crate::observe::pruned::Pruned;
use crate::observe::reading::Reading;
use crate::observe::target::{copy, deployment_of, in_hand, left_behind, waited_for_by};
use crate::watch::ObjectKey;
use crate::watch::again::{Again, Outlined};
use crate::watch::index::{DESIRED, Index, is_of_trial, quarantine_of, trials_of};
use crate::watch::meta::{Meta, Texts};
use crate::watch::slim::{self, Holds, PodIs, PodPhase};

/// More pods of one ReplicaSet than any cluster has: whoever may write one may write any number, and numbers are added up.
const MOST_PODS: i32 = 1_000_000;
/// Label of every namespace: its name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// What was measured and answered, from memory.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Since when this process looks at the Release without a break.
    pub looking_since: Option<Timestamp>,
    pub measured: Measured,
    pub probes: BTreeMap<ProbeId, ProbeAnswer>,
    /// What came of telling people.
    pub told: Vec<Told>,
    /// What Jobs said at their end, by name.
    pub outputs: BTreeMap<String, JobOutput>,
    /// What was read of pods before they went.
    pub gathered: Option<Gathered>,
    /// Where new pods are.
    pub placed: Option<Arc<Placed>>,
    /// Why it goes back, and how far that was seen to have come.
    pub way_back: Option<WayBack>,
    /// The last write to the Deployment.
    pub last_write: Option<LastWrite>,
    /// Where this process has put the label, which may not be shown yet.
    pub labelled: Option<Labelled>,
    /// Kept templates that this process has deleted, by uid.
    pub let_go: BTreeSet<String>,
    /// Pods that say they are Ready since a moment that is yet to come, and when that was seen: a clock is wrong, theirs or ours.
    pub ready_ahead: BTreeMap<String, Timestamp>,
    /// Writes that were refused, and done without.
    pub missed: BTreeMap<DoneWithout, Missed>,
    /// Actions that were marked, by uid, and when.
    pub marked: BTreeMap<String, Timestamp>,
    /// What is left out of the status that this process wrote last.
    pub pruned: Option<Arc<Pruned>>,
}

/// Templates of a Release that are read again, at most. More than a few are nothing that we have kept.
const MOST_TEMPLATES: usize = 16;

/// Of what people said to stop a run, and of all else, so much is looked at. Status has room for 64 that took effect.
const MOST_ACTIONS: usize = 128;

/// Everything known about one Release.
///
/// # Errors
/// What has to be read again first: the index has only an outline of it.
pub fn observe(
    index: &Index,
    again: &Again,
    reading: &Reading,
    key: &Key,
    findings: Findings,
    now: Timestamp,
) -> Result<Snapshot, Vec<Outlined>> {
    let name = ObjectKey::from(key);
    let lacking = lacking(index, again, &name);
    if !lacking.is_empty() {
        return Err(lacking);
    }
    let found = again.release(index, &name);
    let served = served(index);
    let release = found.map(|found| {
        let mut release = reading.of(key, found);
        let whole = findings.pruned.as_ref().and_then(|pruned| pruned.whole(&release.status));
        release.status = whole.map_or(release.status, Arc::new);
        rights::withhold(&mut release, served.lends);
        release
    });
    if release.is_none() {
        reading.forget(key);
    }
    let deployment = deployment_of(index, again, &name, release.as_ref());
    let (mut sets, mut pods) = deployment.map(|deployment| pods_of(index, deployment)).unwrap_or_default();
    for pod in &mut pods {
        let seen = findings.ready_ahead.get(&pod.uid).copied();
        pod.ready_since = pod.ready_since.map(|since| seen.map_or(since, |seen| since.min(seen)));
    }
    let uid = deployment.map(|deployment| &*deployment.metadata.uid);
    let mut target = deployment.filter(|deployment| !deployment.metadata.deleted).map(workload);
    if let Some((target, labelled)) = target.as_mut().zip(findings.labelled) {
        target.label_unseen = labelled.uid == target.uid && labelled.generation == target.generation;
    }
    let mut templates = templates(index, again, &name, uid, &findings.let_go);
    let stored = match (&release, &mut target) {
        (Some(release), Some(target)) => {
            stored::known(&release.status, findings.last_write.as_ref(), target, &mut sets, &mut templates)
        }
        (None, _) | (_, None) => Stored::default(),
    };
    let copy = copy(index, &name).and_then(|copy| again.deployment(index, &copy)).map(workload);
    Ok(Snapshot {
        now,
        key: key.clone(),
        copy,
        rival: release.as_ref().and(deployment).and_then(|deployment| rival(index, key, deployment)),
        content: release
            .as_ref()
            .zip(target.as_ref())
            .and_then(|(release, target)| reading.content(key, release, target)),
        target,
        sets,
        pods,
        templates,
        jobs: jobs(index, &name, release.as_ref()),
        trials: trials(index, key, release.as_ref()),
        outputs: findings.outputs,
        locks: locks(index, key, release.as_ref()),
        actions: actions(index, &name, release.as_ref()),
        freezes: freezes(index, &name, found),
        served,
        looking_since: findings.looking_since,
        unheard: unheard(index, key, now, |_| true),
        unheard_jobs: unheard(index, key, now, |unheard| unheard.is_of("Job")),
        unheard_templates: unheard(index, key, now, |unheard| unheard.is_of("ControllerRevision")),
        probes: findings.probes,
        told: findings.told,
        measured: since_written(findings.measured, release.as_ref(), now),
        quarantined: quarantined(index, key),
        gathered: findings.gathered,
        placed: findings.placed,
        stored,
        way_back: findings.way_back,
        missed: findings.missed,
        marked: findings.marked,
        release,
    })
}

/// Of what concerns a Release and is one of these, what has not been heard for the longest time; where that lasts, what a move is seen by before all.
fn unheard(index: &Index, key: &Key, now: Timestamp, is_one: impl Fn(&Unheard) -> bool) -> Option<Unheard> {
    let is_here =
        |unheard: &&Unheard| unheard.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
    let first = |unheard: &&Unheard| (!unheard.lasts(now), !unheard.is_of_pods(), unheard.since);
    let ours = index.unheard.values().filter(is_here).filter(|unheard| is_one(unheard));
    ours.min_by_key(first).cloned()
}

/// What may be looked at of a Release and is an outline: the Release, the Deployments that it may be about, and what was kept of those.
fn lacking(index: &Index, again: &Again, name: &ObjectKey) -> Vec<Outlined> {
    let target = index.releases.get(name).and_then(|release| release.spec.target.as_deref());
    let deployments = [
        target.map(|target| name.beside(target)),
        in_hand(index, name),
        left_behind(index, name),
        copy(index, name),
    ];
    let templates = index.templates.children(name).take(MOST_TEMPLATES).map(|(key, _)| key.clone());
    let mut wanted = vec![Outlined::Release(name.clone())];
    wanted.extend(deployments.into_iter().flatten().map(Outlined::Deployment));
    wanted.extend(templates.map(Outlined::Template));
    wanted.retain(|wanted| again.lacks(index, wanted));
    wanted.dedup();
    wanted
}

/// The Release that has the older right to a Deployment, where that is another one.
fn rival(index: &Index, key: &Key, deployment: &slim::Deployment) -> Option<String> {
    let holder = index.holder(deployment)?;
    (holder.name() != key.name).then(|| holder.name().to_owned())
}

fn workload(deployment: &slim::Deployment) -> Workload {
    let slim::Deployment { metadata, managed_by_us, spec, status, is_outline: _ } = deployment;
    let annotation = |name: &str| metadata.annotation(name).map(str::to_owned);
    Workload {
        uid: metadata.uid.to_string(),
        name: metadata.key.name().to_owned(),
        generation: metadata.generation,
        observed_generation: status.observed_generation,
        has_annotations: metadata.annotations.is_some(),
        has_labels: metadata.labels.is_some(),
        release_label: metadata.label(crate::api::RELEASE_LABEL).map(str::to_owned),
        label_unseen: false,
        originals: annotation(crate::api::ORIGINALS),
        stable: annotation(crate::api::STABLE),
        held: annotation(crate::api::HELD),
        on_delete: annotation(crate::api::ON_DELETE),
        changed_by: metadata.annotation(crate::api::CHANGED_BY).and_then(Authors::read),
        revision: annotation(REVISION),
        managed_by_us: *managed_by_us,
        // The API server takes none below zero; whatever else says so is not to be reckoned with.
        replicas: spec.replicas.unwrap_or(1).max(0),
        paused: spec.paused,
        min_ready_seconds: spec.min_ready_seconds,
        progress_deadline_seconds: spec.progress_deadline_seconds,
        strategy: spec.strategy.read().unwrap_or_default(),
        template: spec.template.text.clone(),
        too_much: spec.template.too_much.map(|too_much| too_much.to_string()),
        fingerprint: spec.template.fingerprint.to_string(),
        images: spec.template.images.to_vec(),
        updated_replicas: status.updated_replicas,
        available_replicas: status.available_replicas,
        status_replicas: status.replicas,
    }
}

fn pods_of(index: &Index, deployment: &slim::Deployment) -> (Vec<PodSet>, Vec<Pod>) {
    let (mut sets, mut found) = (Vec::new(), Vec::new());
    for (name, set) in index.sets.children(&deployment.metadata.key) {
        if !set.metadata.is_owned_by(&deployment.metadata.uid) {
            continue;
        }
        let uid = &set.metadata.uid;
        let owned = index.pods.children(name).filter(|(_, pod)| pod.metadata.is_owned_by(uid));
        found.extend(owned.map(|(_, seen)| (seen, pod(seen, uid))));
        sets.push(PodSet {
            name: name.name().to_owned(),
            uid: uid.to_string(),
            fingerprint: set.spec.fingerprint.to_string(),
            outdated: false,
            replicas: set.spec.replicas.unwrap_or(1).clamp(0, MOST_PODS),
            desired: set.metadata.annotation(DESIRED).and_then(|number| number.parse().ok()),
            revision: set.metadata.annotation(REVISION).and_then(|number| number.parse().ok()),
            counted: counted(set),
        });
    }
    (sets, silent::with_their_nodes(found))
}

fn counted(set: &slim::ReplicaSet) -> Option<i32> {
    let has_looked = set.status.observed_generation >= set.metadata.generation;
    has_looked.then_some(set.status.ready_replicas)
}

/// Pods that are kept for a Release and not on their way out. One that does not say until when is not ours to end.
fn quarantined(index: &Index, key: &Key) -> Vec<Quarantined> {
    let of = |(name, pod): (&ObjectKey, &slim::Pod)| {
        let until = sensible(pod.metadata.annotation(QUARANTINED_UNTIL)?.parse().ok()?);
        let (name, uid) = (name.name().to_owned(), pod.metadata.uid.to_string());
        (!pod.metadata.deleted).then_some(Quarantined { name, uid, until })
    };
    index.pods.children(&quarantine_of(&key.namespace, &key.name)).filter_map(of).collect()
}

fn pod(found: &slim::Pod, set_uid: &str) -> Pod {
    let slim::Pod { metadata, spec: _, status } = found;
    let containers = || status.init_container_statuses.iter().chain(&status.container_statuses);
    let says = |is: PodIs, holds: Holds| status.condition(is).filter(|condition| condition.status == holds);
    let waiting = containers()
        .find_map(|container| container.state.waiting.as_ref().filter(|waiting| waiting.reason.is_some()));
    // That one was killed for its memory is not to be hidden by another one's, or a later, end.
    let ended = || {
        let ends = containers()
            .flat_map(|container| [&container.state.terminated, &container.last_state.terminated]);
        ends.filter_map(Option::as_deref).filter(|end| end.exit_code != 0 && end.reason.is_some())
    };
    let killed = ended().filter(|end| end.reason.as_deref() == Some(OUT_OF_MEMORY)).reduce(later);
    let end = killed.or_else(|| ended().reduce(later));
    let restarts = || containers().map(|container| u32::try_from(container.restart_count).unwrap_or(0));
    let running = status.container_statuses.iter().filter_map(|container| container.state.running.as_ref());
    let started = running.filter_map(|running| running.started_at).max();
    Pod {
        name: metadata.key.name().to_owned(),
        uid: metadata.uid.to_string(),
        set_uid: set_uid.to_owned(),
        ip: status.pod_ip.as_deref().map(str::to_owned),
        ready_since: says(PodIs::Ready, Holds::True).and_then(|ready| ready.last_transition_time),
        terminating: metadata.deleted || status.phase != PodPhase::Other,
        lingers: metadata.deleted && status.phase == PodPhase::Other,
        started_at: started,
        restarts: restarts().max().unwrap_or(0),
        restarts_in_all: restarts().fold(0, u32::saturating_add),
        waiting: waiting.and_then(|waiting| waiting.reason.as_deref()).map(str::to_owned),
        waiting_message: waiting.and_then(|waiting| waiting.message.as_deref()).map(joined_lines),
        ended: end.and_then(|end| end.reason.as_deref()).map(str::to_owned),
        ended_at: end.and_then(|end| end.finished_at),
        ended_message: end.and_then(|end| end.message.as_deref()).map(joined_lines),
        unschedulable_since: says(PodIs::PodScheduled, Holds::False)
            .filter(|condition| condition.reason.as_deref() == Some("Unschedulable"))
            .map(|condition| condition.last_transition_time.unwrap_or(Timestamp::UNIX_EPOCH)),
        cut_off: silent::is_cut_off(status),
    }
}

/// The later of two ends. One of which no time is told was before any other.
fn later<'e>(one: &'e slim::Terminated, other: &'e slim::Terminated) -> &'e slim::Terminated {
    if other.finished_at > one.finished_at { other } else { one }
}

/// What a container, or somebody about it, wrote at its end: it is told in sentences.
fn joined_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(outputs::printable).filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}

fn templates(
    index: &Index,
    again: &Again,
    release: &ObjectKey,
    uid: Option<&str>,
    let_go: &BTreeSet<String>,
) -> BTreeMap<String, StoredTemplate> {
    // With no Deployment any more all of them are: what is left of a Release that is gone is forgotten. But for what a Deployment would go back to that has
    // come into other hands in the middle of a run.
    // One without an owner was orphaned with its Deployment, or restored from a backup: it stands where ours would, and says what ours would.
    let is_owned = |metadata: &Meta, uid: &str| metadata.owners.is_empty() || metadata.is_owned_by(uid);
    let mine = |kept: &slim::StoredTemplate| match uid {
        Some(uid) => is_owned(&kept.metadata, uid),
        None => waited_for_by(index, kept).is_none_or(|found| {
            let known = again.deployment(index, &found.metadata.key);
            known.is_some_and(|known| !known.is_in_a_run())
        }),
    };
    let of = |(name, kept): (&ObjectKey, &slim::StoredTemplate)| {
        // The fingerprint is taken from the template itself: what an annotation says may have been changed.
        let (fingerprint, template) = (kept.data.fingerprint.to_string(), kept.data.text.clone());
        let uid = kept.metadata.uid.to_string();
        let let_go = let_go.contains(&uid);
        (name.name().to_owned(), StoredTemplate { uid, fingerprint, template, let_go })
    };
    let known =
        index.templates.children(release).filter_map(|(key, _)| Some((key, again.template(index, key)?)));
    known.filter(|(_, kept)| mine(kept)).map(of).collect()
}

fn jobs(index: &Index, name: &ObjectKey, release: Option<&ReleaseFacts>) -> BTreeMap<String, JobFacts> {
    own_jobs(index, name, release).map(|(job, facts)| (job.to_owned(), job_facts(facts))).collect()
}

/// Those of this Release: an earlier one of the same name may have left others, which are about to go with it.
fn own_jobs<'i>(
    index: &'i Index,
    name: &ObjectKey,
    release: Option<&'i ReleaseFacts>,
) -> impl Iterator<Item = (&'i str, &'i slim::Job)> {
    let own = move |job: &slim::Job| release.is_some_and(|release| job.metadata.is_owned_by(&release.uid));
    index.jobs.children(name).filter(move |(_, job)| own(job)).map(|(name, job)| (name.name(), job))
}

/// Jobs of trial pods, each with its pod.
fn trials(index: &Index, key: &Key, release: Option<&ReleaseFacts>) -> BTreeMap<String, Trial> {
    let place = trials_of(&key.namespace, &key.name);
    let of = |(job, found): (&str, &slim::Job)| {
        let uid = &found.metadata.uid;
        let pod = index.pods.children(&place).map(|(_, pod)| pod).find(|pod| pod.metadata.is_owned_by(uid));
        let trial = Trial {
            uid: uid.to_string(),
            terminating: found.metadata.deleted,
            pod: pod.map(|found| self::pod(found, "")),
            exit: pod.and_then(exit),
            unplaced: pod.and_then(unplaced),
        };
        (job.to_owned(), trial)
    };
    own_jobs(index, &ObjectKey::from(key), release)
        .filter(|(_, job)| is_of_trial(&job.metadata))
        .map(of)
        .collect()
}

/// How a container ended that is not started again. What ends because its pod is deleted ends by no fault of its own.
fn exit(pod: &slim::Pod) -> Option<Exit> {
    if pod.metadata.deleted {
        return None;
    }
    let containers = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    let mut ends = containers.filter_map(|container| container.state.terminated.as_ref());
    let end = ends.find(|end| end.exit_code != 0)?;
    Some(Exit { code: end.exit_code, reason: end.reason.as_deref().map(str::to_owned) })
}

fn unplaced(pod: &slim::Pod) -> Option<String> {
    let condition = pod.status.condition(PodIs::PodScheduled)?;
    let says = condition.message.as_deref().map(joined_lines).unwrap_or_default();
    (condition.status == Holds::False).then_some(says)
}

/// Locks of the other Releases of the namespace, where this one has or wants any.
fn locks(index: &Index, key: &Key, release: Option<&ReleaseFacts>) -> Option<Vec<LockFacts>> {
    #[derive(Deserialize)]
    struct Status {
        run: Option<InRun>,
    }
    #[derive(Deserialize)]
    struct InRun {
        id: String,
        locks: Option<LocksStatus>,
    }
    let wanted = release.is_some_and(|release| {
        let spec = release.spec.as_ref().is_ok_and(|spec| !spec.locks.is_empty());
        release.status.run.is_some() && spec
    });
    if !wanted {
        return Some(Vec::new());
    }
    if index.releases.is_being_listed(&key.namespace) {
        return None;
    }
    let others = index
        .releases
        .iter()
        .filter(|(name, _)| name.namespace() == key.namespace && name.name() != key.name);
    let of = |(name, release): (&ObjectKey, &slim::Release)| {
        let run = release.status.read::<Option<Status>>().ok()??.run?;
        Some(LockFacts { release: name.name().to_owned(), run: run.id, locks: run.locks? })
    };
    Some(others.filter_map(of).collect())
}

fn job_facts(job: &slim::Job) -> JobFacts {
    JobFacts { state: job_state(job), definition: job.metadata.label(DEFINITION_LABEL).map(str::to_owned) }
}

fn job_state(job: &slim::Job) -> JobState {
    let is = |name: &str| {
        job.status.conditions.iter().find(|condition| condition.type_ == name && condition.status == "True")
    };
    if is("Complete").is_some() {
        return JobState::Succeeded;
    }
    match is("Failed") {
        Some(failed) => {
            let reason = failed.reason.clone().unwrap_or_default();
            let message = failed.message.clone().unwrap_or_default();
            JobState::Failed { message: format!("{reason}: {message}") }
        }
        None => JobState::Running,
    }
}

/// What people said that is not marked yet. Of what stops a run, and of all else, so much is looked at, what was said first before all; and always what
/// status says took effect, which is forgotten there only once it is marked here.
fn actions(index: &Index, name: &ObjectKey, release: Option<&ReleaseFacts>) -> Vec<ActionFacts> {
    // An older Release of this name counted its runs as this one does: what was said about that is not about this. Both moments are
    // the API server's.
    let since = index.releases.get(name).and_then(|release| release.metadata.created);
    let took_effect = release.into_iter().flat_map(|release| &release.status.handled);
    let took_effect: BTreeSet<&str> = took_effect.map(|handled| handled.uid.as_str()).collect();
    let said = index.actions.children(name).filter(|(_, action)| action.metadata.created >= since);
    let mut said: Vec<(&ObjectKey, &slim::ReleaseAction)> = said.collect();
    said.sort_by_key(|&(name, action)| (action.metadata.created, name));
    let (mut stops, mut others) = (0, 0);
    said.retain(|(_, action)| {
        let is_stop = action.spec.action.is_some_and(Action::stops);
        let known = if is_stop { &mut stops } else { &mut others };
        *known += 1;
        *known <= MOST_ACTIONS || took_effect.contains(&*action.metadata.uid)
    });
    let facts = |(name, action): (&ObjectKey, &slim::ReleaseAction)| {
        let said: ReleaseActionSpec = action.spec.text.read().ok()?;
        Some(ActionFacts {
            uid: action.metadata.uid.to_string(),
            name: name.name().to_owned(),
            created: action.metadata.created.unwrap_or(Timestamp::UNIX_EPOCH),
            action: said.action,
            role: said.role,
            check: said.check,
            undo: said.undo,
            content: said.content,
            freeze: said.freeze,
            ground: said.ground,
            run: said.run,
            by: said.by,
            reason: letters::in_order(&said.reason.unwrap_or_default()),
        })
    };
    said.into_iter().filter_map(facts).collect()
}

/// Freezes that select the Release. One that this build cannot read holds: somebody has ordered it.
fn freezes(index: &Index, name: &ObjectKey, release: Option<&slim::Release>) -> Freezes {
    let own = release.map(|release| labels(&release.metadata)).unwrap_or_default();
    let namespace = name.namespace();
    let around = index.namespaces.get(&ObjectKey::new(namespace, namespace));
    let mut around = around.map(|namespace| labels(&namespace.metadata)).unwrap_or_default();
    // The API server sees to it that each has this one: it is so also of a namespace that cannot be read.
    around.insert(NAMESPACE_NAME.to_owned(), namespace.to_owned());
    let facts = |freeze: &slim::Freeze| {
        let name = freeze.metadata.key.name().to_owned();
        let uid = freeze.metadata.uid.to_string();
        let spec: FreezeSpec = match freeze.spec.read() {
            Ok(spec) => spec,
            Err(error) => {
                let reason = format!("this operator cannot read what it says: {error}");
                let (from, until) = (Timestamp::MIN, Timestamp::MAX);
                return Some(FreezeFacts { name, uid, from, until, reason, grounds: Vec::new() });
            }
        };
        let FreezeSpec { from, to, reason, namespace_selector, release_selector, passes } = spec;
        let selects = |selector: Option<Labels>, labels: &BTreeMap<String, String>| {
            selector.is_none_or(|selector| selector.match_these(labels))
        };
        (selects(namespace_selector, &around) && selects(release_selector, &own)).then(|| FreezeFacts {
            name,
            uid,
            from: from.map_or(Timestamp::MIN, |from| from.0),
            until: to.map_or(Timestamp::MAX, |to| to.0),
            reason: letters::in_order(&reason),
            grounds: passes.into_iter().map(|pass| pass.ground).collect(),
        })
    };
    let unread: Vec<String> = index.unread.values().cloned().collect();
    Freezes {
        known: index.freezes.iter().filter_map(|(_, freeze)| facts(freeze)).collect(),
        unread: (!unread.is_empty()).then(|| format!("freezes may not all be known: {}", unread.join("; "))),
    }
}

fn labels(metadata: &Meta) -> BTreeMap<String, String> {
    let all = metadata.labels.iter().flat_map(Texts::iter);
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn served(index: &Index) -> Served {
    let both = |kind: &str, name: &str| {
        index.policies.contains(&format!("{kind}/{name}"))
            && index.policies.contains(&format!("{kind}Binding/{name}"))
    };
    let mutating = |name: &str| both("MutatingAdmissionPolicy", name);
    let validating = |name: &str| both("ValidatingAdmissionPolicy", name);
    Served {
        hold: mutating("tidegate-workload-hold") && mutating("tidegate-workload-pace"),
        rights: validating("tidegate-action-rights"),
        lends: rights::POLICIES.into_iter().find(|name| !validating(name)),
    }
}

/// What status already counts in is not counted twice.
fn since_written(mut measured: Measured, release: Option<&ReleaseFacts>, now: Timestamp) -> Measured {
    let Measured {
        slots,
        missing,
        stable_missing,
        values,
        definition: _,
        history: _,
        source: _,
        trouble: _,
        query: _,
    } = &measured;
    if slots.is_empty() && missing.is_empty() && stable_missing.is_empty() && values.is_empty() {
        return measured;
    }
    let run = release.and_then(|release| release.status.run.as_ref());
    let state = run.and_then(|run| run.judged().read::<judge::State>()).unwrap_or_default();
    let now = now.as_second();
    measured.slots.retain(|slot| state.lacks(slot.t, now));
    measured.missing.retain(|(t, _)| state.lacks_missing(*t, now));
    measured.stable_missing.retain(|(t, _)| state.lacks_missing(*t, now));
    let known = run.and_then(|run| run.values.read::<ValuesState>()).unwrap_or_default();
    measured.values.retain(|sample| known.lacks(sample, now));
    measured
}

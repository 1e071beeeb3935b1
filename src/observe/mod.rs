//! From the index and what was measured to one owned, immutable [`Snapshot`].
//!
//! `probes`, `measure`, `outputs`, `gather`, `values` and `credentials` fetch what the cluster does not push: answers of checks, counters,
//! what Jobs said, what pods wrote before they go, other numbers, and what it takes to ask for them. They only read, and `reach` says
//! where they may. `reading` keeps what Releases in a run say.

pub mod credentials;
pub mod gather;
mod happened;
mod kept;
pub mod measure;
pub mod outputs;
pub mod probes;
pub mod reach;
pub mod reading;
pub mod values;

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::api::ObjectMeta;
use serde::Deserialize;

use crate::api::QUARANTINED_UNTIL;
use crate::api::labels::Labels;
use crate::api::status::LocksStatus;
use crate::api::{FreezeSpec, ReleaseActionSpec, ReleaseActionStatus};
use crate::decide::fields::REVISION;
use crate::decide::notify::Told;
use crate::decide::snapshot::{
    ActionFacts, Exit, FreezeFacts, Freezes, Gathered, JobFacts, JobOutput, LockFacts, Measured,
    OUT_OF_MEMORY, Pod, PodSet, ProbeAnswer, ProbeId, Quarantined, ReleaseFacts, Served, Snapshot,
    StoredTemplate, Trial, WayBack, Workload,
};
use crate::decide::values::State as ValuesState;
use crate::decide::{Key, judge};
use crate::observe::reading::Reading;
use crate::watch::index::{DESIRED, Index, is_of_trial, quarantine_of, trials_of};
use crate::watch::slim;

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
    /// How far a way back was seen to have come.
    pub way_back: Option<WayBack>,
}

/// Everything known about one Release.
pub fn observe(index: &Index, reading: &Reading, key: &Key, findings: Findings, now: Timestamp) -> Snapshot {
    let name = (key.namespace.clone(), key.name.clone());
    let release = index.releases.get(&name).map(|release| reading.of(key, release));
    if release.is_none() {
        reading.forget(key);
    }
    let wanted = release.as_ref().and_then(|release| target_name(index, key, release));
    let target_name = match (&release, wanted) {
        (Some(_), wanted) => wanted,
        (None, _) => index
            .deployments
            .children(&name)
            .next()
            .map(|(_, found)| found.metadata.name.clone().unwrap_or_default()),
    };
    let deployment = target_name.and_then(|target| index.deployments.get(&(key.namespace.clone(), target)));
    let (sets, pods) = deployment.map(|deployment| pods_of(index, key, deployment)).unwrap_or_default();
    let uid = deployment.and_then(|deployment| deployment.metadata.uid.clone());
    let target =
        deployment.filter(|deployment| deployment.metadata.deletion_timestamp.is_none()).map(workload);
    Snapshot {
        now,
        key: key.clone(),
        rival: release.as_ref().and(deployment).and_then(|deployment| rival(index, key, deployment)),
        content: release
            .as_ref()
            .zip(target.as_ref())
            .and_then(|(release, target)| reading.content(key, release, target)),
        target,
        sets,
        pods,
        templates: templates(index, &name, uid.as_deref()),
        jobs: jobs(index, &name, release.as_ref()),
        trials: trials(index, key, release.as_ref()),
        outputs: findings.outputs,
        locks: locks(index, key, release.as_ref()),
        actions: actions(index, &name),
        freezes: freezes(index, &name),
        served: served(index),
        looking_since: findings.looking_since,
        probes: findings.probes,
        told: findings.told,
        measured: since_written(findings.measured, release.as_ref()),
        quarantined: quarantined(index, key),
        gathered: findings.gathered,
        way_back: findings.way_back,
        release,
    }
}

fn target_name(index: &Index, key: &Key, release: &ReleaseFacts) -> Option<String> {
    match &release.spec {
        Ok(spec) => Some(spec.target_ref.name.clone()),
        // Going back must work with a spec that cannot be read: the label says which Deployment it is.
        Err(_) => {
            let name = (key.namespace.clone(), key.name.clone());
            index.deployments.children(&name).next().map(|((_, deployment), _)| deployment.clone())
        }
    }
}

/// The Release that has the older right to a Deployment: the one that its label names, also when it is deleted and has not given the
/// Deployment back yet; else the one made first.
fn rival(index: &Index, key: &Key, deployment: &slim::Deployment) -> Option<String> {
    let target = (key.namespace.clone(), deployment.metadata.name.clone().unwrap_or_default());
    let candidates: Vec<_> = index.releases.children(&target).collect();
    let labelled =
        deployment.metadata.labels.as_ref().and_then(|labels| labels.get(crate::api::RELEASE_LABEL));
    let deleted = |name: &&String| index.releases.get(&(key.namespace.clone(), (*name).clone())).is_none();
    let holder = labelled
        .filter(|name| deleted(name) || candidates.iter().any(|((_, candidate), _)| candidate == *name));
    let first = || {
        let made = |release: &slim::Release| slim::moment(release.metadata.creation_timestamp.as_ref());
        candidates
            .iter()
            .min_by_key(|((_, name), release)| (made(release), name.clone()))
            .map(|((_, name), _)| name)
    };
    holder.or_else(first).filter(|name| **name != key.name).cloned()
}

fn workload(deployment: &slim::Deployment) -> Workload {
    let slim::Deployment { metadata, managed_by_us, spec, status } = deployment;
    let annotation = |name: &str| metadata.annotations.as_ref()?.get(name).cloned();
    Workload {
        uid: metadata.uid.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or(0),
        observed_generation: status.observed_generation,
        has_annotations: metadata.annotations.is_some(),
        has_labels: metadata.labels.is_some(),
        release_label: metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(crate::api::RELEASE_LABEL).cloned()),
        originals: annotation(crate::api::ORIGINALS),
        stable: annotation(crate::api::STABLE),
        held: annotation(crate::api::HELD),
        on_delete: annotation(crate::api::ON_DELETE),
        changed_by: annotation(crate::api::CHANGED_BY).filter(|by| !by.is_empty()),
        revision: annotation(REVISION),
        managed_by_us: *managed_by_us,
        replicas: spec.replicas.unwrap_or(1),
        paused: spec.paused,
        min_ready_seconds: spec.min_ready_seconds,
        progress_deadline_seconds: spec.progress_deadline_seconds,
        strategy: spec.strategy.read().unwrap_or_default(),
        template: spec.template.text.clone(),
        fingerprint: spec.template.fingerprint.clone(),
        images: spec.template.images.clone(),
        updated_replicas: status.updated_replicas,
        available_replicas: status.available_replicas,
        status_replicas: status.replicas,
    }
}

fn pods_of(index: &Index, key: &Key, deployment: &slim::Deployment) -> (Vec<PodSet>, Vec<Pod>) {
    let owner = (key.namespace.clone(), deployment.metadata.name.clone().unwrap_or_default());
    let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
    let (mut sets, mut pods) = (Vec::new(), Vec::new());
    for (name, set) in index.sets.children(&owner) {
        if !owned_by(&set.metadata, uid) {
            continue;
        }
        let set_uid = set.metadata.uid.clone().unwrap_or_default();
        let owned = index.pods.children(name).filter(|(_, pod)| owned_by(&pod.metadata, &set_uid));
        pods.extend(owned.map(|(_, found)| pod(found, &set_uid)));
        let annotation = |name: &str| set.metadata.annotations.as_ref()?.get(name);
        sets.push(PodSet {
            name: name.1.clone(),
            uid: set_uid,
            fingerprint: set.spec.fingerprint.clone(),
            replicas: set.spec.replicas.unwrap_or(1),
            desired: annotation(DESIRED).and_then(|number| number.parse().ok()),
            revision: annotation(REVISION).and_then(|number| number.parse().ok()),
        });
    }
    (sets, pods)
}

/// Pods that are kept for a Release and not on their way out. One that does not say until when is not ours to end.
fn quarantined(index: &Index, key: &Key) -> Vec<Quarantined> {
    let of = |((_, name), pod): (&(String, String), &slim::Pod)| {
        let until = pod.metadata.annotations.as_ref()?.get(QUARANTINED_UNTIL)?.parse().ok()?;
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        pod.metadata.deletion_timestamp.is_none().then(|| Quarantined { name: name.clone(), uid, until })
    };
    index.pods.children(&quarantine_of(&key.namespace, &key.name)).filter_map(of).collect()
}

fn owned_by(metadata: &ObjectMeta, uid: &str) -> bool {
    metadata.owner_references.as_ref().is_some_and(|owners| owners.iter().any(|owner| owner.uid == uid))
}

fn pod(found: &slim::Pod, set_uid: &str) -> Pod {
    let slim::Pod { metadata, status } = found;
    let containers = || status.init_container_statuses.iter().chain(&status.container_statuses);
    let condition = |name: &str| status.conditions.iter().find(|condition| condition.type_ == name);
    let ready = condition("Ready").filter(|ready| ready.status == "True");
    // A kubelet that says "not ready" says why; whoever says it in the place of a silent one does not.
    let silenced = condition("Ready")
        .is_some_and(|ready| ready.status == "False" && ready.reason.as_deref().is_none_or(str::is_empty));
    let waiting = containers()
        .find_map(|container| container.state.waiting.clone().filter(|waiting| waiting.reason.is_some()));
    // That one was killed for its memory is not to be hidden by another one's, or a later, end.
    let ended = || {
        let ends = containers()
            .flat_map(|container| [&container.state.terminated, &container.last_state.terminated]);
        ends.flatten().filter(|end| end.exit_code != 0 && end.reason.is_some())
    };
    let end = ended().find(|end| end.reason.as_deref() == Some(OUT_OF_MEMORY)).or_else(|| ended().next());
    let restarts = || containers().map(|container| u32::try_from(container.restart_count).unwrap_or(0));
    let running = status.container_statuses.iter().filter_map(|container| container.state.running.as_ref());
    let started = running.filter_map(|running| slim::moment(running.started_at.as_ref())).max();
    Pod {
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        set_uid: set_uid.to_owned(),
        ip: status.pod_ip.clone(),
        ready_since: ready.and_then(|ready| slim::moment(ready.last_transition_time.as_ref())),
        terminating: metadata.deletion_timestamp.is_some()
            || matches!(status.phase.as_str(), "Failed" | "Succeeded"),
        started_at: started,
        restarts: restarts().max().unwrap_or(0),
        restarts_in_all: restarts().fold(0, u32::saturating_add),
        waiting: waiting.as_ref().and_then(|waiting| waiting.reason.clone()),
        waiting_message: waiting.and_then(|waiting| waiting.message).as_deref().map(on_one_line),
        ended: end.and_then(|end| end.reason.clone()),
        ended_message: end.and_then(|end| end.message.as_deref()).map(on_one_line),
        unschedulable: condition("PodScheduled").is_some_and(|condition| {
            condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable")
        }),
        cut_off: silenced
            && condition("ContainersReady").is_some_and(|containers| containers.status == "True"),
    }
}

/// What a container, or somebody about it, wrote at its end: it is told in sentences.
fn on_one_line(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(outputs::printable).filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}

fn templates(
    index: &Index,
    release: &(String, String),
    uid: Option<&str>,
) -> BTreeMap<String, StoredTemplate> {
    // With no Deployment any more all of them are: what is left of a Release that is gone is forgotten.
    let mine = |kept: &slim::StoredTemplate| uid.is_none_or(|uid| owned_by(&kept.metadata, uid));
    let of = |((_, name), kept): (&(String, String), &slim::StoredTemplate)| {
        // The fingerprint is taken from the template itself: what an annotation says may have been changed.
        (
            name.clone(),
            StoredTemplate { fingerprint: kept.data.fingerprint.clone(), template: kept.data.text.clone() },
        )
    };
    index.templates.children(release).filter(|(_, kept)| mine(kept)).map(of).collect()
}

fn jobs(
    index: &Index,
    name: &(String, String),
    release: Option<&ReleaseFacts>,
) -> BTreeMap<String, JobFacts> {
    own_jobs(index, name, release).map(|(job, facts)| (job.clone(), job_facts(facts))).collect()
}

/// Those of this Release: an earlier one of the same name may have left others, which are about to go with it.
fn own_jobs<'i>(
    index: &'i Index,
    name: &'i (String, String),
    release: Option<&'i ReleaseFacts>,
) -> impl Iterator<Item = (&'i String, &'i slim::Job)> {
    let own = move |job: &slim::Job| release.is_some_and(|release| owned_by(&job.metadata, &release.uid));
    index.jobs.children(name).filter(move |(_, job)| own(job)).map(|((_, name), job)| (name, job))
}

/// Jobs of trial pods, each with its pod.
fn trials(index: &Index, key: &Key, release: Option<&ReleaseFacts>) -> BTreeMap<String, Trial> {
    let name = (key.namespace.clone(), key.name.clone());
    let place = trials_of(&key.namespace, &key.name);
    let of = |(job, found): (&String, &slim::Job)| {
        let uid = found.metadata.uid.clone().unwrap_or_default();
        let pod = index.pods.children(&place).map(|(_, pod)| pod).find(|pod| owned_by(&pod.metadata, &uid));
        let trial = Trial {
            terminating: found.metadata.deletion_timestamp.is_some(),
            pod: pod.map(|found| self::pod(found, "")),
            exit: pod.and_then(exit),
            unplaced: pod.and_then(unplaced),
            uid,
        };
        (job.clone(), trial)
    };
    own_jobs(index, &name, release).filter(|(_, job)| is_of_trial(&job.metadata)).map(of).collect()
}

/// How a container ended that is not started again. What ends because its pod is deleted ends by no fault of its own.
fn exit(pod: &slim::Pod) -> Option<Exit> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let containers = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    let mut ends = containers.filter_map(|container| container.state.terminated.as_ref());
    let end = ends.find(|end| end.exit_code != 0)?;
    Some(Exit { code: end.exit_code, reason: end.reason.clone() })
}

fn unplaced(pod: &slim::Pod) -> Option<String> {
    let condition = pod.status.conditions.iter().find(|condition| condition.type_ == "PodScheduled")?;
    let says = condition.message.as_deref().map(on_one_line).unwrap_or_default();
    (condition.status == "False").then_some(says)
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
        .filter(|((namespace, name), _)| *namespace == key.namespace && *name != key.name);
    let of = |((_, name), release): (&(String, String), &slim::Release)| {
        let run = release.status.read::<Option<Status>>().ok()??.run?;
        Some(LockFacts { release: name.clone(), run: run.id, locks: run.locks? })
    };
    Some(others.filter_map(of).collect())
}

fn job_facts(job: &slim::Job) -> JobFacts {
    let is = |name: &str| {
        job.status.conditions.iter().find(|condition| condition.type_ == name && condition.status == "True")
    };
    if is("Complete").is_some() {
        return JobFacts::Succeeded;
    }
    match is("Failed") {
        Some(failed) => {
            let reason = failed.reason.clone().unwrap_or_default();
            let message = failed.message.clone().unwrap_or_default();
            JobFacts::Failed { message: format!("{reason}: {message}") }
        }
        None => JobFacts::Running,
    }
}

fn actions(index: &Index, release: &(String, String)) -> Vec<ActionFacts> {
    // An older Release of this name counted its runs as this one does: what was said about that is not about this. Both moments are
    // the API server's.
    let made = |metadata: &ObjectMeta| slim::moment(metadata.creation_timestamp.as_ref());
    let since = index.releases.get(release).and_then(|release| made(&release.metadata));
    let mut actions: Vec<ActionFacts> = index
        .actions
        .children(release)
        .filter(|(_, action)| made(&action.metadata) >= since)
        // What this build does not know how to do is passed over.
        .filter_map(|((_, name), action)| {
            let said: ReleaseActionSpec = action.spec.text.read().ok()?;
            let marked = action.status.read::<Option<ReleaseActionStatus>>().ok().flatten();
            Some(ActionFacts {
                uid: action.metadata.uid.clone().unwrap_or_default(),
                name: name.clone(),
                created: slim::moment(action.metadata.creation_timestamp.as_ref())
                    .unwrap_or(Timestamp::UNIX_EPOCH),
                action: said.action,
                role: said.role,
                check: said.check,
                undo: said.undo,
                content: said.content,
                freeze: said.freeze,
                ground: said.ground,
                run: said.run,
                by: said.by,
                reason: said.reason.unwrap_or_default(),
                marked: marked.is_some_and(|status| !status.result.is_empty()),
            })
        })
        .collect();
    actions.sort_by(|one, other| (one.created, &one.name).cmp(&(other.created, &other.name)));
    actions
}

/// Freezes that select the Release. One that this build cannot read holds: somebody has ordered it.
fn freezes(index: &Index, release: &(String, String)) -> Freezes {
    let labels = |metadata: &ObjectMeta| metadata.labels.clone().unwrap_or_default();
    let own = index.releases.get(release).map(|release| labels(&release.metadata)).unwrap_or_default();
    let namespace = (release.0.clone(), release.0.clone());
    let mut around =
        index.namespaces.get(&namespace).map(|namespace| labels(&namespace.metadata)).unwrap_or_default();
    // The API server sees to it that each has this one: it is so also of a namespace that cannot be read.
    around.insert(NAMESPACE_NAME.to_owned(), release.0.clone());
    let facts = |freeze: &slim::Freeze| {
        let name = freeze.metadata.name.clone().unwrap_or_default();
        let uid = freeze.metadata.uid.clone().unwrap_or_default();
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
            reason,
            grounds: passes.into_iter().map(|pass| pass.ground).collect(),
        })
    };
    let unread: Vec<String> = index.unread.values().cloned().collect();
    Freezes {
        known: index.freezes.iter().filter_map(|(_, freeze)| facts(freeze)).collect(),
        unread: (!unread.is_empty()).then(|| format!("freezes may not all be known: {}", unread.join("; "))),
    }
}

fn served(index: &Index) -> Served {
    let both = |kind: &str, name: &str| {
        index.policies.contains(&format!("{kind}/{name}"))
            && index.policies.contains(&format!("{kind}Binding/{name}"))
    };
    let mutating = |name| both("MutatingAdmissionPolicy", name);
    Served {
        hold: mutating("tidegate-workload-hold") && mutating("tidegate-workload-pace"),
        rights: both("ValidatingAdmissionPolicy", "tidegate-action-rights"),
    }
}

/// What status already counts in is not counted twice.
fn since_written(mut measured: Measured, release: Option<&ReleaseFacts>) -> Measured {
    let Measured { slots, missing, values, history: _, source: _, trouble: _, query: _ } = &measured;
    if slots.is_empty() && missing.is_empty() && values.is_empty() {
        return measured;
    }
    let run = release.and_then(|release| release.status.run.as_ref());
    let state = run.and_then(|run| run.judged().read::<judge::State>()).unwrap_or_default();
    if let Some(last) = state.last_slot {
        measured.slots.retain(|slot| slot.t > last);
    }
    if let Some(noted) = state.missing_noted {
        measured.missing.retain(|(t, _)| *t > noted);
    }
    let known = run.and_then(|run| run.values.read::<ValuesState>()).unwrap_or_default();
    measured.values.retain(|sample| known.lacks(sample));
    measured
}

//! Pods that are kept alive: in the look that orders them away some lose the labels by which their ReplicaSet and Services choose them,
//! and belong to the Deployment itself from then on. When their time is over they are deleted, whoever is there to ask for it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Draft, witnesses};
use crate::api::status::Stamp;
use crate::api::undo::{QuarantineState, QuarantinedPod};
use crate::api::{Capacity, QUARANTINE, QUARANTINED_LABELS, QUARANTINED_UNTIL};
use crate::decide::decision::{Intent, Relabelled};
use crate::decide::scene::Scene;
use crate::decide::snapshot::{Pod, ProbeId, Snapshot};
use crate::letters::on_one_line;

/// A pod that is still in its ReplicaSet by then is let go with the others.
const LONGEST: Duration = Duration::from_secs(10);
/// Why a pod is not taken out.
const LAST: &str = "no other pod served: it went on until stable pods were Ready";
/// The label by which a ReplicaSet knows its pods.
const HASH: &str = "pod-template-hash";
/// Pods that status names.
const SHOWN: usize = 32;

/// Which pods are to be kept. The last that serves is not, unless all bad pods are to go at once anyway: a bad answer is more than none.
pub fn chosen(scene: &Scene<'_>) -> Vec<QuarantinedPod> {
    let Some(planned) = scene.undo.quarantine else { return Vec::new() };
    let until = Stamp(scene.now() + planned.lasts);
    let pods = scene.stable_pods().chain(scene.canary_pods());
    let mut serving = pods.filter(|pod| pod.serves()).count();
    let one = |pod: &Pod| {
        let is_last = pod.serves() && serving <= 1 && scene.capacity != Capacity::MitigateFirst;
        if pod.serves() && !is_last {
            serving -= 1;
        }
        let (state, message) = match is_last {
            true => (QuarantineState::Lost, LAST.to_owned()),
            false => (QuarantineState::Ordered, String::new()),
        };
        QuarantinedPod { pod: pod.name.clone(), uid: pod.uid.clone(), until, state, message }
    };
    witnesses::worst(scene, planned.pods).into_iter().map(one).collect()
}

/// Takes them out, after the order that goes back. What cannot be done is noted, and not tried for long.
pub fn order(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let run = draft.run().id.clone();
    let Some(back) = draft.run().back.clone() else { return };
    let mut relabelled = Vec::new();
    let mut quarantined = back.quarantined;
    for known in quarantined.iter_mut().filter(|known| known.state == QuarantineState::Ordered) {
        let (state, message) = match stands(draft.snapshot, scene, &run, known) {
            Stands::Kept => (QuarantineState::Kept, String::new()),
            Stands::Refused(message) => (QuarantineState::Lost, message),
            Stands::InItsSet(_) if scene.now() >= back.decided_at.0 + LONGEST => {
                (QuarantineState::Lost, "its labels were not changed in time".to_owned())
            }
            Stands::InItsSet(pod) => {
                // With some of its labels it would stay where it is chosen by them.
                if let Some(given) = given(scene, pod) {
                    let patch = patch(draft, scene, given, known);
                    relabelled.push(Relabelled { pod: pod.name.clone(), patch });
                }
                continue;
            }
            Stands::Gone => (QuarantineState::Lost, "it went before its labels were changed".to_owned()),
        };
        (known.state, known.message) = (state, message);
    }
    if let Some(back) = &mut draft.run().back {
        back.quarantined = quarantined;
    }
    if !relabelled.is_empty() {
        draft.intents.push(Intent::Quarantine { run, pods: relabelled });
    }
}

enum Stands<'s> {
    Kept,
    Refused(String),
    InItsSet(&'s Pod),
    Gone,
}

fn stands<'s>(snapshot: &Snapshot, scene: &Scene<'s>, run: &str, known: &QuarantinedPod) -> Stands<'s> {
    if snapshot.quarantined.iter().any(|pod| pod.name == known.pod) {
        return Stands::Kept;
    }
    if let Some(answer) = snapshot.probes.get(&refusal(run, &known.pod)) {
        return Stands::Refused(on_one_line(&answer.message).take(512).collect());
    }
    scene.canary_pods().find(|pod| pod.name == known.pod).map_or(Stands::Gone, Stands::InItsSet)
}

/// Under which name a refusal comes back.
pub fn refusal(run: &str, pod: &str) -> ProbeId {
    ProbeId { run: run.to_owned(), check: format!("undo.quarantine/{pod}"), attempt: 1, definition: None }
}

/// The labels that its template gave it; `None`: not known.
fn given(scene: &Scene<'_>, pod: &Pod) -> Option<Map<String, Value>> {
    let set = scene.snapshot.sets.iter().find(|set| set.uid == pod.set_uid)?;
    let kept = scene.kept(&set.fingerprint).map(|(_, kept)| &kept.template);
    // One that is seen for the first time is kept by this very look.
    let present = Some(&scene.target.template).filter(|_| scene.target.fingerprint == set.fingerprint);
    let labels = kept.or(present)?.value()["metadata"]["labels"].take();
    Some(labels.as_object().cloned().unwrap_or_default())
}

/// Of the labels that the template gave it none is left; those that somebody else gave it stay.
fn patch(draft: &Draft<'_>, scene: &Scene<'_>, given: Map<String, Value>, known: &QuarantinedPod) -> Value {
    let mut labels: Map<String, Value> = given.keys().map(|name| (name.clone(), Value::Null)).collect();
    labels.insert(HASH.to_owned(), Value::Null);
    labels.insert(QUARANTINE.to_owned(), json!(draft.name()));
    let until = Timestamp::from_second(known.until.0.as_second()).unwrap_or(known.until.0);
    let target = scene.target;
    json!({ "metadata": {
        "uid": known.uid,
        "labels": labels,
        "annotations": {
            QUARANTINED_UNTIL: until.to_string(),
            QUARANTINED_LABELS: Value::Object(given).to_string(),
        },
        // It goes with the Deployment, should nobody delete it before.
        "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "Deployment", "name": target.name, "uid": target.uid,
        }],
    } })
}

/// Deletes those whose time is over, and says when the next one's is.
pub fn over(snapshot: &Snapshot) -> (Vec<Intent>, Option<Timestamp>) {
    let (over, kept): (Vec<_>, Vec<_>) =
        snapshot.quarantined.iter().partition(|pod| pod.until <= snapshot.now);
    let delete =
        over.into_iter().map(|pod| Intent::DeletePod { name: pod.name.clone(), uid: pod.uid.clone() });
    (delete.collect(), kept.into_iter().map(|pod| pod.until).min())
}

/// The same for a Release, with what its status says of them.
pub fn end(draft: &mut Draft<'_>) {
    let (delete, next) = over(draft.snapshot);
    draft.intents.extend(delete);
    if let Some(next) = next {
        draft.wake_at(next);
    }
    let now = draft.snapshot.now;
    let kept = draft.snapshot.quarantined.iter().filter(|pod| pod.until > now);
    let one = |pod: &crate::decide::snapshot::Quarantined| QuarantinedPod {
        pod: pod.name.clone(),
        uid: pod.uid.clone(),
        until: Stamp(pod.until),
        state: QuarantineState::Kept,
        message: String::new(),
    };
    draft.status.quarantined = kept.take(SHOWN).map(one).collect();
}

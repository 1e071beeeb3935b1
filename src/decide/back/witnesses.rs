//! The canary pods that show best what went wrong: how they stand is known, what they wrote is read beside the way back, before they are gone.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::Draft;
use crate::api::status::Back;
use crate::api::undo::PodEvidence;
use crate::decide::decision::{Errand, ErrandKind, Gather, Witness};
use crate::decide::elapsed::yet_to_come;
use crate::decide::judge::Revision;
use crate::decide::podhealth;
use crate::decide::scene::Scene;
use crate::decide::snapshot::{Pod, Snapshot};

/// What has not been read by then is not in the record.
const LONGEST: Duration = Duration::from_secs(10);
/// Containers whose logs are read.
const MOST_CONTAINERS: usize = 4;
/// Characters of what a pod's status says.
const MESSAGE: usize = 512;

/// The worst canary pods, the worst first: those that fail by themselves, then those that answered most requests badly lately, then those that
/// were restarted most.
pub fn worst<'s>(scene: &Scene<'s>, most: usize) -> Vec<&'s Pod> {
    let mut bad: BTreeMap<&str, u64> = BTreeMap::new();
    for slot in &scene.snapshot.measured.slots {
        if slot.revision == Revision::Canary {
            *bad.entry(&slot.pod).or_default() += slot.errors.min(slot.requests);
        }
    }
    let mut pods: Vec<&Pod> = scene.canary_pods().collect();
    pods.sort_by_key(|pod| {
        let bad = bad.get(pod.name.as_str()).copied().unwrap_or(0);
        let is_ready = pod.ready_since.is_some();
        (podhealth::fault(pod).is_none(), Reverse(bad), Reverse(pod.restarts), is_ready, pod.name.clone())
    });
    pods.truncate(most);
    pods
}

/// How a pod stands.
pub fn stands(pod: &Pod) -> PodEvidence {
    let said = |reason: &Option<String>, message: &Option<String>| {
        let text = match (reason, message) {
            (Some(reason), Some(message)) => format!("{reason}: {message}"),
            (Some(reason), None) => reason.clone(),
            (None, _) => String::new(),
        };
        text.chars().take(MESSAGE).collect()
    };
    PodEvidence {
        pod: pod.name.clone(),
        uid: pod.uid.clone(),
        ready: pod.ready_since.is_some(),
        restarts: i32::try_from(pod.restarts).unwrap_or(i32::MAX),
        waiting: said(&pod.waiting, &pod.waiting_message),
        ended: said(&pod.ended, &pod.ended_message),
        ..PodEvidence::default()
    }
}

/// Has what they wrote read, as long as it is not known and may still be there.
pub fn look(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let Some(back) = draft.status.run.as_ref().and_then(|run| run.back.clone()) else { return };
    if !is_awaited(draft, &back) {
        return;
    }
    // Each log is a request to a node, and of one that serves and was never started again there is no earlier log.
    let witness = |pod: PodEvidence| Witness { began_again: pod.restarts > 0 || !pod.ready, pod: pod.pod };
    let pods = back.worst.into_iter().map(witness).collect();
    let gather =
        Gather { pods, containers: containers(draft, scene), log_lines: scene.undo.evidence.log_lines };
    let run = draft.run().id.clone();
    draft.errands.push(Errand { run, name: "evidence".into(), kind: ErrandKind::Gather(gather) });
}

/// Whether the record is to wait for what is being read.
pub fn is_awaited(draft: &Draft<'_>, back: &Back) -> bool {
    let run = draft.status.run.as_ref().map(|run| run.id.as_str());
    let gathered = draft.snapshot.gathered.as_ref().map(|gathered| gathered.run.as_str());
    let is_time = yet_to_come(back.decided_at.0, LONGEST, draft.snapshot.now).is_some();
    !back.worst.is_empty() && gathered != run && is_time
}

/// Until when the record waits for it.
pub fn awaited_until(back: &Back) -> jiff::Timestamp {
    back.decided_at.0 + LONGEST
}

/// The containers of the canary's template, those that serve before those that only begin.
fn containers(draft: &Draft<'_>, scene: &Scene<'_>) -> Vec<String> {
    let canary = draft.status.canary.as_ref().map(|canary| canary.fingerprint.as_str()).unwrap_or_default();
    let Some((_, kept)) = scene.kept(canary) else { return Vec::new() };
    let template = kept.template.value();
    let of = |list: &str| -> Vec<String> {
        let all = template["spec"][list].as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().filter_map(|one: &Value| one["name"].as_str().map(str::to_owned)).collect()
    };
    of("containers").into_iter().chain(of("initContainers")).take(MOST_CONTAINERS).collect()
}

/// The pods for the record: how they stood, and what was read of them.
pub fn recorded(snapshot: &Snapshot, run: &str, back: &Back) -> Vec<PodEvidence> {
    let gathered = snapshot.gathered.as_ref().filter(|gathered| gathered.run == run);
    let one = |pod: &PodEvidence| {
        let mut pod = pod.clone();
        match gathered.and_then(|gathered| gathered.pods.iter().find(|read| read.pod == pod.pod)) {
            Some(read) => {
                pod.events.clone_from(&read.events);
                pod.logs.clone_from(&read.logs);
                pod.unread.clone_from(&read.unread);
            }
            None => pod.unread = vec!["events and logs were not read in time".to_owned()],
        }
        pod
    };
    back.worst.iter().map(one).collect()
}

//! Pods that fail by themselves: decided at once, from the pods' status, without statistics.

use super::scene::Scene;
use super::snapshot::{OUT_OF_MEMORY, Pod, Snapshot};

/// Waiting reasons that do not heal by waiting.
const FATAL: [&str; 7] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// A sentence when canary pods fail by themselves; `None` when they do not, or when stable pods fail in the same way.
pub fn failing(scene: &Scene<'_>) -> Option<String> {
    said_of(scene, scene.canary_pods().collect())
}

/// The same of one revision only, where another has come meanwhile.
pub fn failing_of(scene: &Scene<'_>, fingerprint: &str) -> Option<String> {
    said_of(scene, scene.snapshot.live_pods(|known| known == fingerprint).collect())
}

fn said_of(scene: &Scene<'_>, canary: Vec<&Pod>) -> Option<String> {
    let reason = canary.iter().find_map(|pod| fault(pod))?;
    if scene.stable_pods().any(|pod| fault(pod) == Some(reason)) {
        return None;
    }
    sentence("canary", &canary, reason)
}

/// The same of stable pods: nothing that is decided rests on it, but what waits for them waits in vain.
pub fn stable_failing(snapshot: &Snapshot, stable: &str) -> Option<String> {
    let stable: Vec<&Pod> = snapshot.live_pods(|fingerprint| fingerprint == stable).collect();
    let reason = stable.iter().filter(|pod| pod.ready_since.is_none()).find_map(|pod| fault(pod))?;
    sentence("stable", &stable, reason)
}

fn sentence(which: &str, pods: &[&Pod], reason: &str) -> Option<String> {
    let failing: Vec<&&Pod> = pods.iter().filter(|pod| fault(pod) == Some(reason)).collect();
    let first = failing.first()?;
    let detail = detail(first).map(|detail| format!(": {detail}")).unwrap_or_default();
    Some(format!("{} of {} {which} pods: {reason} (pod {}){detail}", failing.len(), pods.len(), first.name))
}

/// What its node says of why it waits, as far as it is told.
pub fn detail(pod: &Pod) -> Option<String> {
    let says = pod.waiting_message.as_deref().filter(|says| !says.is_empty());
    says.map(|says| says.chars().take(200).collect())
}

/// Why a pod fails by itself, if it does.
pub fn fault(pod: &Pod) -> Option<&str> {
    let waiting = pod.waiting.as_deref().filter(|reason| FATAL.contains(reason));
    waiting.or_else(|| pod.ended.as_deref().filter(|reason| *reason == OUT_OF_MEMORY))
}

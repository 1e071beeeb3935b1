//! Pods that fail by themselves: found at once, from the pods' status, without statistics.

use jiff::Timestamp;

use super::scene::Scene;
use super::snapshot::{OUT_OF_MEMORY, Pod, Snapshot};

const CRASH_LOOP: &str = "CrashLoopBackOff";
const PULL: &str = "ImagePullBackOff";
/// What it is called while it is tried again.
const PULLS: &str = "ErrImagePull";

/// Waiting reasons that do not heal by waiting.
const FATAL: [&str; 7] = [
    CRASH_LOOP,
    PULL,
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// One way in which canary pods fail by themselves, and stable pods do not.
#[derive(Debug)]
pub struct Failing {
    /// `ImagePullBackOff`
    pub reason: String,
    /// Which pods do, in a sentence.
    pub message: String,
    /// Nothing of the version has begun in them, and most of its pods are Ready: what is wrong is about these pods, and not in the version.
    pub is_of_surroundings: bool,
    /// Half of the version's pods do, or more.
    pub is_of_many: bool,
}

/// How canary pods fail by themselves, what their version is to blame for first. `began`: when the run did.
pub fn failing(scene: &Scene<'_>, began: Timestamp) -> Vec<Failing> {
    found_in(scene, &scene.canary_pods().collect::<Vec<_>>(), began)
}

/// The same of one revision only, where another has come meanwhile.
pub fn failing_of(scene: &Scene<'_>, fingerprint: &str, began: Timestamp) -> Vec<Failing> {
    let canary: Vec<&Pod> = scene.snapshot.live_pods(|known| known == fingerprint).collect();
    found_in(scene, &canary, began)
}

fn found_in(scene: &Scene<'_>, canary: &[&Pod], began: Timestamp) -> Vec<Failing> {
    let stable: Vec<&Pod> = scene.stable_pods().collect();
    let is_excused = |reason: &str| {
        let of_canary = Share::among(canary, |pod| has(pod, reason));
        Share::among(&stable, |pod| fails_too(pod, reason, began)).excuses(of_canary)
    };
    let ready = canary.iter().filter(|pod| pod.ready_since.is_some()).count();
    let most_are_ready = 2 * ready > canary.len();
    let of = |reason: &str| {
        let has_begun = [CRASH_LOOP, OUT_OF_MEMORY].contains(&reason);
        Some(Failing {
            reason: reason.to_owned(),
            message: sentence("canary", canary, reason)?,
            is_of_surroundings: most_are_ready && !has_begun,
            is_of_many: 2 * Share::among(canary, |pod| has(pod, reason)).pods >= canary.len(),
        })
    };
    let reasons = reasons(canary).into_iter().filter(|reason| !is_excused(reason));
    let mut found: Vec<Failing> = reasons.filter_map(of).collect();
    found.sort_by_key(|failing| failing.is_of_surroundings);
    found
}

/// How pods fail, each way once.
fn reasons<'p>(pods: &[&'p Pod]) -> Vec<&'p str> {
    let mut reasons = Vec::new();
    for reason in pods.iter().flat_map(|pod| faults(pod)) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    reasons
}

/// How many of some pods fail in one way.
#[derive(Clone, Copy, Debug)]
struct Share {
    pods: usize,
    of: usize,
}

impl Share {
    fn among(pods: &[&Pod], fails: impl Fn(&Pod) -> bool) -> Self {
        Self { pods: pods.iter().filter(|pod| fails(pod)).count(), of: pods.len() }
    }

    /// Whether what stable pods have excuses the canary's: it is no rarer there. Of the canary's pods so many may fail as are stable's share of
    /// them, rounded to whole pods, half a pod to none; and one stable pod excuses one canary pod at most.
    ///
    /// So one of ten excuses one of ten, eight of ten excuse a canary that is one pod, and neither one of a hundred nor the only one that is
    /// left excuses five of five.
    fn excuses(self, canary: Self) -> bool {
        // canary.pods < canary.of * self.pods / self.of + 1/2
        let is_no_rarer = 2 * canary.pods * self.of < 2 * canary.of * self.pods + self.of;
        is_no_rarer && (canary.pods <= 1 || self.pods > 1)
    }
}

/// Whether a stable pod fails in this way now, or has since the run began. A pod that is Ready tells for as long as it lives of how a container of
/// it ended once: what was before the run is not what canary pods fail of.
fn fails_too(pod: &Pod, reason: &str, began: Timestamp) -> bool {
    let is_ready = pod.ready_since.is_some();
    // Kubernetes' times are whole seconds.
    let ended_lately = pod.ended_at.is_some_and(|at| at.as_second() >= began.as_second());
    if has(pod, reason) {
        return !is_ready || ended_lately;
    }
    // What is tried again and again is not called the same all the time.
    match reason {
        CRASH_LOOP => !is_ready && ended_lately,
        PULL => pod.waiting.as_deref() == Some(PULLS),
        _ => false,
    }
}

/// The same of stable pods: nothing that is decided rests on it, but what waits for them waits in vain.
pub fn stable_failing(snapshot: &Snapshot, stable: &str) -> Option<String> {
    let stable: Vec<&Pod> = snapshot.live_pods(|fingerprint| fingerprint == stable).collect();
    let reason = stable.iter().filter(|pod| pod.ready_since.is_none()).find_map(|pod| fault(pod))?;
    sentence("stable", &stable, reason)
}

fn sentence(which: &str, pods: &[&Pod], reason: &str) -> Option<String> {
    let failing: Vec<&&Pod> = pods.iter().filter(|pod| has(pod, reason)).collect();
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
    faults(pod).next()
}

/// All there is of that: what it waits for, and that it was killed for its memory.
fn faults(pod: &Pod) -> impl Iterator<Item = &str> {
    let waiting = pod.waiting.as_deref().filter(|reason| FATAL.contains(reason));
    let killed = pod.ended.as_deref().filter(|reason| *reason == OUT_OF_MEMORY);
    waiting.into_iter().chain(killed)
}

fn has(pod: &Pod, reason: &str) -> bool {
    faults(pod).any(|fault| fault == reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canary_is_excused_where_stable_pods_fail_in_the_same_way_and_no_less_often() {
        for ((canary, of_canary), (stable, of_stable), is_excused) in [
            ((1, 10), (1, 10), true),
            ((1, 1), (1, 1), true),
            ((2, 2), (2, 2), true),
            ((8, 8), (2, 2), true),
            ((1, 1), (8, 10), true),
            ((2, 2), (8, 10), true),
            ((5, 50), (5, 50), true),
            // Not at all, or less often.
            ((1, 10), (0, 10), false),
            ((1, 1), (0, 0), false),
            ((5, 5), (1, 100), false),
            ((1, 1), (1, 100), false),
            ((1, 1), (1, 2), false),
            ((3, 3), (4, 10), false),
            ((2, 10), (1, 10), false),
            // One pod says little.
            ((2, 2), (1, 1), false),
            ((9, 9), (1, 1), false),
        ] {
            let canary = Share { pods: canary, of: of_canary };
            let stable = Share { pods: stable, of: of_stable };
            assert_eq!(stable.excuses(canary), is_excused, "stable {stable:?}, canary {canary:?}");
        }
    }

    #[test]
    fn what_a_stable_pod_had_before_the_run_counts_only_while_it_is_not_ready() {
        let began = Timestamp::from_second(1000).unwrap();
        let at = |second: i64| Timestamp::from_second(second).ok();
        let pod = |waiting: Option<&str>, ended: Option<&str>, ended_at: i64, is_ready: bool| Pod {
            waiting: waiting.map(str::to_owned),
            ended: ended.map(str::to_owned),
            ended_at: at(ended_at),
            ready_since: at(1).filter(|_| is_ready),
            ..Pod::default()
        };
        let killed = Some(OUT_OF_MEMORY);
        for (pod, reason, counts) in [
            (pod(None, killed, 999, true), OUT_OF_MEMORY, false),
            (pod(None, killed, 1000, true), OUT_OF_MEMORY, true),
            (pod(None, killed, 999, false), OUT_OF_MEMORY, true),
            (Pod { ended_at: None, ..pod(None, killed, 0, true) }, OUT_OF_MEMORY, false),
            (pod(Some(CRASH_LOOP), killed, 1000, false), OUT_OF_MEMORY, true),
            (pod(Some(CRASH_LOOP), Some("Error"), 999, false), CRASH_LOOP, true),
            // It runs for a moment.
            (pod(None, Some("Error"), 1000, false), CRASH_LOOP, true),
            (pod(None, Some("Error"), 999, false), CRASH_LOOP, false),
            (pod(None, Some("Error"), 1000, true), CRASH_LOOP, false),
            (pod(Some(PULL), None, 0, false), PULL, true),
            (pod(Some(PULLS), None, 0, false), PULL, true),
            (pod(Some(PULL), None, 0, false), CRASH_LOOP, false),
        ] {
            assert_eq!(fails_too(&pod, reason, began), counts, "{reason}: {pod:?}");
        }
    }
}

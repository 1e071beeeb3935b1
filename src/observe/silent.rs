//! Pods on nodes that are not heard from. Nodes are not watched: what tells of them is what the node controller writes into their pods, which is that
//! those that were Ready are not any more. What becomes of it is judged in `decide`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::decide::snapshot::Pod;
use crate::watch::slim::{self, Holds, Node, PodIs, PodStatus};

/// Whether a pod is said not to be Ready by somebody else than its kubelet. A kubelet that says so says why; whoever says it in the place of a silent one
/// does not. Its containers are what they were when they were last heard of.
pub fn is_cut_off(status: &PodStatus) -> bool {
    let is = |is: PodIs, holds: Holds| status.condition(is).filter(|condition| condition.status == holds);
    let silenced =
        is(PodIs::Ready, Holds::False).is_some_and(|ready| ready.reason.as_deref().is_none_or(str::is_empty));
    silenced && is(PodIs::ContainersReady, Holds::True).is_some()
}

/// The pods of a Deployment. Of one that was not Ready before its node fell silent nothing says so: it is cut off where others on its node are, of whatever
/// revision, and none there is Ready. It was on the node before that was known: pods that come later are the node's again.
pub fn with_their_nodes(mut found: Vec<(&slim::Pod, Pod)>) -> Vec<Pod> {
    let silent = silent_nodes(&found);
    for (seen, pod) in &mut found {
        let since = seen.spec.node.and_then(|node| silent.get(&node));
        pod.cut_off |= since.is_some_and(|since| placed_at(&seen.status).is_some_and(|at| at <= *since));
    }
    found.into_iter().map(|(_, pod)| pod).collect()
}

/// Each with when it was known last.
fn silent_nodes(found: &[(&slim::Pod, Pod)]) -> BTreeMap<Node, Timestamp> {
    let mut silent = BTreeMap::new();
    for (seen, _) in found.iter().filter(|(_, pod)| pod.cut_off) {
        let said = seen.status.condition(PodIs::Ready).and_then(|ready| ready.last_transition_time);
        if let (Some(node), Some(said)) = (seen.spec.node, said) {
            let since = silent.entry(node).or_insert(said);
            *since = said.max(*since);
        }
    }
    if silent.is_empty() {
        return silent;
    }
    // A node that comes back says so of one pod after the other.
    let is_heard = |(_, pod): &&(&slim::Pod, Pod)| pod.ready_since.is_some();
    let heard: BTreeSet<Node> =
        found.iter().filter(is_heard).filter_map(|(seen, _)| seen.spec.node).collect();
    silent.retain(|node, _| !heard.contains(node));
    silent
}

/// When its node was chosen.
fn placed_at(status: &PodStatus) -> Option<Timestamp> {
    let placed = status.condition(PodIs::PodScheduled)?;
    placed.last_transition_time.filter(|_| placed.status == Holds::True)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A pod on this node since that second, and its condition Ready: whether it holds, why, and since when. Its containers are ready, but where the
    /// kubelet says that they are not.
    fn pod(node: &str, placed: u32, (ready, why, since): (&str, &str, u32)) -> slim::Pod {
        let containers = if why.is_empty() { "True" } else { "False" };
        let at = |second: u32| format!("2027-01-15T08:00:{second:02}Z");
        let condition = |is: &str, status: &str, why: &str, second: u32| -> Value {
            json!({"type": is, "status": status, "reason": why, "lastTransitionTime": at(second)})
        };
        let conditions = [
            condition("PodScheduled", "True", "", placed),
            condition("ContainersReady", containers, why, since),
            condition("Ready", ready, why, since),
        ];
        let pod = json!({
            "metadata": {"name": "a", "uid": "u"}, "spec": {"nodeName": node}, "status": {"conditions": conditions},
        });
        serde_json::from_value(pod).unwrap()
    }

    fn cut_off(pods: &[slim::Pod]) -> Vec<bool> {
        let seen = |pod: &slim::Pod| Pod {
            ready_since: pod
                .status
                .condition(PodIs::Ready)
                .filter(|ready| ready.status == Holds::True)
                .and_then(|ready| ready.last_transition_time),
            cut_off: is_cut_off(&pod.status),
            ..Pod::default()
        };
        let found = with_their_nodes(pods.iter().map(|pod| (pod, seen(pod))).collect());
        found.into_iter().map(|pod| pod.cut_off).collect()
    }

    const STARTING: (&str, &str, u32) = ("False", "ContainersNotReady", 20);
    const LOST: (&str, &str, u32) = ("False", "", 50);

    #[test]
    fn a_pod_that_starts_is_cut_off_where_another_on_its_node_is() {
        let lost = pod("n1", 1, LOST);
        assert_eq!(cut_off(&[pod("n1", 20, STARTING), lost.clone()]), [true, true]);
        assert_eq!(cut_off(&[pod("n2", 20, STARTING), lost.clone()]), [false, true], "another node");
        let later = pod("n1", 51, ("False", "ContainersNotReady", 51));
        assert_eq!(cut_off(&[later, lost.clone()]), [false, true], "it came after that was known");
        let back = pod("n1", 1, ("True", "", 55));
        assert_eq!(cut_off(&[pod("n1", 20, STARTING), lost, back]), [false, true, false], "heard again");
        assert_eq!(cut_off(&[pod("n1", 20, STARTING), pod("n1", 1, STARTING)]), [false, false]);
    }

    #[test]
    fn a_pod_that_has_no_node_is_on_none_that_is_silent() {
        let mut waits = pod("n1", 20, STARTING);
        waits.spec.node = None;
        assert_eq!(cut_off(&[waits, pod("n1", 1, LOST)]), [false, true]);
    }
}
